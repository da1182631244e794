"""`offsite bundles disclosed`: show how much of each model was sent, over all jobs and peers."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from offsite.api import Limits
from offsite.bundle.disclosure import Disclosed, FullModel, most_of, remaining
from offsite.bundle.ledger_entry import DisclosureEntry, given_up
from offsite.config import load_policy
from offsite.exchange.home import open_mailbox
from offsite.steps.disclosures import Disclosures
from offsite.steps.party import POLICY
from offsite.store.artifact_store import FolderArtifactStore
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Format, Home, private_option
from offsite_cli.output import Output, show_info, show_json, show_text
from offsite_cli.stored import check_folder, open_private

Private = Annotated[str | None, private_option("Defaults to the home.")]
Rebuild = Annotated[
    bool,
    typer.Option(
        "--rebuild",
        help="Rebuild a lost ledger from the remaining records. Stop all jobs first. With "
        "--exchange, give up emulators in the exchange that have no record.",
    ),
]


@dataclass(frozen=True)
class _Model:
    """A model, and its emulators under any name."""

    depth: int
    entries: Sequence[DisclosureEntry]

    @property
    def names(self) -> list[str]:
        return sorted({entry.model for entry in self.entries if entry.model})

    @property
    def disclosed(self) -> Disclosed:
        return Disclosed.of(block for entry in self.entries for block in entry.blocks)


def disclosed(
    home: Home = HOME,
    private: Private = None,
    exchange: Annotated[
        str | None,
        typer.Option(envvar="OFFSITE_EXCHANGE", help="Address of the exchange, for --rebuild."),
    ] = None,
    rebuild: Rebuild = False,
    output: Format = Output.TEXT,
) -> None:
    """Show how much of your models you sent.

    Lists the blocks of each model, the recipients, and how many more blocks you may send.
    """
    place = home.expanduser().resolve()
    with open_ledger(place, private) as ledger:
        if rebuild:
            _rebuild(ledger, place, exchange)
        entries, limits = ledger.entries(), load_policy(place / POLICY)
    models = list(_models(entries))
    if output is Output.JSON:
        show_json([_facts(model, limits) for model in models])
        return
    if not models:
        show_info("no emulators were sent yet")
    for model in models:
        show_text(*_lines(model, limits))


def ledger_facts(home: Path, private: str | None = None) -> list[dict[str, object]]:
    """List what was sent of each model of a home, or of a private store, as JSON."""
    with open_ledger(home, private) as ledger:
        limits = load_policy(home / POLICY)
        return [_facts(model, limits) for model in _models(ledger.entries())]


@contextmanager
def open_ledger(home: Path, private: str | None) -> Iterator[Disclosures]:
    """Open the ledger of a home, or of a cluster's private store.

    Raises:
        InputError: The address of the private store is not valid, or a folder does not exist, which
            is not a ledger without entries.
    """
    if private:
        with open_private(private) as artifacts:
            yield Disclosures(artifacts)
    else:
        check_folder(home, "--home", "--private")
        yield Disclosures(FolderArtifactStore(home))


def _rebuild(ledger: Disclosures, home: Path, exchange: str | None) -> None:
    show_info(f"rebuilt {ledger.rebuild()} entries from records")
    if exchange is None:
        return
    mailbox = open_mailbox(home, exchange, os.environ, prompt_passphrase(home))
    for envelope in mailbox.forgotten(ledger.envelopes, show_info):
        header = envelope.header
        ledger.enter(given_up(envelope.digest, header.name, header.recipient), lambda before: None)
        show_info(
            f"gave up {header.name}, sent to {header.recipient} ({envelope.digest}): its blocks "
            "are not counted as disclosed"
        )


def _models(entries: Sequence[DisclosureEntry]) -> Iterator[_Model]:
    left = list(entries)
    while left:
        first = left[0]
        weights = {block.full: frozenset(block.weights) for block in first.blocks}
        own = FullModel(first.model or "", first.depth, weights).relatives(left)
        found = own if first in own else [first]
        yield _Model(first.depth, found)
        left = [entry for entry in left if entry not in found]


def _facts(model: _Model, limits: Limits) -> dict[str, object]:
    sent = model.disclosed
    middle = model.depth - len(sent.ends)
    return {
        "models": model.names,
        "blocks": model.depth,
        "ends": sorted(sent.ends),
        "mostEnds": most_of(limits.max_end_blocks, model.depth),
        "middle": sorted(sent.middle),
        "mostMiddle": most_of(limits.max_kept_blocks, middle),
        "remaining": remaining(limits, model.depth, sent),
        "emulators": [_emulator(entry) for entry in model.entries],
    }


def _emulator(entry: DisclosureEntry) -> dict[str, object]:
    wire = entry.wire()
    blocks = [{"full": block.full, "end": block.end} for block in entry.blocks]
    kept = {key: wire[key] for key in ("number", "at", "job", "bundle", "recipient", "model")}
    return {**kept, "blocks": blocks}


def _lines(model: _Model, limits: Limits) -> Iterator[str]:
    if not model.depth:
        yield "unknown model: given up when the ledger was rebuilt"
    else:
        facts, sent = _facts(model, limits), model.disclosed
        middle = model.depth - len(sent.ends)
        yield f"{', '.join(model.names)}: {model.depth} blocks"
        yield (
            f"  ends    {len(sent.ends)} of {model.depth}, at most {facts['mostEnds']}: "
            f"{_ranges(sent.ends)}"
        )
        yield (
            f"  middle  {len(sent.middle)} of {middle}, at most {facts['mostMiddle']}: "
            f"{_ranges(sent.middle) or 'none'}"
        )
        yield f"  left    {facts['remaining']} more middle blocks, with the same ends"
    for entry in model.entries:
        yield (
            f"  {entry.bundle} → {entry.recipient}  {len(entry.blocks)} blocks  "
            f"{entry.at:%Y-%m-%d %H:%M}"
        )


def _ranges(places: Iterable[int]) -> str:
    """Format numbers as ranges, such as 0-3, 7, 9-12."""
    runs = groupby(enumerate(sorted(places)), lambda each: each[1] - each[0])
    found = [[place for _, place in run] for _, run in runs]
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in found)
