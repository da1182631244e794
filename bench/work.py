"""What every case works on: a model, batches, and the clock."""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from offsite.adapter import heads
from offsite.api import Ends, LayerDrop
from offsite.emulator import METHODS, Compressed
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, load
from offsite.modality import Batch
from offsite.modality.images import Images
from offsite.rows import DataFile, labels_in
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import batches
from offsite.training.distill import Weights
from offsite.training.run import Plan, Run
from offsite_cli.demo.settings import Choices, Recipe

BATCH, LENGTH = 8, 128


class Work:
    """The model, the batches, and the clock of one case."""

    def __init__(self, folder: Path, data: Path, steps: int) -> None:
        """Load a model and its data.

        Args:
            data: A file of texts, or a folder of images.
        """
        file = DataFile(data, f"{data}/" if data.is_dir() else "")
        self.loaded = _with_head(load(folder), file)
        self.model: PreTrainedModel = self.loaded.model
        self.vision = isinstance(self.loaded.modality, Images)
        modality = self.loaded.modality
        rows = modality.encode(modality.read(file), LENGTH).examples
        self.examples = rows[: (steps + 1) * BATCH]
        # the first step warms up and does not count
        self.batches = batches(self.examples, modality.collate, BATCH)
        self.weights = Weights(*modality.distill_weights)
        self.run = Run(
            Plan(steps=steps + 1, learning_rate=1e-5, seed=0),
            Checkpoints(Path(tempfile.mkdtemp()) / "none", float("inf")),
            Monitor(lambda _event: None),
        )
        self.ticks: list[float] = []

    def batch_at(self, step: int) -> Batch:
        """Get a step's batch, and note that the step begins."""
        self.ticks.append(time.perf_counter())
        return self.batches[step]

    def trainer_rows(self) -> list[dict[str, Any]]:
        """Get the examples as transformers' Trainer wants them."""
        if not self.vision:
            return [{"input_ids": each.tokens, "labels": each.tokens} for each in self.examples]
        return [
            {"pixel_values": pixels, "labels": int(target)}
            for batch in self.batches
            for pixels, target in zip(batch.inputs["pixel_values"], batch.targets, strict=True)
        ]

    def emulator(self) -> Compressed:
        """Drop layers as the demo does."""
        recipe, depth = Recipe.of(Choices(vision=self.vision)), len(blocks(self.model))
        keep = round(recipe.share * (depth - 2 * recipe.ends))
        method, ends = METHODS["LayerDrop"], Ends(bottom=recipe.ends, top=recipe.ends)
        asked = LayerDrop(blocks=keep)
        return method.compress(self.model, ends, asked, method.choose(depth, ends, asked, ()))

    def per_second(self) -> float:
        """Get the rate of the median step, in tokens or images."""
        pairs = zip(self.ticks[1:], self.ticks[2:], strict=False)
        units = BATCH if self.vision else BATCH * LENGTH
        return units / statistics.median(end - begin for begin, end in pairs)


def _with_head(loaded: Loaded, data: DataFile) -> Loaded:
    """Give a vision model, in place, a new head for the labels of the data."""
    if not isinstance(loaded.modality, Images):
        return loaded
    labels = sorted(labels_in(data))
    heads.renew(loaded.model, labels)
    return replace(loaded, modality=loaded.modality.with_labels(labels))
