"""`offsite attack`: attacks on what you sent, to know what it gives away."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.bundle.ledger_entry import DisclosureEntry
from offsite.errors import InputError
from offsite.process.lifetime import uncollected
from offsite.release.capability import HOW, Capability
from offsite.rows import DataFile
from offsite_cli.disclosed import Private, open_ledger
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, monitored, show_json, show_text

if TYPE_CHECKING:
    from offsite.recovery.folders import Attacked
    from offsite.recovery.healing import Gap

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def attack() -> None:
    """Attack your own emulators, to know what they give away."""


@app.command()
def recover(
    model: Annotated[Path, typer.Option(help="Folder of the full model.")],
    data: Annotated[
        str,
        typer.Option(help="Public text or labelled images to attack with; a tenth is the test."),
    ],
    emulator: Annotated[
        Path | None, typer.Argument(help="Folder of an emulator of the model.")
    ] = None,
    union: Annotated[
        bool,
        typer.Option(
            "--union", help="Attack all emulators together that the ledger lists of this model."
        ),
    ] = False,
    test: Annotated[
        list[str] | None,
        typer.Option(help="More data to measure skill on: text, or labelled. Repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each attack.")] = 200,
    how: Annotated[
        list[str] | None,
        typer.Option(help="Attack: Nothing, LoRA, Middle or All. Repeatable; default: each."),
    ] = None,
    home: Home = HOME,
    private: Private = None,
    output: Format = Output.TEXT,
) -> None:
    """Measure how much of a model's skill comes back from its emulators.

    Trains what a peer holds on public data, without the full model. Sends nothing. An interrupted
    attack begins anew.
    """
    if emulator is None and not union:
        raise InputError("name the folder of an emulator, or set --union, or both")
    if unknown := [each for each in how or () if each not in HOW]:
        raise InputError(f"there is no attack {unknown[0]!r}; use {', '.join(HOW)}")
    entries = _entries(home, private) if union else ()
    with uncollected():  # torch takes seconds to import
        from offsite.recovery import Budget
        from offsite.recovery.folders import attack as attack_folders
    with monitored(Output.TEXT) as monitor:
        found = attack_folders(
            model,
            emulator,
            entries,
            _data(data),
            {each: _data(each) for each in test or ()},
            Budget(steps=steps),
            monitor,
            [each for each in HOW if each in (how or HOW)],
        )
    if output is Output.JSON:
        show_json(_facts(found))
    else:
        show_text(*_lines(found))


def _entries(home: Path, private: str | None) -> tuple[DisclosureEntry, ...]:
    with open_ledger(home.expanduser().resolve(), private) as ledger:
        return ledger.entries()


def _data(location: str) -> DataFile:
    return DataFile(Path(location), location)


def _lines(found: "Attacked") -> Iterator[str]:
    for each in found.recovery.found:
        yield _line(each)
    yield f"most: {found.recovery.highest}"
    for gap in found.gaps:
        yield (
            f"block {gap.below}, if it is known without healing, too, predicts "
            f"{gap.explained:.0%} of what {_blocks(gap)} add"
        )


def _line(each: Capability) -> str:
    low, high = each.interval or (each.share, each.share)
    value = "not finite" if each.value is None else f"{each.value:.4g}"
    return (
        f"{each.subject:<9} {each.how:<8} {each.data:<12} {each.metric} {value:<8} skill "
        f"{each.share:.1%} ({low:.1%} to {high:.1%})"
    )


def _blocks(gap: "Gap") -> str:
    first, last = gap.dropped[0], gap.dropped[-1]
    return f"block {first}" if first == last else f"blocks {first}-{last}"


def _facts(found: "Attacked") -> dict[str, Any]:
    return {
        **found.recovery.wire(),
        "healed": [
            {"below": gap.below, "dropped": [*gap.dropped], "explained": gap.explained}
            for gap in found.gaps
        ],
    }
