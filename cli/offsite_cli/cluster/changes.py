"""`offsite cancel`, `suspend`, `resume`, `retry` and `delete`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offsite.errors import InputError
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.decisions import cancelled, resumed, retried, suspended
from offsite_cli.cluster.errors import Modified
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.jobs import change, get_job, path_of
from offsite_cli.cluster.names import JobNames
from offsite_cli.groups import grouped
from offsite_cli.output import say, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

Decide = Callable[[Resource], dict[str, Any] | str]
_TRIES = 5
"""While a job runs, the operator writes its status every few seconds: that is no disagreement."""


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

    def delete_one(name: str) -> None:
        api.delete(path_of(api, name))
        show_text(f"{name} deleted")

    _each(names, delete_one)


def _change(target: Target, names: list[str], decide: Decide, done: str) -> None:
    """Change each job as is decided for it."""
    api = connect(target)

    def change_one(name: str) -> None:
        decided = _decided(api, name, decide)
        if decided is None:
            show_text(f"{name} {done.format(name=name)}")
        else:
            say(f"{name} {decided}")

    _each(names, change_one)


def _decided(api: "Api", name: str, decide: Decide) -> str | None:
    """Change a job as is decided for it, by what it is then; gives why it is left as it is."""
    for left in reversed(range(_TRIES)):
        job = get_job(api, name)
        decided = decide(job)
        if isinstance(decided, str):
            return decided
        try:
            change(api, job, decided)
            break
        except Modified:
            if not left:
                raise
    return None


def _each(names: list[str], do: Callable[[str], None]) -> None:
    """Do something to each job; what cannot be done is told when the rest is."""
    refused = list[InputError | Modified]()
    for name in names:
        try:
            do(name)
        except (InputError, Modified) as error:
            refused.append(error)
    if refused:
        raise type(refused[0])(*(line for error in refused for line in error.args))
