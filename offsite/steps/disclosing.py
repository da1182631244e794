"""What an emulator discloses: checked before it is made, and entered before it is sent.

The pod that trains chooses the blocks by what was disclosed before. It runs an image that a job's
author may choose, so the pod that seals decides, by the ledger as it is then.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import RootModel

from offsite.bundle import EmulatorRecord
from offsite.bundle.disclosure import (
    Disclosed,
    DisclosureEntry,
    FullModel,
    SentBlock,
    check_disclosure,
)
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
"""The note of what was disclosed when a job began: its blocks are chosen by it to the end."""


class _Entries(RootModel[tuple[DisclosureEntry, ...]]):
    pass


def note_disclosed(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Write down what was disclosed when a job began, for the step that chooses its blocks.

    Raises:
        InputError: something of the ledger is lost.
        StorageError: a store did not give it.
    """
    path = space.folder / DISCLOSED
    if space.spec.distill is None or path.exists():
        return
    ledger = Disclosures(space.party.artifacts)
    refuse_lost(mailbox, ledger, monitor)
    # to whom, and in which job, is no matter of the image that trains
    nobody = {"job": "", "bundle": "", "recipient": ""}
    entries = [entry.model_copy(update=nobody).wire() for entry in ledger.entries()]
    write_whole(path, canonical(entries))


def read_disclosed(space: Workspace) -> tuple[DisclosureEntry, ...]:
    """Read what was disclosed when the job began; nothing, if nobody noted it.

    Raises:
        InputError: it is damaged.
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
    """Describe a model that an emulator is to be made from, as the ledger would know it again.

    Raises:
        ModelError: it cannot be read.
    """
    # where nothing was ever sent, there is nothing to be known again by
    blocks = digest_blocks(folder) if entries else ()
    return FullModel(digest, depth, {i: frozenset(b.weights) for i, b in enumerate(blocks)})


def check_blocks(
    party: Party,
    model: FullModel,
    entries: Sequence[DisclosureEntry],
    chosen: Sequence[int],
    ends: Sequence[int],
) -> None:
    """Check the blocks that an emulator is to be made from, before it is made.

    Args:
        chosen: the model's blocks.
        ends: those of them that it holds as they are.

    Raises:
        DisclosureError: as `check_disclosure`.
    """
    own = Disclosed(frozenset(ends), frozenset(chosen))
    check_disclosure(party.limits, model, entries, own)


def disclose(space: Workspace, draft: EmulatorRecord, mailbox: Mailbox, monitor: Monitor) -> str:
    """Enter an emulator that was checked and is about to be sent; gives what its record names.

    Raises:
        DisclosureError: it would disclose too much.
        InputError: something of the ledger is lost.
        StorageError: it was not entered.
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


def _model_of(space: Workspace, draft: EmulatorRecord) -> FullModel:
    """Describe the model of an emulator; of one at a hub, what is sent of it is all that is known.

    Such a model is read by the pod that trains alone. What that says of it is believed.
    """
    if (source := space.source()) is not None:
        weights = {i: frozenset(block.weights) for i, block in enumerate(source.blocks)}
        return FullModel(source.digest, len(source.blocks), weights)
    made, kept = digest_blocks(space.result), draft.blocks
    weights = {block.full: frozenset(made[place].weights) for place, block in enumerate(kept)}
    # the top end is the model's own
    return FullModel(draft.model_digest, kept[-1].full + 1, weights)


def refuse_lost(mailbox: Mailbox, ledger: Disclosures, monitor: Monitor) -> None:
    """Look for emulators in the exchange that nothing here remembers.

    Raises:
        InputError: there is one: the ledger, and the records with it, were lost.
    """
    for envelope in mailbox.forgotten(ledger.envelopes, monitor.log):
        header, place = envelope.header, ledger.artifacts.uri("records")
        raise InputError(
            f"{header.name} was sent to {header.recipient} ({envelope.digest}), and {place} has no "
            "record of it, so what it disclosed is unknown; restore the private store (or the "
            "home) from a backup, or give it up: offsite bundles disclosed --rebuild"
        )
