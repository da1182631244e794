"""`offsite bundles trace`: find out whose emulator a model was made from."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from offsite.bundle import EmulatorRecord
from offsite.bundle.tracing import SURE, Candidate, Traced
from offsite.bundle.tracing import trace as trace_marks
from offsite.exchange.home import own_ring
from offsite.sealing import Ring
from offsite_cli.disclosed import Private, open_ledger
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, show_info, show_json, show_text


def trace(
    folder: Annotated[Path, typer.Argument(help="Folder with the *.safetensors of a found model.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Your full model. Without it, a model is recognized only if its tensors have "
            "their usual names, and less surely."
        ),
    ] = None,
    home: Home = HOME,
    private: Private = None,
    output: Format = Output.TEXT,
) -> None:
    """Find out whose emulator a model was made from.

    Looks for the marks of all emulators that you sent. Needs your keys.
    """
    place = home.expanduser().resolve()
    ring = own_ring(place, os.environ, prompt_passphrase(home))
    with open_ledger(place, private) as ledger:
        records = list(ledger.records())
    candidates, unmarked = _candidates(records, ring)
    for record, reason in unmarked:
        show_info(f"cannot look for {record.bundle}, sent to {record.recipient}: {reason}")
    compared, traced = trace_marks(folder, candidates, model)
    if output is Output.JSON:
        show_json([_facts(each) for each in traced])
        return
    show_text(*_lines(compared, traced, with_model=model is not None))


def _candidates(
    records: Sequence[EmulatorRecord], ring: Ring
) -> tuple[list[Candidate], list[tuple[EmulatorRecord, str]]]:
    """Derive the secrets of emulators; returns those, and what has none with the reason."""
    candidates, unmarked = list[Candidate](), list[tuple[EmulatorRecord, str]]()
    for record in records:
        mark = record.watermark
        if mark is None:
            unmarked.append((record, "it has no mark"))
        elif (secret := mark.secret(ring, record.recipient)) is None:
            unmarked.append((record, f"your keys lack {mark.key}, which marked it"))
        else:
            candidates.append(Candidate(record, secret))
    return candidates, unmarked


def _lines(compared: int, traced: Sequence[Traced], *, with_model: bool) -> Iterator[str]:
    if not traced:
        yield "no mark found: no marked emulator was sent from here; check --home and --private"
        return
    yield f"compared {compared} matrices with the marks of {len(traced)} emulators"
    named = [each for each in traced if each.is_named]
    for each in named:
        yield (
            f"{each.record.recipient}: made from {each.record.bundle} ({each.record.digest}), "
            f"p {_power(each.log10_p)}, {max(0.0, each.share):.0%} of the mark in "
            f"{each.matrices} matrices"
        )
    if not named:
        least = min(each.log10_p for each in traced)
        hint = "" if with_model else "; set --model to your full model, which finds fainter marks"
        yield f"no mark found: the smallest p is {10**least:.2g}, and {SURE:g} is needed{hint}"


def _power(log10: float) -> str:
    return f"< 1e{max(-300, math.ceil(log10))}"


def _facts(each: Traced) -> dict[str, object]:
    record = each.record
    return {
        "recipient": record.recipient,
        "bundle": record.bundle,
        "envelope": record.digest,
        "found": each.is_named,
        "log10P": round(each.log10_p, 2),
        "deviations": round(each.deviations, 2),
        "share": round(each.share, 4),
        "matrices": each.matrices,
    }
