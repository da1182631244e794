"""The operator's settings, read once from the file that the chart renders.

The file names Secrets and never contains them.
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
"""Labels that describe hardware and location, but no single node and no role of nodes."""

Folder = Annotated[str, Field(pattern=r"^(s3|pvc)://[^*]+$")]
"""A folder of the private store or of a claim, including everything below it."""


class Images(Part):
    """Container images. A job may name another image if `bounds` allows it."""

    runtime: str
    operator: str


class Store(Part):
    """Access to an S3 store."""

    endpoint: str | None = None
    region: str | None = None
    style: Literal["path", "virtual"] | None = None
    secret: str | None = None
    """Name of the Secret with `credentials.json`."""
    ca: bool = False
    """Whether the Secret also has `ca.crt`."""

    @model_validator(mode="after")
    def _s3_is_reachable(self) -> "Store":
        if getattr(self, "uri", "").startswith("s3://") and not (self.endpoint and self.secret):
            raise ValueError("an s3:// store needs endpoint and secret")
        return self


class Private(Store):
    """The party's private store: `s3://bucket/prefix`, or a folder of a claim,
    `pvc://claim/prefix`.
    """

    uri: str = Field(pattern=rf"^({_BUCKET}|{_CLAIM})/.+$")
    sessions: bool = True
    """Whether the S3 store supports sessions (STS). A training step then gets a session limited to
    its job.
    """

    @property
    def claim(self) -> str | None:
        """The claim of the store; None for S3."""
        return self.uri.removeprefix("pvc://").split("/")[0] if self._on_claim else None

    @property
    def inside(self) -> str:
        """The store's address inside a pod, where the claim is mounted at `/private`."""
        if not self._on_claim:
            return self.uri
        return f"file://{PRIVATE}/{self.uri.removeprefix('pvc://').partition('/')[2]}"

    @property
    def _on_claim(self) -> bool:
        return self.uri.startswith("pvc://")


class Exchange(Store):
    """The store that both parties access."""

    uri: str = Field(pattern=rf"^{_BUCKET}/?$")


class Identity(Part):
    """The Secret with the party's keys: `ring.json`, and `passphrase` if the keys have one."""

    secret: str
    passphrase: bool = False


class Bounds(Limits):
    """Limits on what a job may request.

    A `*` at the end of an entry matches any suffix. A prefix is a folder and takes no `*`.
    """

    images: tuple[str, ...] = ()
    """In addition to the default runtime image."""
    claims: tuple[str, ...] = ()
    """Claims that jobs may read as a whole."""
    read_prefixes: tuple[Folder, ...] = ()
    """Folders from which jobs may read models and data: `s3://bucket/models/`, `pvc://claim/data/`.
    """
    export_prefixes: tuple[Folder, ...] = ()
    """Folders to which jobs may write plugged-in models."""
    peers: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    """PriorityClasses that jobs may name; pods without one get the cluster's default."""
    tolerations: tuple[str, ...] = ("nvidia.com/gpu",)
    """Taint keys that jobs may tolerate."""
    node_selector_keys: tuple[str, ...] = NODE_SELECTOR_KEYS
    """Node label keys that jobs may select by."""
    max_workers: int | None = Field(None, ge=1)
    max_cpus_per_worker: int | None = Field(None, ge=1)
    max_gpus_per_worker: int | None = Field(None, ge=0)
    max_memory_per_worker: Memory | None = None
    max_running_jobs: int | None = Field(None, ge=1)
    """How many jobs may run at once; further jobs are queued."""
    max_active_deadline_seconds: int | None = Field(None, ge=1)
    """The longest `activeDeadlineSeconds`, and the default for jobs that set none."""

    @property
    def limits(self) -> Limits:
        """The limits that a job's steps check themselves."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    def deadline_of(self, spec: JobSpec) -> int | None:
        """Return the time limit of a job's round in seconds; None: no limit.

        A job without a deadline gets the administrator's maximum.
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
    """How much of a job's failure its peer learns."""
    model_hub: bool = False
    """Whether pods that read a model may access the model hub."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    log_days: int = Field(30, ge=0)
    """How long the logs of a deleted job are kept, in days; 0: no logs are kept."""
    resync_seconds: Annotated[float, Field(gt=0)] = 30.0
    gpu_resource: str = "nvidia.com/gpu"
    scratch_limit: Memory = "200Gi"
    """Limit on the node disk space of a step's pod."""
    service_account: str = "offsite-step"


def read_settings(path: Path) -> Settings:
    """Read the file that the chart renders.

    Raises:
        InputError: The file is missing, or this version does not understand it.
    """
    try:
        return Settings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the settings {path}: {error}") from error
    except ValidationError as error:
        raise InputError(
            f"this version of the operator does not understand {path}; upgrade the chart "
            f"`offsite` and the operator's image together: {reason(error)}"
        ) from error
