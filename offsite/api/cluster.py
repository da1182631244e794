"""What a cluster is asked for: the sections `resources` and `runtime` of a job.

They decide where and how fast a stage runs, never its result.
"""

from typing import Annotated, Literal

from pydantic import Field

from offsite.api.values import (
    CLASS_PATTERN,
    IMAGE_PATTERN,
    LABEL_PATTERN,
    Memory,
    Name,
    Section,
)

LabelValue = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)]


class Resources(Section):
    """What the pods that train are given, as request and as limit."""

    workers: int = Field(1, ge=1, le=64)
    """Pods that train together, on Ray; each gets what follows."""
    sharding: Literal["DDP", "FSDP"] = "DDP"
    """How several workers share the model: DDP copies it, FSDP spreads its blocks over them."""
    gpus_per_worker: int = Field(0, ge=0, le=64)
    """GPUs of a worker."""
    cpus_per_worker: int = Field(1, ge=1, le=1024)
    """CPU cores of a worker; it computes with as many threads."""
    memory_per_worker: Memory = "4Gi"
    """Memory of a worker, such as 64Gi."""


class Toleration(Section):
    """A taint of nodes that the pods tolerate, as Kubernetes has it."""

    key: str | None = Field(None, max_length=317)
    """The taint's key; absent, with operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Equal compares the value, Exists does not."""
    value: LabelValue | None = None
    """The taint's value, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; absent: every effect."""
    toleration_seconds: int | None = Field(None, ge=0, le=2**31 - 1)
    """How long NoExecute is tolerated; absent: for ever."""


class Runtime(Section):
    """Where and with what the stage runs; the administrator bounds what may be asked for."""

    engine: Literal["Auto", "RayJob", "Job"] = "Auto"
    """RayJob runs it on Ray, Job in one plain pod; Auto: RayJob where KubeRay is installed."""
    image: str | None = Field(None, pattern=IMAGE_PATTERN, max_length=512)
    """Another image than the runtime's own, if the administrator allows it."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=32)
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default=[], max_length=32)
    """Taints of nodes that are tolerated."""
    priority_class_name: str | None = Field(None, pattern=CLASS_PATTERN, max_length=253)
    """The PriorityClass of the pods."""
    queue: Name | None = None
    """The LocalQueue of Kueue that admits the job; absent: no queue."""
