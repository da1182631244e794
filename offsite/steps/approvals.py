"""Checks whether another person approved what a stage is about to send.

On a cluster, the API server knows who approved, the operator decides, and `Publish` gets the digest
that it may send. On a laptop, a verdict is a file in a folder, and its approver is the owner of
that file, as the kernel knows it. So an author without the rights of another user or of root cannot
approve their own job. They can still change their own policy: docs/approval.md.
"""

import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.errors import ApprovalError, AwaitingApproval, InputError
from offsite.events import Monitor
from offsite.exchange.home import dns_label
from offsite.resources import EgressReport, Verdict, digest_of_report
from offsite.store import disk_errors, write_whole
from offsite.store.beneath import folder_below
from offsite.wire import Digest, Instant, Part, canonical, now

if TYPE_CHECKING:
    from offsite.steps.workspace import Workspace

_LARGEST = 4 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHARED = 0o644


class Approvals(Protocol):
    """What other people approved."""

    def keep(self, report: EgressReport) -> None:
        """Save a report for people to read, if this process is the one that has to."""
        ...

    def check(self, report: EgressReport) -> str | None:
        """Return who approved a report; None: this process does not know.

        Raises:
            AwaitingApproval: Nobody has approved it yet.
            ApprovalError: It may not be sent.
        """
        ...


def check_approved(space: "Workspace", report: EgressReport, monitor: Monitor) -> None:
    """Check that a result that needs an approval has one.

    Raises:
        AwaitingApproval, ApprovalError: As for `Approvals.check`.
    """
    party = space.party
    if party.limits.requires_approval(space.spec.stage):
        approver = party.approvals.check(report)
        monitor.log(f"{report.digest} is approved{f' by {approver}' if approver else ''}")


@dataclass(frozen=True)
class GivenApproval:
    """The approval that the operator passes on."""

    digest: str | None = None

    def keep(self, report: EgressReport) -> None:
        """See `Approvals.keep`. The operator saves it."""

    def check(self, report: EgressReport) -> None:
        """See `Approvals.check`."""
        if self.digest is None:
            raise ApprovalError(
                "this organization requires an approval (requireApproval), and the task names "
                "none; the operator's image and the charts must have the same version"
            )
        if report.digest != self.digest:
            raise ApprovalError(
                f"{report.bundle} is {report.digest}, but {self.digest} was approved: the result, "
                "its figures or the peer's keys changed after the report; `offsite retry` reports "
                "again, for a new approval"
            )


class LocalVerdict(Part):
    """The file of a verdict on a laptop. The owner of the file is the approver."""

    digest: Digest
    verdict: Verdict
    message: str = ""
    at: Instant


@dataclass(frozen=True)
class FolderApprovals:
    """Reports and verdicts in a folder, which author and approvers can read."""

    folder: Path
    shared: bool = True
    """Whether other users read the reports; those in a home are for root alone."""

    def keep(self, report: EgressReport) -> None:
        """See `Approvals.keep`."""
        path = self.folder / _report(report.bundle)
        write_whole(path, canonical(report.wire()))
        if self.shared:
            with disk_errors(path):
                path.chmod(_SHARED)

    def check(self, report: EgressReport) -> str:
        """See `Approvals.check`."""
        found = self._verdict(report)
        if found is None:
            raise AwaitingApproval(
                f"{report.bundle} waits for an approval of {report.digest}; another user of this "
                f"machine reads it with `offsite egress {report.bundle} --approvals {self.folder}` "
                f"and approves it with `offsite approve {report.bundle} {report.digest} "
                f"--approvals {self.folder}`; then run the same command again"
            )
        verdict, approver = found
        if verdict.verdict == "Rejected":
            raise ApprovalError(
                f"{approver} rejected {report.bundle} ({report.digest}): "
                f"{verdict.message or 'no reason given'}; run another job under another name"
            )
        return approver

    def report(self, job: str) -> EgressReport:
        """Read the report of a job that waits, or that has sent its result.

        Raises:
            InputError: There is none, or it is damaged.
        """
        return self._report(job)[0]

    def give(self, job: str, digest: str, verdict: Verdict, message: str) -> None:
        """Write the verdict of the user of this process.

        Raises:
            InputError: There is no such report, it has another digest, or there is a verdict.
            ApprovalError: This user ran the job.
        """
        report, author = self._report(job)
        if author == os.geteuid():
            raise ApprovalError(
                f"you ran {job} as {_user(author)}; another user of this machine has to approve it"
            )
        if report.digest != digest:
            raise InputError(
                f"{job} waits for an approval of {report.digest}, not of {digest}; read it again: "
                f"offsite egress {job} --approvals {self.folder}"
            )
        given = LocalVerdict(digest=digest, verdict=verdict, message=message, at=now())
        self._write(_verdict(report), canonical(given.wire()))

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        with disk_errors(path), folder_below(self.folder, "") as at:
            try:
                # not renamed into place: the file has to be this user's from the start
                file = os.open(name, _NEW, _SHARED, dir_fd=at)
            except FileExistsError as error:
                raise InputError(
                    f"there is a verdict already; to change it, delete {path}"
                ) from error
            with os.fdopen(file, "wb") as stream:
                os.fchmod(stream.fileno(), _SHARED)
                stream.write(content)

    def _report(self, job: str) -> tuple[EgressReport, int]:
        # as root, this user must not be led out of the folder of an author
        dns_label("job", job)
        path = self.folder / _report(job)
        found = self._read(_report(job))
        if found is None:
            raise InputError(f"{job} has no egress report: there is no {path}")
        content, owner = found
        try:
            report = EgressReport.model_validate_json(content)
        except ValidationError as error:
            raise InputError(f"{path} is not an egress report: {reason(error)}") from error
        if report.bundle != job or report.digest != digest_of_report(report.wire()):
            raise InputError(f"{path} is damaged: its digest does not match; run the job again")
        return report, owner.st_uid

    def _verdict(self, report: EgressReport) -> tuple[LocalVerdict, str] | None:
        """Read the verdict on a report, and the name of its approver."""
        found = self._read(_verdict(report))
        if found is None:
            return None
        content, owner = found
        path = self.folder / _verdict(report)
        if owner.st_uid == os.geteuid():
            raise ApprovalError(f"{path} is your own verdict; another user has to approve the job")
        if owner.st_mode & 0o022:
            raise ApprovalError(f"others than its owner can write {path}; delete it")
        try:
            verdict = LocalVerdict.model_validate_json(content)
        except ValidationError as error:
            raise InputError(f"{path} is not a verdict: {reason(error)}; delete it") from error
        return (verdict, _user(owner.st_uid)) if verdict.digest == report.digest else None

    def _read(self, name: str) -> tuple[bytes, os.stat_result] | None:
        """Read a regular file, and who owns it; None: it does not exist."""
        path = self.folder / name
        with (
            disk_errors(path),
            suppress(FileNotFoundError),
            folder_below(self.folder, "") as at,
            os.fdopen(os.open(name, _READ, dir_fd=at), "rb") as file,
        ):
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise InputError(f"{path} is not a regular file of at most {_LARGEST} bytes")
            return file.read(), status
        return None


def _report(job: str) -> str:
    return f"{job}.report.json"


def _verdict(report: EgressReport) -> str:
    return f"{report.bundle}.{report.digest.removeprefix('sha256:')[:12]}.verdict.json"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
