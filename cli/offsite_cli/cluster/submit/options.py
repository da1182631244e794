"""The flags that all commands of `offsite submit` share, and the fields of a job that they set."""

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
class EvaluationOptions:
    """What the models of a stage are scored on."""

    evaluate: Evaluate = None
    lm_eval_task: Annotated[
        list[str] | None,
        typer.Option(help="Task of lm-eval to score on, such as piqa. Repeatable."),
    ] = None
    lm_eval_path: Annotated[
        str | None,
        typer.Option(help="Folder of these tasks, or of their data sets; it ends in /."),
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a stage's section."""
        tasks = {"tasks": self.lm_eval_task, "path": self.lm_eval_path}
        return {"evaluate": self.evaluate, "lmEval": tasks}


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
    deterministic: Annotated[
        bool | None, typer.Option(help="Give the same bits each time on a GPU, too; slower.")
    ] = None
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
            "deterministic": self.deterministic,
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
