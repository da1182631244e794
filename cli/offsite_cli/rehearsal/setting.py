"""The flags of a rehearsal's setting: those of the three jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from offsite.api.problems import problems
from offsite.errors import SpecError
from offsite.rehearsal import Setting
from offsite_cli.cluster.submit.sections import PrivacyOptions, TrainingOptions

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
class AdapterOptions:
    """What is tuned, and how it is plugged in."""

    method: Annotated[str | None, typer.Option(help="Adapter method: LoRA or Blocks.")] = None
    scope: Annotated[str | None, typer.Option(help="Blocks that LoRA adapts: All or Ends.")] = None
    targets: Annotated[
        str | None, typer.Option(help="Linear layers that LoRA adapts: All, MLP or Attention.")
    ] = None
    rank: Annotated[int | None, typer.Option(help="Rank of LoRA.")] = None
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None
    augmentation: Annotated[
        str | None, typer.Option(help="Random changes of images: CropAndFlip, Crop or None.")
    ] = None
    alpha: Annotated[float | None, typer.Option(help="Scale of the adapter's change.")] = None
    alpha_attention: Annotated[
        float | None, typer.Option(help="Factor of --alpha in the attention, from 0 to 1.")
    ] = None
    alpha_mlp: Annotated[
        float | None, typer.Option(help="Factor of --alpha in the MLPs, from 0 to 1.")
    ] = None
    alpha_ends: Annotated[
        float | None, typer.Option(help="Factor of --alpha in the end blocks, from 0 to 1.")
    ] = None
    alpha_middle: Annotated[
        float | None, typer.Option(help="Factor of --alpha in the other blocks, from 0 to 1.")
    ] = None
    full_learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of full fine-tuning.")
    ] = None


@dataclass(frozen=True)
class SettingOptions:
    """The setting of a rehearsal."""

    emulator: EmulatorOptions
    adapter: AdapterOptions
    training: TrainingOptions
    privacy: PrivacyOptions

    def setting(self) -> Setting:
        """Build the setting; a flag that is absent has the default of a job.

        Raises:
            SpecError: flags are missing or wrong; lists all of them.
        """
        adapter = self.adapter
        tuning = {"epochs": adapter.epochs, "augmentation": adapter.augmentation}
        content = {
            **self.emulator.fields(),
            "adapter": {
                "method": adapter.method,
                "scope": adapter.scope,
                "targets": adapter.targets,
                "rank": adapter.rank,
            },
            "tuning": {**tuning, **self.training.fields()},
            "privacy": self.privacy.fields(),
            "alpha": adapter.alpha,
            "alphaFactors": {
                "attention": adapter.alpha_attention,
                "mlp": adapter.alpha_mlp,
                "ends": adapter.alpha_ends,
                "middle": adapter.alpha_middle,
            },
            "fullLearningRate": adapter.full_learning_rate,
        }
        given = {"emulator": {}, **_present(content)}
        try:
            return Setting.model_validate(given, by_name=False)
        except ValidationError as error:
            raise SpecError("the command line", problems(error), "setting") from error


def _present(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is absent, and sections of which all is."""
    found = {k: _present(v) if isinstance(v, Mapping) else v for k, v in content.items()}
    return {key: value for key, value in found.items() if value is not None and value != {}}
