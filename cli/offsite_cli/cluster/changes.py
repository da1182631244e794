"""`offsite cancel`, `suspend`, `resume`, `retry` and `delete`."""

from collections.abc import Callable
from typing import Any

from offsite.errors import InputError
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.decisions import cancelled, resumed, retried, suspended
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.jobs import change, get_job, path_of
from offsite_cli.cluster.names import JobNames
from offsite_cli.groups import grouped
from offsite_cli.output import say

Decide = Callable[[Resource], dict[str, Any] | str]


@grouped
def cancel(names: JobNames, target: Target) -> None:
    """Stop jobs, and keep their records."""
    _change(target, names, cancelled, "is being cancelled")


@grouped
def suspend(names: JobNames, target: Target) -> None:
    """Stop jobs for a while. They go on from their last checkpoints."""
    _change(target, names, suspended, "is being suspended; to go on: offsite resume {name}")


@grouped
def resume(names: JobNames, target: Target) -> None:
    """Let jobs go on that were suspended."""
    _change(target, names, resumed, "goes on")


@grouped
def retry(names: JobNames, target: Target) -> None:
    """Run jobs that failed or were cancelled once more. They go on from their last checkpoints."""
    _change(target, names, retried, "runs once more; to see it: offsite watch {name}")


@grouped
def delete(names: JobNames, target: Target) -> None:
    """Delete jobs with all that they run. What they published stays in the exchange."""
    api = connect(target)
    for name in names:
        api.delete(path_of(api, name))
        print(f"{name} deleted")


def _change(target: Target, names: list[str], decide: Decide, done: str) -> None:
    """Change each job as is decided for it; what cannot be is told when the rest is done."""
    api, refused = connect(target), []
    for name in names:
        job = get_job(api, name)
        try:
            decided = decide(job)
        except InputError as error:
            refused.append(str(error))
            continue
        if isinstance(decided, str):
            say(f"{name} {decided}")
            continue
        change(api, job, decided)
        print(f"{name} {done.format(name=name)}")
    if refused:
        raise InputError("\n  ".join(refused))
