"""`offsite run`: run one stage in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from offsite import client
from offsite.api import JobSpec
from offsite.config import load_job
from offsite.errors import SpecError
from offsite.sealing import Disclosure
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Exchange, Format, Home, LocalApprovals
from offsite_cli.output import Output, monitored

_CLUSTER_FIELDS = frozenset(
    {
        *("resources", "runtime", "retries", "backoff_limit"),
        *("active_deadline_seconds", "ttl_seconds_after_finished"),
    }
)
"""Fields about pods and their retries; they have no meaning here, and change no result."""


def run(
    file: Annotated[Path, typer.Argument(help="Job file: an OffsiteJob in YAML.")],
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds between checkpoints.")
    ] = 60.0,
    notices: Annotated[
        Disclosure,
        typer.Option(
            envvar="OFFSITE_NOTICES", help="What to disclose to the peer if the stage fails."
        ),
    ] = Disclosure.REASON,
    approvals: LocalApprovals = None,
) -> None:
    """Run the stage of a job file on this machine.

    A stage that was interrupted or killed continues from its last checkpoint when you run it again.
    Exit codes: 0 success; 1 failed, and a retry may help; 2 the job, the data, the model or a
    bundle is invalid, or the audits refused the adapter; 4 the exchange cannot be reached or denies
    access, or an approver rejected the result; 5 the result waits for an approval.
    """
    secret = prompt_passphrase(home)
    with monitored(output) as monitor:
        job = load_job(file)
        check_runs_here(job.spec, str(file))
        if ignored := ignored_fields(job.spec):
            monitor.log(f"ignored outside a cluster: {', '.join(ignored)}")
        here = client.Home(home, exchange, secret, checkpoint_seconds, notices.value, approvals)
        here.run(job, monitor, base=file.resolve().parent)


def check_runs_here(spec: JobSpec, source: str) -> None:
    """Reject a job that cannot run outside a cluster, or is not to run at all.

    Args:
        source: the job file, for errors.

    Raises:
        SpecError: the job reads a PersistentVolumeClaim, or is suspended or cancelled.
    """
    stopped = [name for name in ("suspend", "cancel") if getattr(spec, name)]
    problems = [f"spec.{name}: must not be true for `offsite run`; remove it" for name in stopped]
    problems += [
        f"spec.{path}: {location} is a volume of a cluster; name a path, file:// or s3:// to run "
        "here, or run the job on the cluster: offsite submit -f FILE"
        for path, location in _strings(spec.model_dump(by_alias=True, exclude_none=True))
        if location.startswith("pvc://")
    ]
    if problems:
        raise SpecError(source, problems)


def ignored_fields(spec: JobSpec) -> list[str]:
    """Return the fields of the spec that have no meaning outside a cluster."""
    aliases = {name: str(field.alias) for name, field in JobSpec.model_fields.items()}
    return [aliases[name] for name in aliases if name in spec.model_fields_set & _CLUSTER_FIELDS]


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _strings(each, f"{path}.{name}" if path else name)
