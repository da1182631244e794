"""What a stage gives back to Python, collected from its events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from offsite.events import Artifact, Event, Metric, PrivacyReport
from offsite.store import local_path


@dataclass(frozen=True)
class Result:
    """What a stage published."""

    name: str
    """The name of the job, and of what it published."""
    digest: str
    """`sha256:…` of a bundle's envelope, or of the files of a plugged-in model."""
    uri: str
    """Where it is: an object in the exchange, or the folder of a plugged-in model."""
    size: int
    """Bytes, before sealing."""
    metrics: Mapping[str, Metric]
    """Measured figures by setting, such as `full_zero_shot`, `emulator_tuned` or `plug_in`.

    Where a setting has several, the first one has that key, and the others have their name behind
    it: `plug_in` is the accuracy, and `plug_in.accuracy_top5` another. Empty if an earlier call had
    published the result already."""
    privacy: PrivacyReport | None = None
    """Differential privacy of an adapter that was sent; None: it has none, or was sent earlier."""

    @property
    def path(self) -> Path | None:
        """The file or folder on this machine; None: it is in a bucket."""
        return None if self.uri.startswith("s3://") else local_path(self.uri)


@dataclass
class Collector:
    """Collects the result of one job from its events."""

    name: str
    forward: Callable[[Event], object] | None = None
    """Called with each event."""
    _metrics: dict[str, Metric] = field(default_factory=dict)
    _privacy: PrivacyReport | None = None
    _artifact: Artifact | None = None

    def receive(self, event: Event) -> None:
        """Take in one event, and pass it on."""
        if isinstance(event, Metric):
            first = self._metrics.setdefault(event.setting, event)
            own = first.name == event.name
            self._metrics[event.setting if own else f"{event.setting}.{event.name}"] = event
        elif isinstance(event, PrivacyReport):
            self._privacy = event
        elif isinstance(event, Artifact):
            self._artifact = event
        if self.forward is not None:
            self.forward(event)

    def result(self) -> Result:
        """Get the result of a job that has ended."""
        made = self._artifact
        assert made is not None, "a job that does not fail reports what it published"
        sent = (made.digest, made.uri, made.size_bytes)
        return Result(self.name, *sent, self._metrics, self._privacy)
