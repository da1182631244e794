"""From what a stage made to a sealed bundle in the exchange, exactly once."""

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from offsite.api import Grant as GrantSpec
from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorFacts,
    EmulatorRecord,
    check_contents,
    read_manifest,
    strip_companions,
    write_manifest,
)
from offsite.errors import BundleError
from offsite.events import Monitor
from offsite.exchange import Outgoing, prefix_of, push
from offsite.layers import Loaded, family, save
from offsite.sealing.envelope import Grant
from offsite.sealing.parts import canonical, now
from offsite.stages.workspace import Workspace
from offsite.store import whole_folder, write_whole

_DRAFT = "record.json"
"""The record of an emulator that is not sent yet, and so has no envelope."""
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}
_ATTEMPT = "attempt"
"""The id under which a result is sent; one that is made anew takes a sequence of its own."""


def already_published(space: Workspace, monitor: Monitor) -> bool:
    """Look whether this very job's result is in the exchange, and tell so.

    A result that was finished, but not sent, is sent.

    Raises:
        StorageError: the exchange cannot be asked, or did not take it.
    """
    note, mailbox = space.published(), space.party.mailbox
    if note is not None and note.fingerprint == space.fingerprint:
        try:
            whole = mailbox.is_whole(space.peer, space.job, note.digest)
        except BundleError as error:
            monitor.log(f"what was published before is damaged: {error}")
            whole = False
        if whole:
            uri = mailbox.store.uri(
                prefix_of(mailbox.id, mailbox.peers.get(space.peer).id, space.job)
            )
            monitor.artifact(space.job, note.digest, uri, note.size)
            return True
        monitor.log("what was published before is not there whole, so it is sent again")
    if not space.result.exists():
        return False
    send(space, monitor)
    return True


def finish_emulator(
    space: Workspace, made: Loaded, facts: EmulatorFacts, draft: EmulatorRecord
) -> None:
    """Write an emulator bundle, which `send` then sends.

    Raises:
        BundleError: the receiver's own check would refuse it.
    """

    def fill(folder: Path) -> None:
        save(made, folder)
        strip_companions(folder)

    write_whole(space.folder / _DRAFT, canonical(draft.wire()))
    fields = {"architecture": family(made.model).architecture, "dtype": str(made.dtype)[6:]}
    _finish(space, fill, {**fields, "facts": facts}, check_contents)


def finish_adapter(
    space: Workspace, changes: Mapping[str, Tensor], facts: AdapterFacts, architecture: str
) -> None:
    """Write an adapter bundle, which `send` then sends. Its changes are float32."""

    def fill(folder: Path) -> None:
        tensors = {name: value.cpu().contiguous() for name, value in changes.items()}
        save_file(tensors, folder / ADAPTER)

    fields = {"architecture": architecture, "dtype": "float32", "facts": facts}
    _finish(space, fill, fields, read_manifest)


def _finish(
    space: Workspace,
    fill: Callable[[Path], None],
    fields: Mapping[str, object],
    check: Callable[[Path], object],
) -> None:
    peer = space.party.mailbox.peers.get(space.peer)
    write_whole(space.folder / _ATTEMPT, secrets.token_hex(16).encode())
    with whole_folder(space.result) as folder:
        fill(folder)
        write_manifest(folder, name=space.job, made_by=space.party.id, made_for=peer.id, **fields)
        check(folder)


def send(space: Workspace, monitor: Monitor) -> None:
    """Seal the result, send it, and remember what is to be remembered before it can be answered.

    Raises:
        StorageError: the exchange did not take it; what it took is not sent again.
    """
    manifest, _ = read_manifest(space.result)
    facts, party, draft = manifest.facts, space.party, None
    if isinstance(facts, EmulatorFacts):
        draft = EmulatorRecord.model_validate_json((space.folder / _DRAFT).read_bytes())

    def remember(digest: str) -> None:
        if draft is not None:
            party.keep_record(draft.model_copy(update={"digest": digest}))
        space.remember(digest, manifest.size)

    monitor.check()
    outgoing = Outgoing(
        space.result,
        space.peer,
        job=(space.folder / _ATTEMPT).read_text("ascii"),
        parent=facts.answers if isinstance(facts, AdapterFacts) else None,
        grant=draft.grant if draft else Grant(),
    )
    sent = push(party.mailbox, outgoing, monitor, remember)
    monitor.artifact(space.job, sent.digest, sent.uri, manifest.size)


def terms(grant: GrantSpec) -> Grant:
    """Turn what a job grants into what an envelope says: how long from now, into until when."""
    if grant.expires_after is None:
        return Grant(max_uses=grant.max_uses)
    number, unit = int(grant.expires_after[:-1]), _UNITS[grant.expires_after[-1]]
    return Grant(max_uses=grant.max_uses, expires=now() + timedelta(**{unit: number}))
