"""Checks what an emulator discloses before it is made, and records it before it is sent.

The training pod chooses the blocks based on earlier disclosures. A job's author may choose its
image, so the sealing pod decides, based on the current ledger.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import RootModel

from offsite.bundle import EmulatorRecord
from offsite.bundle.disclosure import Disclosed, FullModel, check_disclosure
from offsite.bundle.ledger_entry import DisclosureEntry, SentBlock
from offsite.bundle.weights import digest_blocks
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.exchange import Mailbox
from offsite.steps.disclosures import Disclosures
from offsite.steps.party import Party
from offsite.steps.workspace import Workspace
from offsite.store import write_whole
from offsite.wire import canonical, now

DISCLOSED = "disclosed.json"
"""Snapshot of the ledger when the job began; the choice of blocks uses it until the end."""


class _Entries(RootModel[tuple[DisclosureEntry, ...]]):
    pass


def note_disclosed(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Save the disclosures so far, for the step that chooses the blocks.

    Raises:
        InputError: The ledger is incomplete.
        StorageError: A store is unavailable.
    """
    path = space.folder / DISCLOSED
    if space.spec.distill is None or path.exists():
        return
    ledger = Disclosures(space.party.artifacts)
    refuse_lost(mailbox, ledger, monitor)
    # the training image has no need to know recipients and jobs
    nobody = {"job": "", "bundle": "", "recipient": ""}
    entries = [entry.model_copy(update=nobody).wire() for entry in ledger.entries()]
    write_whole(path, canonical(entries))


def read_disclosed(space: Workspace) -> tuple[DisclosureEntry, ...]:
    """Read the snapshot of the disclosures; empty if there is none.

    Raises:
        InputError: The snapshot is damaged.
    """
    path = space.folder / DISCLOSED
    try:
        return _Entries.model_validate_json(path.read_bytes()).root
    except FileNotFoundError:  # the step that seals reads the ledger itself
        return ()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}; run the job again") from error


def model_before(
    folder: Path, digest: str, depth: int, entries: Sequence[DisclosureEntry]
) -> FullModel:
    """Describe a full model, so that the ledger can recognize it.

    Raises:
        ModelError: The model cannot be read.
    """
    # an empty ledger has nothing to compare with
    blocks = digest_blocks(folder) if entries else ()
    return FullModel(digest, depth, {i: frozenset(b.weights) for i, b in enumerate(blocks)})


def check_blocks(
    party: Party,
    model: FullModel,
    entries: Sequence[DisclosureEntry],
    chosen: Sequence[int],
    ends: Sequence[int],
) -> None:
    """Check the blocks of an emulator before it is made.

    Args:
        chosen: The model's blocks.
        ends: Those of them that the emulator contains unchanged.

    Raises:
        DisclosureError: As for `check_disclosure`.
    """
    own = Disclosed(frozenset(ends), frozenset(chosen))
    check_disclosure(party.limits, model, entries, own)


def check_disclosed(
    space: Workspace, draft: EmulatorRecord, mailbox: Mailbox, monitor: Monitor
) -> None:
    """Check a verified emulator against the ledger as it is now, without an entry.

    Raises:
        DisclosureError: It would disclose too much.
        InputError: The ledger is incomplete.
    """
    model, ledger = _model_of(space, draft), Disclosures(space.party.artifacts)
    refuse_lost(mailbox, ledger, monitor)
    own = Disclosed(
        frozenset(block.full for block in draft.blocks if block.end),
        frozenset(block.full for block in draft.blocks),
    )
    check_disclosure(space.party.limits, model, ledger.entries(), own)


def disclose(space: Workspace, draft: EmulatorRecord, mailbox: Mailbox, monitor: Monitor) -> str:
    """Record a verified emulator that is about to be sent; returns the digest of the ledger entry.

    Raises:
        DisclosureError: It would disclose too much.
        InputError: The ledger is incomplete.
        StorageError: The entry was not written.
    """
    model, ledger = _model_of(space, draft), Disclosures(space.party.artifacts)
    refuse_lost(mailbox, ledger, monitor)
    blocks = tuple(
        SentBlock(full=b.full, end=b.end, weights=tuple(sorted(model.weights[b.full])))
        for b in draft.blocks
    )
    entry = DisclosureEntry(
        at=now(),
        job=space.sent_as,
        bundle=space.name,
        recipient=space.peer_id,
        model=model.digest,
        depth=model.depth,
        blocks=blocks,
        others=model.others({block.full for block in blocks}),
    )
    own, limits = Disclosed.of(blocks), space.party.limits
    return ledger.enter(entry, lambda before: check_disclosure(limits, model, before, own))


def blocks_sent(space: Workspace, draft: EmulatorRecord) -> frozenset[int]:
    """List the model's blocks that a verified emulator and those before it disclose together.

    Raises:
        InputError: The ledger is damaged.
    """
    entries = Disclosures(space.party.artifacts).entries()
    own = frozenset(block.full for block in draft.blocks)
    return _model_of(space, draft).disclosed(entries).blocks | own


def _model_of(space: Workspace, draft: EmulatorRecord) -> FullModel:
    """Describe the model of an emulator. Of a model at a hub, only the sent blocks are known.

    Only the training pod reads such a model, and its statement about it is trusted.
    """
    if (source := space.source()) is not None:
        weights = {i: frozenset(block.weights) for i, block in enumerate(source.blocks)}
        return FullModel(source.digest, len(source.blocks), weights)
    made, kept = digest_blocks(space.result), draft.blocks
    weights = {block.full: frozenset(made[place].weights) for place, block in enumerate(kept)}
    # the top end is the end of the model
    return FullModel(draft.model_digest, kept[-1].full + 1, weights)


def refuse_lost(mailbox: Mailbox, ledger: Disclosures, monitor: Monitor) -> None:
    """Check that every emulator of ours in the exchange has a record here.

    Raises:
        InputError: One has no record, so the ledger and the records were lost.
    """
    for envelope in mailbox.forgotten(ledger.envelopes, monitor.log):
        header, place = envelope.header, ledger.artifacts.uri("records")
        raise InputError(
            f"{header.name} was sent to {header.recipient} ({envelope.digest}), but {place} has no "
            "record of it, so what it disclosed is unknown; restore the private store (or the "
            "home) from a backup, or rebuild the ledger: offsite bundles disclosed --rebuild"
        )
