"""What a rehearsal varies: the sections of the three jobs that decide the result, and the data."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from offsite.api import (
    Adapter,
    AlphaFactors,
    Data,
    Distill,
    DistillTraining,
    Emulator,
    Ends,
    PlugIn,
    Privacy,
    Tune,
    TuneTraining,
)
from offsite.api.values import Section
from offsite.rows import DataFile
from offsite.steps.places import data_digest
from offsite.wire import canonical, digest_of

_MODEL = "model"
_TEXT = "data.jsonl"
"""Stand for the locations of a job, which a rehearsal does not read."""


class Setting(Section):
    """The settings of one exchange: how to make the emulator, to tune it, and to plug in.

    Locations in the sections, such as `distillation.corpus`, are not read: the data of a rehearsal
    are its `Splits`.
    """

    ends: Ends = Ends()
    """Blocks at both ends that are never compressed: `distill.ends`."""
    emulator: Emulator
    """How the middle of the model is compressed: `distill.emulator`."""
    distillation: DistillTraining | None = None
    """Distillation of the emulator: `distill.training`."""
    emulator_seed: int = Field(0, ge=0)
    """Random seed of the distillation. Repetitions of the tuning share one emulator."""
    adapter: Adapter = Adapter()
    """Which parameters are trained: `tune.adapter`."""
    tuning: TuneTraining = TuneTraining()
    """How to train them: `tune.training`."""
    privacy: Privacy | None = None
    """Differential privacy of the adapter: `tune.privacy`."""
    alpha: float = Field(1.0, ge=0, le=2)
    """Scale of the adapter's change: `plugIn.alpha`."""
    alpha_factors: AlphaFactors = AlphaFactors()
    """Factors of the scale: `plugIn.alphaFactors`."""
    full_learning_rate: float = Field(1e-4, gt=0, le=1)
    """Peak learning rate of the fine-tuning of the full model, for comparison."""

    @property
    def distill(self) -> Distill:
        """The section of the Distill job, with placeholders for its locations."""
        emulator = self.emulator.model_copy(update={"calibration": None})
        training = self.distillation and self.distillation.model_copy(update={"corpus": _TEXT})
        if emulator.heal:
            emulator = emulator.model_copy(update={"calibration": _TEXT})
        return Distill(model=_MODEL, ends=self.ends, emulator=emulator, training=training)

    @property
    def tune(self) -> Tune:
        """The section of the Tune job, with placeholders for its locations."""
        return Tune(
            bundle="emulator",
            data=Data(train=_TEXT, validation=_TEXT),
            adapter=self.adapter,
            training=self.tuning,
            privacy=self.privacy,
        )

    @property
    def plug_in(self) -> PlugIn:
        """The section of the PlugIn job, with placeholders for its locations."""
        scale: dict[str, Any] = {"alpha": self.alpha, "alpha_factors": self.alpha_factors}
        return PlugIn(model=_MODEL, adapter="adapter", **scale)

    @property
    def of_emulator(self) -> dict[str, Any]:
        """What decides the emulator, as JSON."""
        return {"distill": self.distill.wire(), "seed": self.emulator_seed}

    @property
    def of_full_model(self) -> dict[str, Any]:
        """What decides the fine-tuning of the full model, as JSON."""
        return {"training": self.tuning.wire(), "learningRate": self.full_learning_rate}

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON."""
        tuned = {"tune": self.tune.wire(), "plugIn": self.plug_in.wire()}
        return {**self.of_emulator, **self.of_full_model, **tuned}


@dataclass(frozen=True)
class Splits:
    """The data of a rehearsal. A model owner has a stand-in for the private data of its peer."""

    train: DataFile
    """What the adapter is tuned on."""
    validation: DataFile
    """What its best step is chosen by."""
    test: DataFile
    """What all models are scored on."""
    corpus: DataFile | None = None
    """The model owner's own data, to heal and distill the emulator on."""

    def digests(self) -> dict[str, str]:
        """Compute the digest of each data set, by its purpose. It includes the format.

        Raises:
            DataError: One is missing or not readable.
        """
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        if self.corpus is not None:
            named["corpus"] = self.corpus
        # the same bytes in another format are a different text
        return {
            purpose: digest_of(canonical([data.format, data_digest(data)]))
            for purpose, data in named.items()
        }
