"""The flags of a rehearsal's setting: those of the three jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from offsite.api.problems import problems
from offsite.errors import SpecError
from offsite.rehearsal import Setting
from offsite_cli.cluster.submit.sections import (
    AdapterOptions,
    PrivacyOptions,
    ScaleOptions,
    TuningOptions,
)

_CORPUS = "corpus.jsonl"
"""A setting names no data: --corpus does."""


@dataclass(frozen=True)
class EmulatorOptions:
    """How the emulator is made."""

    blocks: Annotated[
        int | None, typer.Option(help="Number of middle blocks that the emulator keeps.")
    ] = None
    bottom: Annotated[int | None, typer.Option(help="Number of first blocks, sent unchanged.")] = (
        None
    )
    top: Annotated[int | None, typer.Option(help="Number of last blocks, sent unchanged.")] = None
    heal: Annotated[
        bool | None, typer.Option(help="Fit the kept blocks to make up for the dropped ones.")
    ] = None
    distill_steps: Annotated[
        int | None, typer.Option(help="Steps of distillation on --corpus; absent: none.")
    ] = None
    distill_learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of the distillation.")
    ] = None
    distill_batch_size: Annotated[
        int | None, typer.Option(help="Examples in each step of the distillation.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a setting."""
        distillation = {
            "corpus": None if self.distill_steps is None else _CORPUS,
            "steps": self.distill_steps,
            "learningRate": self.distill_learning_rate,
            "batchSize": self.distill_batch_size,
        }
        return {
            "ends": {"bottom": self.bottom, "top": self.top},
            "emulator": {"blocks": self.blocks, "heal": self.heal},
            "distillation": distillation,
        }


@dataclass(frozen=True)
class TransferOptions:
    """What is tuned, and how it is plugged in."""

    adapter: AdapterOptions
    tuning: TuningOptions
    scale: ScaleOptions
    privacy: PrivacyOptions
    full_learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of full fine-tuning.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a setting."""
        return {
            "adapter": self.adapter.fields(),
            "tuning": self.tuning.fields(),
            "privacy": self.privacy.fields(),
            **self.scale.fields(),
            "fullLearningRate": self.full_learning_rate,
        }


@dataclass(frozen=True)
class SettingOptions:
    """The setting of a rehearsal."""

    emulator: EmulatorOptions
    transfer: TransferOptions

    def setting(self) -> Setting:
        """Build the setting; a flag that is absent has the default of a job.

        Raises:
            SpecError: flags are missing or wrong; lists all of them.
        """
        given = {"emulator": {}, **_present({**self.emulator.fields(), **self.transfer.fields()})}
        try:
            return Setting.model_validate(given, by_name=False)
        except ValidationError as error:
            raise SpecError("the command line", problems(error), "setting") from error


@dataclass(frozen=True)
class SeedOptions:
    """The seeds that tuning and plug-in are repeated with."""

    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="How many seeds to repeat tuning and plug-in with.")
    ] = 1
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0

    @property
    def chosen(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.seeds)


def _present(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is absent, and sections of which all is."""
    found = {k: _present(v) if isinstance(v, Mapping) else v for k, v in content.items()}
    return {key: value for key, value in found.items() if value is not None and value != {}}
