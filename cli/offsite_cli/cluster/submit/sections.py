"""The flags of one section of a job, such as its data or its training, and the fields they set."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from offsite.errors import InputError


@dataclass(frozen=True)
class TrainingOptions:
    """Hyperparameters of training."""

    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Examples in each step.")] = None
    block_size: Annotated[int | None, typer.Option(help="Tokens in each example.")] = None
    accumulate: Annotated[
        int | None, typer.Option(help="Parts in which a step computes its examples.")
    ] = None
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Use less memory and more time.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `training`."""
        return {
            "steps": self.steps,
            "learningRate": self.learning_rate,
            "batchSize": self.batch_size,
            "blockSize": self.block_size,
            "accumulate": self.accumulate,
            "gradientCheckpointing": self.gradient_checkpointing,
        }


@dataclass(frozen=True)
class TuningOptions:
    """Hyperparameters of tuning."""

    training: TrainingOptions
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None
    augmentation: Annotated[
        str | None, typer.Option(help="Random changes of images: CropAndFlip, Crop or None.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `training`."""
        images = {"augmentation": self.augmentation}
        return {"epochs": self.epochs, **images, **self.training.fields()}


@dataclass(frozen=True)
class AdapterOptions:
    """Which parameters are trained."""

    method: Annotated[str | None, typer.Option(help="Adapter method: LoRA or Blocks.")] = None
    scope: Annotated[str | None, typer.Option(help="Blocks that LoRA adapts: All or Ends.")] = None
    targets: Annotated[
        str | None, typer.Option(help="Linear layers that LoRA adapts: All, MLP or Attention.")
    ] = None
    rank: Annotated[int | None, typer.Option(help="Rank of LoRA.")] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `adapter`."""
        return {
            "method": self.method,
            "scope": self.scope,
            "targets": self.targets,
            "rank": self.rank,
        }


@dataclass(frozen=True)
class DataOptions:
    """The private data of an adapter."""

    train: Annotated[str | None, typer.Option(help="Location of the private data to train on.")] = (
        None
    )
    validation: Annotated[
        str | None,
        typer.Option(help="Location of the private data that selects the best checkpoint."),
    ] = None
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder with private images in train/ and validation/, each with a subfolder for "
            "each class; instead of --train and --validation."
        ),
    ] = None

    def fields(self) -> dict[str, str | None]:
        """Return the fields of the section `data`.

        Raises:
            InputError: --images is combined with a flag that it replaces.
        """
        if self.images is None:
            return {"train": self.train, "validation": self.validation}
        if self.train is not None or self.validation is not None:
            raise InputError("--images stands for --train and --validation; remove it, or those")
        folder = self.images.rstrip("/")
        return {"train": f"{folder}/train/", "validation": f"{folder}/validation/"}


@dataclass(frozen=True)
class PrivacyOptions:
    """Differential privacy of an adapter."""

    epsilon: Annotated[
        float | None, typer.Option(help="Differential privacy with this ε, such as 8.")
    ] = None
    noise_multiplier: Annotated[
        float | None,
        typer.Option(help="Noise (standard deviation) per --max-grad-norm, instead of --epsilon."),
    ] = None
    delta: Annotated[float | None, typer.Option(help="The δ of differential privacy.")] = None
    max_grad_norm: Annotated[
        float | None, typer.Option(help="Norm that gradients of a unit are clipped to.")
    ] = None
    group: Annotated[
        str | None,
        typer.Option(help="Column of the training data; all rows with one value are one unit."),
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `privacy`."""
        return {
            "epsilon": self.epsilon,
            "noiseMultiplier": self.noise_multiplier,
            "delta": self.delta,
            "maxGradNorm": self.max_grad_norm,
            "unit": {"group": self.group},
        }


@dataclass(frozen=True)
class ReleaseOptions:
    """Audits of an adapter before it is published."""

    canaries: Annotated[
        int | None, typer.Option(help="Canaries to audit with; half are in the training data.")
    ] = None
    max_auc: Annotated[
        float | None, typer.Option(help="Largest AUC of membership inference, such as 0.6.")
    ] = None
    max_tpr_at_1_percent_fpr: Annotated[
        float | None,
        typer.Option(help="Largest TPR of membership inference at 1 % FPR, such as 0.05."),
    ] = None
    max_empirical_epsilon: Annotated[
        float | None, typer.Option(help="Largest lower bound on ε that the canaries may prove.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `release`."""
        return {
            "canaries": self.canaries,
            "maxAuc": self.max_auc,
            "maxTprAt1PercentFpr": self.max_tpr_at_1_percent_fpr,
            "maxEmpiricalEpsilon": self.max_empirical_epsilon,
        }


@dataclass(frozen=True)
class RecoveryOptions:
    """Audit of an emulator before it is published."""

    max_capability: Annotated[
        float | None,
        typer.Option(
            help="Largest share of the full model's skill that public data may recover, such as "
            "0.5; above it, nothing is sent."
        ),
    ] = None
    recovery_steps: Annotated[
        int | None, typer.Option(help="Training steps of each recovery attack.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `release`."""
        return {"maxCapability": self.max_capability, "recoverySteps": self.recovery_steps}


@dataclass(frozen=True)
class ScaleOptions:
    """The scale of an adapter's change."""

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

    def fields(self) -> dict[str, Any]:
        """Return the fields of the scale."""
        factors = {
            "attention": self.alpha_attention,
            "mlp": self.alpha_mlp,
            "ends": self.alpha_ends,
            "middle": self.alpha_middle,
        }
        return {"alpha": self.alpha, "alphaFactors": factors}


@dataclass(frozen=True)
class AlphaOptions:
    """How much of an adapter's change is plugged in."""

    scale: ScaleOptions
    auto_alpha: Annotated[
        str | None,
        typer.Option(
            help="Location of your own text or images, by which a rule chooses the scale; "
            "--alpha and its factors are then upper limits."
        ),
    ] = None
    auto_alpha_regression: Annotated[
        float | None,
        typer.Option(help="How much worse the change may make the model there, such as 0.5."),
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `plugIn` about the scale."""
        auto = {"data": self.auto_alpha, "maxRegression": self.auto_alpha_regression}
        return {**self.scale.fields(), "alphaAuto": auto}


@dataclass(frozen=True)
class DistillationOptions:
    """Hyperparameters of distillation."""

    training: TrainingOptions
    corpus: Annotated[
        str | None,
        typer.Option(help="Location of the text to distil on. Without it, nothing is distilled."),
    ] = None
    lm_weight: Annotated[float | None, typer.Option(help="Weight of the loss on targets.")] = None
    kd_weight: Annotated[float | None, typer.Option(help="Weight of the hidden-state loss.")] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the section `training`."""
        weights = {"lmWeight": self.lm_weight, "kdWeight": self.kd_weight}
        return {"corpus": self.corpus, **weights, **self.training.fields()}
