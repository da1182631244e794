"""The settings of an organization, from one file that the chart writes. Read once.

Secrets are named here, never held.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from offsite.api import JobSpec, Limits, Name
from offsite.api.problems import reason
from offsite.api.values import Memory
from offsite.errors import InputError
from offsite.mounts import PRIVATE
from offsite.sealing import Disclosure
from offsite.wire import Part

_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_CLAIM = r"pvc://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"

NODE_SELECTOR_KEYS = (
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "nvidia.com/*",
)
"""What describes hardware and place, but names no single node and no role of nodes."""

Folder = Annotated[str, Field(pattern=r"^(s3|pvc)://[^*]+$")]
"""A folder of the private store or of a claim, with all that lies below it."""


class Images(Part):
    """What pods run, unless a job names another image that is allowed."""

    runtime: str
    operator: str


class Store(Part):
    """How an S3 store is reached."""

    endpoint: str | None = None
    region: str | None = None
    style: Literal["path", "virtual"] | None = None
    secret: str | None = None
    """Name of the Secret with `credentials.json`."""
    ca: bool = False
    """Whether it has `ca.crt` too."""

    @model_validator(mode="after")
    def _s3_is_reachable(self) -> "Store":
        if getattr(self, "uri", "").startswith("s3://") and not (self.endpoint and self.secret):
            raise ValueError("an s3:// store needs endpoint and secret")
        return self


class Private(Store):
    """The party's own store: `s3://bucket/prefix`, or a folder of a claim, `pvc://claim/prefix`."""

    uri: str = Field(pattern=rf"^({_BUCKET}|{_CLAIM})/.+$")
    sessions: bool = True
    """Whether an S3 store lends what a step that trains may use of it: sessions (STS)."""

    @property
    def claim(self) -> str | None:
        """The claim that it lies on; None: it is S3."""
        return self.uri.removeprefix("pvc://").split("/")[0] if self._on_claim else None

    @property
    def inside(self) -> str:
        """How a pod names it: the claim is mounted at `/private`."""
        if not self._on_claim:
            return self.uri
        return f"file://{PRIVATE}/{self.uri.removeprefix('pvc://').partition('/')[2]}"

    @property
    def _on_claim(self) -> bool:
        return self.uri.startswith("pvc://")


class Exchange(Store):
    """The store that both parties reach."""

    uri: str = Field(pattern=rf"^{_BUCKET}/?$")


class Identity(Part):
    """The Secret of the party's keys: `ring.json`, and `passphrase` if it has one."""

    secret: str
    passphrase: bool = False


class Bounds(Limits):
    """What the author of a job may ask for.

    `*` at the end of an entry stands for anything; a prefix is a folder, and has none.
    """

    images: tuple[str, ...] = ()
    """Beside the default runtime image."""
    claims: tuple[str, ...] = ()
    """Claims that may be read as a whole."""
    read_prefixes: tuple[Folder, ...] = ()
    """Where models and data may be read: `s3://bucket/models/`, `pvc://claim/data/`."""
    export_prefixes: tuple[Folder, ...] = ()
    """Where plugged-in models may be written."""
    peers: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    """PriorityClasses that may be named; without one, pods have the cluster's default."""
    tolerations: tuple[str, ...] = ("nvidia.com/gpu",)
    """Keys of taints that may be tolerated."""
    node_selector_keys: tuple[str, ...] = NODE_SELECTOR_KEYS
    """Keys of node labels that a job may select by."""
    max_workers: int | None = Field(None, ge=1)
    max_cpus_per_worker: int | None = Field(None, ge=1)
    max_gpus_per_worker: int | None = Field(None, ge=0)
    max_memory_per_worker: Memory | None = None
    max_running_jobs: int | None = Field(None, ge=1)
    """How many jobs may run at once; the others are queued."""
    max_active_deadline_seconds: int | None = Field(None, ge=1)
    """The longest `activeDeadlineSeconds`; also that of a job which names none."""

    @property
    def limits(self) -> Limits:
        """Those that the steps of a job check themselves."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    def deadline_of(self, spec: JobSpec) -> int | None:
        """Get how many seconds a round of a job may take; None: there is no deadline.

        A job that names none has the longest one that the administrator allows.
        """
        named = (spec.active_deadline_seconds, self.max_active_deadline_seconds)
        return min((each for each in named if each is not None), default=None)


class Settings(Part):
    """All settings of the operator."""

    party: Name
    images: Images
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    private: Private
    exchange: Exchange
    identity: Identity
    bounds: Bounds = Bounds()
    notices: Disclosure = Disclosure.REASON
    """How much a peer learns when a job has failed."""
    model_hub: bool = False
    """Whether pods that read a model may reach the model hub."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    resync_seconds: Annotated[float, Field(gt=0)] = 30.0
    gpu_resource: str = "nvidia.com/gpu"
    scratch_limit: Memory = "200Gi"
    """The most that a pod of a step may have on its node's disk."""
    service_account: str = "offsite-step"


def read_settings(path: Path) -> Settings:
    """Read the file that the chart renders.

    Raises:
        InputError: it is not there, or not what this version understands.
    """
    try:
        return Settings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"the settings {path} cannot be read: {error}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not what this version of the operator understands; upgrade the chart "
            f"`offsite` and the operator's image together: {reason(error)}"
        ) from error
