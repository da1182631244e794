"""Evaluate the full model on the private data, which only a demo can: it is both parties."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from offsite.adapter import heads
from offsite.events import Monitor
from offsite.layers import Loaded, batch_loss, load
from offsite.modality import Benchmark, Share
from offsite.modality.images import Images
from offsite.rows import DataFile, labels_in
from offsite.stages.evaluation import Evaluation, Reported, read_examples
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.head import fit_head
from offsite.training.parallel import Objective
from offsite.training.run import Plan, Run
from offsite.training.train import fit
from offsite_cli.demo.continuation import continue_text
from offsite_cli.demo.report import Continuation
from offsite_cli.demo.settings import Recipe


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
        metric, before = self._score(self._probed(), "full_probe")
        _, after = self._score(load(self.plugged_in), "plug_in")
        return Measured(metric, {"full_probe": before, "plug_in": after})

    def fine_tune(self, recipe: Recipe, seed: int) -> float | None:
        """Fine-tune the full model on the private data, with the adapter's batches and steps.

        The result is the upper bound of Offsite-Tuning. A new head starts from a linear probe, as
        the adapter's does.
        """
        loaded = load(self.model)
        if recipe.vision:
            loaded = self._probed()
            assert isinstance(loaded.modality, Images)
            loaded = replace(loaded, modality=loaded.modality.augmenting(recipe.augmentation))
        model = loaded.model
        nn.Module.to(model, torch.float32)  # bfloat16 would round small updates away
        examples = read_examples(self.train, loaded, recipe.block_size, self.monitor)
        trained = dict(model.requires_grad_(True).named_parameters())
        with TemporaryDirectory(prefix="upper-bound-", dir=self.plugged_in.parent) as scratch:
            run = Run(
                Plan(steps=recipe.steps, learning_rate=recipe.full_learning_rate, seed=seed),
                Checkpoints(Path(scratch) / "full.safetensors", float("inf")),
                self.monitor,
            )
            fit(
                Objective((model,), trained, partial(batch_loss, model, loaded.modality)),
                Shuffled(examples, loaded.modality.collate, recipe.batch_size, seed),
                run,
                phase="full fine-tuning",
            )
        return self._score(loaded, "full_fine_tuned")[1]

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

    def _probed(self) -> Loaded:
        """Load the full model with a head that is fitted to its untouched features.

        No real party can: the model owner has no private data, and the data owner no full model.
        """
        loaded = load(self.model)
        assert isinstance(loaded.modality, Images)
        classes = sorted(labels_in(self.train))
        heads.renew(loaded.model, classes)
        loaded = replace(loaded, modality=loaded.modality.with_labels(classes))
        train, validation = (
            loaded.modality.encode(loaded.modality.read(data), 1).examples
            for data in (self.train, self.validation)
        )
        fit_head(loaded, len(classes), train, validation, self.monitor)
        return loaded
