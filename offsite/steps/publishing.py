"""The last step: from what a stage made to a sealed bundle in the exchange, exactly once."""

from datetime import timedelta

from offsite.api import Grant as GrantSpec
from offsite.bundle import AdapterFacts, EmulatorRecord, read_manifest
from offsite.errors import BundleError
from offsite.events import Monitor
from offsite.exchange import Mailbox, Outgoing, find_sent, push
from offsite.sealing.envelope import Grant
from offsite.sealing.parts import now
from offsite.steps.floors import check_floors
from offsite.steps.kept import check_result
from offsite.steps.workspace import ATTEMPT, Workspace

DRAFT = "record.json"
"""The record of an emulator that is not sent yet, and so has no envelope."""
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}


def already_published(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Look whether this very job's result is in the exchange, and tell so.

    A result that was finished, but not sent, is sent.

    Raises:
        StorageError: the exchange cannot be asked, or did not take it.
    """
    note = space.published()
    if note is not None and note.fingerprint == space.fingerprint:
        try:
            sent = find_sent(mailbox, space.spec.peer, space.name, note.digest)
        except BundleError as error:
            monitor.log(f"what was published before is damaged: {error}")
            sent = None
        if sent is not None:
            monitor.artifact(space.name, sent.digest, sent.uri, note.size)
            return True
        monitor.log("what was published before is not there whole, so it is sent again")
    if not space.result.exists():
        return False
    send(space, mailbox, monitor)
    return True


def send(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Seal the result, send it, and remember what is to be remembered before it can be answered.

    Raises:
        InputError, BundleError: it may not be sent, as `check_result` and `check_floors`.
        StorageError: the exchange did not take it; what it took is not sent again.
    """
    manifest, _ = read_manifest(space.result)
    facts, draft = manifest.facts, None
    if space.spec.distill is not None:
        draft = EmulatorRecord.model_validate_json((space.folder / DRAFT).read_bytes())
        check_result(space, draft)
    if space.spec.tune is not None:
        check_floors(space, space.spec.tune)

    def remember(digest: str) -> None:
        if draft is not None:
            space.party.keep_record(draft.model_copy(update={"digest": digest}))
        space.remember(digest, manifest.size)

    monitor.check()
    outgoing = Outgoing(
        space.result,
        space.spec.peer,
        job=(space.folder / ATTEMPT).read_text("ascii"),
        parent=facts.answers if isinstance(facts, AdapterFacts) else None,
        grant=draft.grant if draft else Grant(),
    )
    sent = push(mailbox, outgoing, monitor, remember)
    monitor.artifact(space.name, sent.digest, sent.uri, manifest.size)


def terms(grant: GrantSpec) -> Grant:
    """Turn what a job grants into what an envelope says: how long from now, into until when."""
    if grant.expires_after is None:
        return Grant(max_uses=grant.max_uses)
    number, unit = int(grant.expires_after[:-1]), _UNITS[grant.expires_after[-1]]
    return Grant(max_uses=grant.max_uses, expires=now() + timedelta(**{unit: number}))
