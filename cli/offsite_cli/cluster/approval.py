"""`offsite egress`, `approve` and `reject`: what a job is about to send, and the verdict on it.

By default of a job on the cluster; with `--approvals`, of one on this machine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.apiversion import API_VERSION
from offsite.errors import InputError
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.egress import report_lines
from offsite_cli.cluster.errors import AlreadyExists
from offsite_cli.cluster.identity import user_name
from offsite_cli.cluster.job_status import Resource, name_of, state_of, status_of
from offsite_cli.cluster.jobs import JobName, get_job
from offsite_cli.options import Format, grouped
from offsite_cli.output import Output, show_info, show_json, show_text

if TYPE_CHECKING:
    from offsite.resources import Verdict
    from offsite_cli.cluster.api import Api

Digest = Annotated[
    str, typer.Argument(help="Digest of the egress report, as `offsite egress` shows it.")
]
Message = Annotated[
    str, typer.Option("--message", "-m", help="Why, for the author of the job.", show_default=False)
]
_PLURAL = "offsiteapprovals"


@dataclass(frozen=True)
class Place:
    """Where the job is."""

    target: Target
    approvals: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the egress reports of jobs on this machine, as `offsite run` names "
            "it. Defaults to the cluster.",
        ),
    ] = None


@grouped
def egress(name: JobName, place: Place, output: Format = Output.TEXT) -> None:
    """Show exactly what a job is about to send, or sent, to its peer."""
    if place.approvals is not None:
        report = _on_this_machine(place.approvals).report(name).wire()
        state = {}
    else:
        job = get_job(connect(place.target), name)
        report = report_of(job)
        state = {"state": state_of(job), **_approval(job)}
    if output is Output.JSON:
        show_json({**state, "report": report})
    else:
        show_text(*report_lines(report, state))


@grouped
def approve(name: JobName, digest: Digest, place: Place, message: Message = "") -> None:
    """Let a job send what its egress report says, and nothing else."""
    _rule(place, name, digest, "Approved", message)
    show_text(f"{name} approved: {digest}")


@grouped
def reject(name: JobName, digest: Digest, place: Place, message: Message = "") -> None:
    """Fail a job that waits for an approval. Nothing is sent."""
    _rule(place, name, digest, "Rejected", message)
    show_text(f"{name} rejected: {digest}")


def report_of(job: Resource) -> dict[str, Any]:
    """Return the egress report of a job's status.

    Raises:
        InputError: There is none, or its digest is not that of its content.
    """
    from offsite.resources import digest_of_report

    report: dict[str, Any] | None = status_of(job).get("egress")
    name = name_of(job)
    if report is None:
        raise InputError(
            f"{name} has no egress report yet: {state_of(job)}; a job reports before it sends, if "
            "the organization requires an approval, else when it has sent"
        )
    if report.get("digest") != digest_of_report(report):
        raise InputError(
            f"the egress report of {name} is not what its digest says: the status was changed, or "
            "the chart offsite-crds is of another version than the operator; do not approve it"
        )
    return report


def new_approval(
    job: Resource, digest: str, verdict: "Verdict", approver: str, message: str
) -> Resource:
    """Build the OffsiteApproval of a user.

    Raises:
        InputError: The job does not wait for an approval of this digest.
    """
    report, name, state = report_of(job), name_of(job), state_of(job)
    if state != "AwaitingApproval":
        raise InputError(f"{name} does not wait for an approval: {state}")
    if report["digest"] != digest:
        raise InputError(
            f"{name} waits for an approval of {report['digest']}, not of {digest}; read its report "
            f"again: offsite egress {name}"
        )
    spec = {"job": name, "digest": digest, "verdict": verdict, "approver": approver}
    return {
        "apiVersion": API_VERSION,
        "kind": "OffsiteApproval",
        "metadata": {"name": f"{name[:50]}-{digest.removeprefix('sha256:')[:12]}"},
        "spec": spec | ({"message": message} if message else {}),
    }


def _rule(place: Place, name: str, digest: str, verdict: "Verdict", message: str) -> None:
    if place.approvals is not None:
        _on_this_machine(place.approvals).give(name, digest, verdict, message)
    else:
        _create(connect(place.target), name, digest, verdict, message)


def _create(api: "Api", name: str, digest: str, verdict: "Verdict", message: str) -> None:
    job = get_job(api, name)
    made = new_approval(job, digest, verdict, user_name(api), message)
    group = f"apis/{API_VERSION}"
    try:
        api.create(api.path(group, _PLURAL), made, fieldValidation="Strict", fieldManager="offsite")
    except AlreadyExists:
        found = api.get(api.path(group, _PLURAL, name_of(made)))["spec"]
        if (found.get("verdict"), found.get("approver")) != (verdict, made["spec"]["approver"]):
            raise InputError(
                f"{found.get('approver')} has ruled already: {found.get('verdict')}; to change "
                f"that, they delete it: kubectl delete offsiteapproval {name_of(made)}"
            ) from None
        show_info(f"{name_of(made)} already exists")


def _approval(job: Resource) -> dict[str, Any]:
    found = status_of(job).get("approval")
    return {"approval": found} if found else {}


def _on_this_machine(folder: Path) -> Any:
    from offsite.steps.approvals import FolderApprovals

    return FolderApprovals(folder.expanduser().resolve())
