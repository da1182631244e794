"""The sections `resources` and `runtime`: where and how fast a job runs on a cluster.

They do not affect the result.
"""

from typing import Annotated, Literal

from pydantic import Field

from offsite.api.values import (
    CLASS_PATTERN,
    IMAGE_PATTERN,
    LABEL_PATTERN,
    Memory,
    Section,
)
from offsite.wire import Name

LabelValue = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)]


class Resources(Section):
    """Compute resources of the pods that train, as requests and limits."""

    workers: int = Field(1, ge=1, le=64)
    """Number of pods that train together, on Ray. The other values are for each of them."""
    sharding: Literal["DDP", "FSDP"] = "DDP"
    """How workers share the model: DDP replicates it, FSDP shards its blocks."""
    gpus_per_worker: int = Field(0, ge=0, le=64)
    """Number of GPUs of a worker."""
    cpus_per_worker: int = Field(1, ge=1, le=1024)
    """Number of CPU cores, and of threads, of a worker."""
    memory_per_worker: Memory = "4Gi"
    """Memory of a worker, such as 64Gi."""


class Toleration(Section):
    """A toleration, as in a Kubernetes pod."""

    key: str | None = Field(None, max_length=317)
    """Key of the taint; absent, with operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Equal compares the value, Exists ignores it."""
    value: LabelValue | None = None
    """Value of the taint, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent: every effect."""
    toleration_seconds: int | None = Field(None, ge=0, le=2**31 - 1)
    """Seconds for which NoExecute is tolerated; absent: forever."""


class Runtime(Section):
    """Where and how the stage runs. The administrator limits what is allowed."""

    engine: Literal["Auto", "RayJob", "Job"] = "Auto"
    """RayJob uses Ray, Job a single pod. Auto: RayJob where KubeRay is installed, else Job."""
    image: str | None = Field(None, pattern=IMAGE_PATTERN, max_length=512)
    """Image of the pods that train, if the administrator allows it; absent: the default."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=32)
    """Labels that nodes must have."""
    tolerations: list[Toleration] = Field(default=[], max_length=32)
    """Tolerations of the pods."""
    priority_class_name: str | None = Field(None, pattern=CLASS_PATTERN, max_length=253)
    """PriorityClass of the pods."""
    queue: Name | None = None
    """LocalQueue of Kueue that admits the job; absent: no queue."""
