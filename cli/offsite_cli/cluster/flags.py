"""The flags of `offsite submit`, and the job that they make."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from offsite.apiversion import API_VERSION
from offsite.errors import InputError
from offsite_cli.cluster.sending import Sending, send_content, send_files
from offsite_cli.cluster.spans import span

STAGES = {
    "distill": ("Distill", "distill"),
    "tune": ("Tune", "tune"),
    "plug-in": ("PlugIn", "plugIn"),
}
"""By command: the stage, and its section."""

Name = Annotated[str | None, typer.Argument(help="The job's name, and that of what it publishes.")]
Peer = Annotated[str | None, typer.Option(help="The other organization: an OffsitePeer.")]
Evaluate = Annotated[str | None, typer.Option(help="A text that both parties hold.")]


@dataclass(frozen=True)
class Training:
    """How it is trained."""

    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Examples of a step.")] = None
    block_size: Annotated[int | None, typer.Option(help="Tokens of an example.")] = None
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Take less memory, and more time.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Give the fields of the section `training`."""
        return {
            "steps": self.steps,
            "learningRate": self.learning_rate,
            "batchSize": self.batch_size,
            "blockSize": self.block_size,
            "gradientCheckpointing": self.gradient_checkpointing,
        }


@dataclass(frozen=True)
class Distillation:
    """How an emulator is trained."""

    training: Training
    corpus: Annotated[
        str | None, typer.Option(help="The text to distil on; absent: no distillation.")
    ] = None
    lm_weight: Annotated[float | None, typer.Option(help="Weight of the language-model loss.")] = (
        None
    )
    kd_weight: Annotated[float | None, typer.Option(help="Weight of the hidden-state loss.")] = None

    def fields(self) -> dict[str, Any]:
        """Give the fields of the section `training`."""
        weights = {"lmWeight": self.lm_weight, "kdWeight": self.kd_weight}
        return {"corpus": self.corpus, **weights, **self.training.fields()}


@dataclass(frozen=True)
class Place:
    """What a job needs of the cluster."""

    workers: Annotated[int | None, typer.Option(help="Pods that train together, on Ray.")] = None
    sharding: Annotated[
        str | None, typer.Option(help="How workers share the model: DDP or FSDP.")
    ] = None
    gpus: Annotated[int | None, typer.Option(help="GPUs of each worker.")] = None
    cpus: Annotated[int | None, typer.Option(help="CPUs of each worker.")] = None
    memory: Annotated[str | None, typer.Option(help="Memory of each worker, such as 16Gi.")] = None
    engine: Annotated[str | None, typer.Option(help="Auto, RayJob or Job.")] = None
    image: Annotated[str | None, typer.Option(help="An image that the release allows.")] = None
    queue: Annotated[str | None, typer.Option(help="A Kueue LocalQueue.")] = None
    priority_class: Annotated[str | None, typer.Option(help="A PriorityClass.")] = None
    node_selector: Annotated[
        list[str] | None, typer.Option(help="A label of the nodes: KEY=VALUE. Can be repeated.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Give the fields of the spec."""
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
            "nodeSelector": dict(map(_pair, self.node_selector or [])),
        }
        return {"resources": resources, "runtime": runtime}


@dataclass(frozen=True)
class Limits:
    """How long a job may take, and how often it is tried."""

    seed: Annotated[int | None, typer.Option(help="The seed of all that is random.")] = None
    backoff_limit: Annotated[
        int | None, typer.Option(help="Attempts after the first one, while a retry may help.")
    ] = None
    deadline: Annotated[
        float | None, span("How long the job may take in all, such as 30m or 8h.")
    ] = None
    ttl: Annotated[
        float | None, span("How long after its end the job is deleted, such as 24h.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Give the fields of the spec."""
        return {
            "seed": self.seed,
            "backoffLimit": self.backoff_limit,
            "activeDeadlineSeconds": _whole(self.deadline),
            "ttlSecondsAfterFinished": _whole(self.ttl),
        }


@dataclass(frozen=True)
class Submission:
    """What is the same in every stage."""

    place: Place
    limits: Limits
    sending: Sending

    def submit(self, command: str, needed: Mapping[str, Any], section: Mapping[str, Any]) -> None:
        """Make the job of the flags, or read that of the files, and send it.

        Args:
            needed: what the job cannot do without, by the flag that says it.

        Raises:
            InputError: flags are missing, or stand beside files.
        """
        stage, key = STAGES[command]
        spec = {"stage": stage, "peer": needed["--peer"], key: section}
        made = document(needed["NAME"], spec | self.limits.fields() | self.place.fields())
        if self.sending.files:
            if needed["NAME"] or made["spec"] != {"stage": stage}:
                raise InputError("a file holds all of the job: leave out the name and the flags")
            send_files(self.sending, stage)
            return
        if missing := [flag for flag, value in needed.items() if value is None]:
            whole = f"offsite submit {command}"
            raise InputError(f"{whole} needs {', '.join(missing)} too; or a file: {whole} -f FILE")
        send_content(self.sending, made, f"the job of `offsite submit {command}`")


def document(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Make a job's document; what was not given is not in it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "OffsiteJob",
        "metadata": {"name": name},
        "spec": _given(spec),
    }


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None, and sections in which nothing is left."""
    inner = {k: _given(v) if isinstance(v, Mapping) else v for k, v in value.items()}
    return {k: v for k, v in inner.items() if v is not None and v != {}}


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise InputError(f"--node-selector {text!r} must be KEY=VALUE")
    return key, value


def _whole(span: float | None) -> int | None:
    return None if span is None else int(span)
