"""Evaluate the full model on the private data, which only a demo can: it is both parties."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from offsite.api import Tune
from offsite.events import Monitor
from offsite.layers import Loaded, load
from offsite.modality import Benchmark, Share
from offsite.rehearsal.full import fine_tune, probed
from offsite.rows import DataFile
from offsite.stages.context import Trainer
from offsite.stages.evaluation import Evaluation, Reported
from offsite.stages.tuning import Tuning
from offsite.training.checkpoints import Checkpoints
from offsite_cli.demo.continuation import continue_text
from offsite_cli.demo.report import Continuation


@dataclass(frozen=True)
class Measured:
    """The metric of the full model, untouched and with the adapter plugged in."""

    metric: str
    settings: dict[str, float | None]
    continuation: Continuation | None = None
    """Of a text, by both."""


@dataclass(frozen=True)
class FullAccess:
    """The full model and the private data, side by side."""

    model: Path
    plugged_in: Path
    """The model with the adapter plugged in."""
    train: DataFile
    validation: DataFile
    test: DataFile
    job: Tune
    """What the data owner's job asks for."""
    monitor: Monitor
    scored: dict[str, tuple[Benchmark, Reported]] = field(default_factory=dict)
    """What was scored so far, the untouched full model first."""

    def measure_text(self) -> Measured:
        """Score the full model and the plug-in, and let both continue a text."""
        model, plugged_in = load(self.model), load(self.plugged_in)
        metric, before = self._score(model, "full_zero_shot")
        _, after = self._score(plugged_in, "plug_in")
        prompt, first = continue_text(model, self.test)
        _, second = continue_text(plugged_in, self.test)
        settings = {"full_zero_shot": before, "plug_in": after}
        return Measured(metric, settings, Continuation(prompt, first, second))

    def measure_images(self) -> Measured:
        """Score the full model with a linear probe, and the plug-in."""
        metric, before = self._score(self._probed().loaded, "full_probe")
        _, after = self._score(load(self.plugged_in), "plug_in")
        return Measured(metric, {"full_probe": before, "plug_in": after})

    def fine_tune(self, learning_rate: float, seed: int) -> float | None:
        """Fine-tune the full model on the private data: the upper bound of Offsite-Tuning."""
        tuning = self._probed()
        with TemporaryDirectory(prefix="upper-bound-", dir=self.plugged_in.parent) as scratch:
            checkpoints = Checkpoints(Path(scratch) / "full.safetensors", float("inf"))
            fine_tune(tuning, learning_rate, Trainer(seed, checkpoints, self.monitor))
        return self._score(tuning.loaded, "full_fine_tuned")[1]

    def share(self) -> Share | None:
        """Compute the share of full fine-tuning's gain that the plug-in reaches; None: it has none.

        Call it after `fine_tune`.
        """
        names = (next(iter(self.scored)), "plug_in", "full_fine_tuned")
        (bench, start), (_, plug), (_, best) = (self.scored[name] for name in names)
        return bench.share(start.outcomes, plug.outcomes, best.outcomes)

    def _score(self, loaded: Loaded, setting: str) -> tuple[str, float | None]:
        _, start = next(iter(self.scored.values()), (None, None))
        evaluation = Evaluation.read(self.test, loaded, self.monitor)
        found = evaluation.report(loaded, setting, self.monitor, over=start)
        assert found is not None, "a model with a head can be scored"
        self.scored[setting] = evaluation.bench, found
        return found.metric, found.value

    def _probed(self) -> Tuning:
        """Load the full model; a new head is fitted to its untouched features.

        No real party can: the model owner has no private data, and the data owner no full model.
        """
        texts = {"train": self.train, "validation": self.validation}
        return probed(load(self.model), self.job, texts, self.monitor)
