"""The flags of `offsite submit`, and the fields of a job that they set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from offsite.errors import InputError
from offsite_cli.cluster.submit.create import SubmitOptions, submit_content, submit_files
from offsite_cli.options import duration_option

_STAGES = {
    "distill": ("Distill", "distill"),
    "tune": ("Tune", "tune"),
    "plug-in": ("PlugIn", "plugIn"),
}
"""By command: the stage, and its section of the spec."""

Name = Annotated[
    str | None, typer.Argument(help="Name of the job, and of the bundle that it sends, if any.")
]
Peer = Annotated[str | None, typer.Option(help="Name of the other party's OffsitePeer.")]
Evaluate = Annotated[
    str | None, typer.Option(help="Location of a data set to evaluate on, which both parties have.")
]


@dataclass(frozen=True)
class TrainingOptions:
    """Hyperparameters of training."""

    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Examples in each step.")] = None
    block_size: Annotated[int | None, typer.Option(help="Tokens in each example.")] = None
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
            "gradientCheckpointing": self.gradient_checkpointing,
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


@dataclass(frozen=True)
class ClusterOptions:
    """Resources that a job requests from the cluster."""

    workers: Annotated[
        int | None, typer.Option(help="Pods that work together. More than one needs KubeRay.")
    ] = None
    sharding: Annotated[
        str | None, typer.Option(help="How workers share the model: DDP or FSDP.")
    ] = None
    gpus: Annotated[int | None, typer.Option(help="GPUs of each worker.")] = None
    cpus: Annotated[int | None, typer.Option(help="CPUs of each worker.")] = None
    memory: Annotated[str | None, typer.Option(help="Memory of each worker, such as 16Gi.")] = None
    engine: Annotated[str | None, typer.Option(help="Auto, RayJob or Job.")] = None
    image: Annotated[
        str | None,
        typer.Option(help="Image of the training pods. The chart must allow it: bounds.images."),
    ] = None
    queue: Annotated[str | None, typer.Option(help="Kueue LocalQueue.")] = None
    priority_class: Annotated[str | None, typer.Option(help="PriorityClass of the pods.")] = None
    node_selector: Annotated[
        list[str] | None, typer.Option(help="Node label, as KEY=VALUE. Repeatable.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the spec."""
        resources = {
            "workers": self.workers,
            "sharding": self.sharding,
            "gpusPerWorker": self.gpus,
            "cpusPerWorker": self.cpus,
            "memoryPerWorker": self.memory,
        }
        runtime = {
            "engine": self.engine,
            "image": self.image,
            "queue": self.queue,
            "priorityClassName": self.priority_class,
            "nodeSelector": dict(map(_parse_label, self.node_selector or [])),
        }
        return {"resources": resources, "runtime": runtime}


@dataclass(frozen=True)
class RunPolicy:
    """Retries, deadlines and the seed of a job."""

    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None
    backoff_limit: Annotated[
        int | None, typer.Option(help="Number of retries after a failure that may be temporary.")
    ] = None
    deadline: Annotated[
        float | None, duration_option("Time limit of the job, such as 30m or 8h.")
    ] = None
    ttl: Annotated[
        float | None, duration_option("Delete the job this long after it ended, such as 24h.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the spec."""
        return {
            "seed": self.seed,
            "backoffLimit": self.backoff_limit,
            "activeDeadlineSeconds": _whole_seconds(self.deadline),
            "ttlSecondsAfterFinished": _whole_seconds(self.ttl),
        }


@dataclass(frozen=True)
class JobOptions:
    """The options that all stages share."""

    cluster: ClusterOptions
    policy: RunPolicy
    submission: SubmitOptions

    def submit(self, command: str, required: Mapping[str, Any], section: Mapping[str, Any]) -> None:
        """Build the job from the flags, or read it from the files, and submit it.

        Args:
            required: the values of the flags that a job needs, by flag.

        Raises:
            InputError: required flags are missing, or flags are combined with files.
        """
        from offsite_cli.cluster.submit.documents import build_content

        stage, key = _STAGES[command]
        spec = {"stage": stage, "peer": required["--peer"], key: section}
        content = build_content(
            required["NAME"], spec | self.policy.fields() | self.cluster.fields()
        )
        if self.submission.files:
            if required["NAME"] or content["spec"] != {"stage": stage}:
                raise InputError(
                    "a job file (-f) cannot be combined with a name or flags of a job; leave them "
                    "out, or edit the file"
                )
            submit_files(self.submission, stage)
            return
        if missing := [flag for flag, value in required.items() if value is None]:
            raise InputError(
                f"missing {', '.join(missing)}; `offsite submit {command} --help` lists the flags, "
                f"and `offsite submit {command} -f FILE` reads a job file"
            )
        submit_content(self.submission, content, f"the job of `offsite submit {command}`")


def _parse_label(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise InputError(f"--node-selector {text!r} must be KEY=VALUE, such as disk=ssd")
    return key, value


def _whole_seconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
