"""`offsite cancel`, `suspend`, `resume`, `retry` and `delete`.

The functions `…_patch` decide, without a cluster, which fields of a job's spec to change. They
return a remark instead if the job needs no change.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offsite.errors import InputError
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.errors import Conflict
from offsite_cli.cluster.job_status import (
    FINAL_STATES,
    Resource,
    is_settled,
    name_of,
    state_of,
    status_of,
)
from offsite_cli.cluster.jobs import JobNames, get_job, patch_spec, path_of
from offsite_cli.options import grouped
from offsite_cli.output import show_info, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

MakePatch = Callable[[Resource], dict[str, Any] | str]
_TRIES = 5
"""The operator writes the status of a running job every few seconds, so conflicts are normal."""


@grouped
def cancel(names: JobNames, target: Target) -> None:
    """Stop jobs for good, and keep their records."""
    _patch_jobs(target, names, cancel_patch, "is being cancelled")


@grouped
def suspend(names: JobNames, target: Target) -> None:
    """Pause jobs. `offsite resume` continues them from their last checkpoints."""
    _patch_jobs(
        target, names, suspend_patch, "is being suspended; to continue it: offsite resume {name}"
    )


@grouped
def resume(names: JobNames, target: Target) -> None:
    """Continue suspended jobs."""
    _patch_jobs(target, names, resume_patch, "continues")


@grouped
def retry(names: JobNames, target: Target) -> None:
    """Run failed or cancelled jobs again. They continue from their last checkpoints."""
    _patch_jobs(target, names, retry_patch, "runs again; to follow it: offsite watch {name}")


@grouped
def delete(names: JobNames, target: Target) -> None:
    """Delete jobs and their pods. What they published stays in the exchange."""
    api = connect(target)

    def delete_one(name: str) -> None:
        api.delete(path_of(api, name))
        show_text(f"{name} deleted")

    _for_each(names, delete_one)


def cancel_patch(job: Resource) -> dict[str, Any] | str:
    """Return the change that stops a job for good."""
    if is_settled(job):
        return f"has ended already: {state_of(job)}"
    return "is already being cancelled" if job["spec"].get("cancel") else {"cancel": True}


def suspend_patch(job: Resource) -> dict[str, Any] | str:
    """Return the change that pauses a job.

    Raises:
        InputError: the job has ended.
    """
    if is_settled(job):
        raise InputError(f"{name_of(job)} has ended ({state_of(job)}) and cannot be suspended")
    return "is already suspended" if job["spec"].get("suspend") else {"suspend": True}


def resume_patch(job: Resource) -> dict[str, Any] | str:
    """Return the change that continues a suspended job."""
    return {"suspend": False} if job["spec"].get("suspend") else "is not suspended"


def retry_patch(job: Resource) -> dict[str, Any] | str:
    """Return the change that runs a failed or cancelled job again.

    Raises:
        InputError: the job has not ended, or is complete.
    """
    name, spec, state = name_of(job), job["spec"], state_of(job)
    if state == "Complete":
        raise InputError(f"{name} is complete; to run it again, submit it under another name")
    if state not in FINAL_STATES:
        raise InputError(
            f"{name} is {state.lower()}; only a failed or cancelled job can be retried"
        )
    if not is_settled(job):
        return "is already going to run again"
    more = max(spec.get("retries", 0), status_of(job).get("retries", 0)) + 1
    return {"retries": more} | ({"cancel": False} if spec.get("cancel") else {})


def _patch_jobs(target: Target, names: list[str], make_patch: MakePatch, done: str) -> None:
    """Change each job, and report it."""
    api = connect(target)

    def patch_one(name: str) -> None:
        remark = _patch_job(api, name, make_patch)
        if remark is None:
            show_text(f"{name} {done.format(name=name)}")
        else:
            show_info(f"{name} {remark}")

    _for_each(names, patch_one)


def _patch_job(api: "Api", name: str, make_patch: MakePatch) -> str | None:
    """Change one job, and decide again on each conflict; returns why no change was needed."""
    for left in reversed(range(_TRIES)):
        job = get_job(api, name)
        patch = make_patch(job)
        if isinstance(patch, str):
            return patch
        try:
            patch_spec(api, job, patch)
            break
        except Conflict:
            if not left:
                raise
    return None


def _for_each(names: list[str], act: Callable[[str], None]) -> None:
    """Act on each job, and raise the errors of single jobs together at the end."""
    failed = list[InputError | Conflict]()
    for name in names:
        try:
            act(name)
        except (InputError, Conflict) as error:
            failed.append(error)
    if failed:
        raise type(failed[0])(*(line for error in failed for line in error.args))
