"""The record of one run, as JSON."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field

from offsite.events import Artifact, Failed, Metric, PrivacyReport
from offsite.resources import EgressReport
from offsite.text import as_json
from offsite.wire import Instant, Name, Part

Outcome = Literal["Unfinished", "Complete", "Failed", "Interrupted", "AwaitingApproval"]
"""How a run ended. Unfinished: it is running, or its process was killed."""
Stage = Literal["Distill", "Tune", "PlugIn"]
Point = tuple[int, float]
"""A training step, and its loss."""
Rate = tuple[float, float]
"""A false positive rate of an attack, and the true positive rate at it."""


class Run(Part):
    """One job as one party ran it. Attempts at the same job with the same inputs are one run."""

    version: Literal[1] = 1
    """Version of this format."""
    id: str = Field(min_length=1, max_length=253)
    """On a cluster the UID of the job; elsewhere its name, and when its first attempt began."""
    job: Name
    """Name of the job, and of what it publishes."""
    stage: Stage
    party: Name
    """Id of the party that ran it."""
    peer: Name
    """Id of the other party."""
    fingerprints: Mapping[str, str] = {}
    """Fingerprints of the parties' public keys, by id."""
    spec: dict[str, Any]
    """The job's spec in JSON, with its defaults. A spec holds no secrets."""
    inputs_digest: str | None = None
    """Digest of everything that affects the result; None: the run failed before it was known."""
    inputs: Mapping[str, str] = {}
    """Digest of each input by name: data sets, `model`, and `bundle`, the peer's envelope."""
    started: Instant
    """When the first attempt began."""
    ended: Instant | None = None
    """When the last attempt ended; None: it did not end, or not by itself."""
    attempts: int = Field(1, ge=1)
    """Number of attempts that began."""
    outcome: Outcome = "Unfinished"
    """How the last attempt ended."""
    error: Failed | None = None
    """Why the last attempt ended without a result."""
    duration: float = Field(0.0, ge=0)
    """Seconds of all attempts together."""
    seconds: Mapping[str, float] = {}
    """Seconds of each phase, over all attempts. Time between phases is counted in `duration` alone.
    """
    curves: Mapping[str, tuple[Point, ...]] = {}
    """Training losses by phase, at most 500 points each."""
    rates: Mapping[str, tuple[Rate, ...]] = {}
    """How well attacks tell members of the training data from others, by what was attacked."""
    metrics: tuple[Metric, ...] = ()
    """What was measured, in order. Of a figure that was measured again, the last value."""
    privacy: PrivacyReport | None = None
    """Differential privacy of the adapter that was sent."""
    egress: EgressReport | None = None
    """What was sent to the peer, or is about to be."""
    artifact: Artifact | None = None
    """What was published."""
    peak_memory_bytes: int | None = None
    """Largest peak memory of a process of the run."""
    versions: Mapping[str, str] = {}
    """Versions of `offsite`, `python`, and the libraries that train."""

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a record.

        Raises:
            ValidationError: It is damaged, or of another version of the format.
        """
        return cls.model_validate_json(content)

    def content(self) -> bytes:
        """Write the record: indented JSON in ASCII."""
        return (as_json(self.wire(), indent=1) + "\n").encode()

    @property
    def bundle(self) -> str | None:
        """Digest of the peer's envelope that the run opened; None: it opened none."""
        return self.inputs.get("bundle")

    def metric(self, setting: str, name: str | None = None) -> Metric | None:
        """Return the first metric of a setting, or the one with a name; None: there is none."""
        found = (each for each in self.metrics if each.setting == setting)
        return next((each for each in found if name in (None, each.name)), None)
