"""The steps Report and Publish: check a result, and send it as a sealed bundle, exactly once."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.bundle import AdapterFacts, EmulatorRecord, Manifest, read_manifest, read_record
from offsite.errors import BundleError
from offsite.events import Egress, Monitor
from offsite.exchange import Mailbox, Outgoing, find_sent, push
from offsite.resources import EgressReport
from offsite.rows import labels_in
from offsite.sealing.envelope import GrantTerms
from offsite.steps.approvals import check_approved
from offsite.steps.disclosing import blocks_sent, check_disclosed, disclose
from offsite.steps.egress import egress_report
from offsite.steps.emulator_results import checked_emulator
from offsite.steps.floors import check_floors
from offsite.steps.inputs import training_data
from offsite.steps.marking import mark_emulator
from offsite.steps.released import check_recovered, check_released
from offsite.steps.results import check_answer
from offsite.steps.workspace import Workspace

DRAFT = "record.json"
"""The record of an emulator that is not sent yet, and has no envelope."""


def resume_send(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Report an earlier attempt's result that is in the exchange, or send its finished result.

    Returns:
        Whether the result is in the exchange.

    Raises:
        StorageError: The exchange does not answer, or did not accept the result.
    """
    note = space.published()
    if note is not None and note.fingerprint == space.fingerprint:
        try:
            sent = find_sent(mailbox, space.spec.peer, space.name, note.digest)
        except BundleError as error:
            monitor.log(f"the bundle that was published before is damaged: {error}")
            sent = None
        if sent is not None:
            monitor.artifact(space.name, sent.digest, sent.uri, note.size)
            return True
        monitor.log("the bundle that was published before is incomplete; sending it again")
    if not space.is_finished:
        return False
    send(space, mailbox, monitor)
    return True


def report(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Check the result as `send` does, and report what would be sent. Nothing is sent.

    Raises:
        InputError, BundleError: It may not be sent; see `send`.
    """
    ready = _checked(space, mailbox)
    if ready.draft is not None:
        check_disclosed(space, ready.draft, mailbox, monitor)
    monitor.emit(Egress(report=ready.report.wire()))


def send(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Seal the result, save its record, and send it.

    Raises:
        InputError, BundleError: It may not be sent; see `checked_emulator`, `disclose`,
            `check_answer`, `check_floors`, `check_released` and `check_recovered`.
        ApprovalError, AwaitingApproval: It needs an approval; see `check_approved`.
        StorageError: The exchange did not accept it. A retry does not resend accepted parts.
    """
    ready = _checked(space, mailbox)
    draft, manifest = ready.draft, ready.manifest
    monitor.emit(Egress(report=ready.report.wire()))
    space.party.approvals.keep(ready.report)
    check_approved(space, ready.report, monitor)
    if draft is not None:
        draft = draft.model_copy(update={"entry": disclose(space, draft, mailbox, monitor)})

    def remember(digest: str) -> None:
        if draft is not None:
            space.party.keep_record(draft.model_copy(update={"digest": digest}))
        space.remember(digest, manifest.size)

    monitor.check()
    outgoing = Outgoing(
        ready.folder,
        space.spec.peer,
        job=space.sent_as,
        parent=ready.parent,
        grant=draft.grant if draft else GrantTerms(),
    )
    sent = push(mailbox, outgoing, monitor, remember)
    if isinstance(manifest.facts, AdapterFacts) and manifest.facts.privacy is not None:
        monitor.emit(manifest.facts.privacy.report())
    monitor.artifact(space.name, sent.digest, sent.uri, manifest.size)


@dataclass(frozen=True)
class _Ready:
    """A result that passed its checks."""

    folder: Path
    """What is sent: the result, or the marked copy of an emulator."""
    manifest: Manifest
    report: EgressReport
    draft: EmulatorRecord | None = None
    """The record of an emulator, without its envelope and ledger entry."""
    parent: str | None = None
    """The envelope that an adapter answers."""


def _checked(space: Workspace, mailbox: Mailbox) -> _Ready:
    draft, parent, folder = None, None, space.result
    if space.spec.distill is not None:
        unmarked = checked_emulator(space, space.spec.distill, _noted(space))
        check_recovered(space, space.spec.distill, blocks_sent(space, unmarked))
        folder, draft = mark_emulator(space, unmarked, mailbox.ring)
    elif space.spec.tune is not None:
        data = training_data(space.spec.tune, space.party)
        survey = check_floors(space.party.limits, space.spec.tune, data)
        labels = labels_in(data) if space.answered().head else ()
        parent = check_answer(space, space.spec.tune, survey.units, labels)
        check_released(space, space.spec.tune)
    peer, (manifest, digest) = mailbox.peers.get(space.spec.peer), read_manifest(folder)
    found = egress_report(space, folder, peer, manifest, digest, draft)
    return _Ready(folder, manifest, found, draft, parent)


def _noted(space: Workspace) -> EmulatorRecord:
    path = space.folder / DRAFT
    try:
        return read_record(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(
            f"{path} is not a valid record of the emulator: {reason(error)}"
        ) from error
