"""`make bench-transfer`: which adapter and which scale transfer best, at an equally tuned emulator.

An adapter that is tuned longer makes both the emulator and the plugged-in model better, so two
choices are compared at the same gain of the tuned emulator. Each adapter is tuned with the demo's
recipe for 60, 120 and 240 steps, until the emulator's validation loss stops improving. At each
length, the full model is measured at every scale of `transfer_cell.FIXED` and with the rule
`plugIn.alphaAuto`, which judges by topics that the emulator was not healed on. With `--pair`, the
changes of two adapters from two emulators are averaged, too.

Three seeds of three texts and one labelled task take days on two cores. Every cell is kept in
`--folder`: an interrupted run goes on where it was, and a finished one prints its tables at once.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import sem
from transfer_cell import FIXED, Cell, Plan
from transfer_texts import DATA

from offsite.api import Ends, LayerDrop, TuneTraining
from offsite.events import Monitor
from offsite.families import Targets
from offsite.rehearsal import Setting, Splits
from offsite.rehearsal.keeping import Kept
from offsite.rehearsal.subject import Subject
from offsite.rows import DataFile
from offsite_cli.demo.settings import Choices, Recipe
from offsite_cli.demo.shipped import write_model
from offsite_cli.demo.splits import write_rows

_TARGETS: tuple[Targets, ...] = ("All", "MLP", "Attention")
_TASK = "icd-chapters"
_ENOUGH = 0.005
"""The relative improvement of the validation loss below which a longer training is not tried."""
_OWN = 5
"""One topic in so many is the owner's own data; the emulator is healed on the others."""
_REFERENCE: tuple[Targets, str] = ("All", "1")


def main() -> None:
    """Measure all cells, and print two tables."""
    options = _options()
    folder, quick = options.folder.resolve(), options.quick
    _write_inputs(folder, quick)
    cells = list(_cells(options, folder))
    _print_curve(cells)
    _print_equal(cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/transfer"))
    parser.add_argument("--data", nargs="*", choices=DATA, default=[*DATA])
    parser.add_argument("--targets", nargs="*", choices=_TARGETS, default=[*_TARGETS])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--steps", type=int, nargs="*", default=[60, 120, 240])
    parser.add_argument("--pair", action="store_true", help="average over two emulators, too")
    parser.add_argument("--no-upper-bound", action="store_true", help="no full fine-tuning")
    parser.add_argument("--quick", action="store_true", help="minutes instead of days; no result")
    options = parser.parse_args()
    if options.quick:
        options.data, options.seeds, options.steps = options.data[:1], 1, [8, 16]
        options.folder /= "quick"
    return options


def _write_inputs(folder: Path, quick: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        write_model(folder / "model")
    texts = [{"text": topics[name]} for name in sorted(topics)]
    texts = texts[:30] if quick else texts
    write_rows(folder / "own.jsonl", texts[::_OWN])
    write_rows(folder / "corpus.jsonl", (t for n, t in enumerate(texts) if n % _OWN))


def _cells(options: argparse.Namespace, folder: Path) -> Iterator[Cell]:
    kept, monitor = Kept(folder / "cells"), Monitor(lambda _event: None)
    with kept.open():
        for seed in range(options.seeds):
            for data in options.data:
                splits = _splits(folder, data, seed, options.quick)
                subject = Subject(folder / "model", splits, kept, monitor)
                for targets in options.targets:
                    yield from _lengths(options, subject, data, seed, targets)


def _splits(folder: Path, data: str, seed: int, quick: bool) -> Splits:
    place = folder / "data" / f"{data}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    for name, rows in DATA[data](seed).items():
        most = {"train": 64}.get(name, 4) if quick else None
        write_rows(place / f"{name}.jsonl", islice(rows, most))
    train, validation, test = (
        DataFile(place / f"{name}.jsonl") for name in ("train", "validation", "test")
    )
    return Splits(train, validation, test, DataFile(folder / "corpus.jsonl"))


def _lengths(
    options: argparse.Namespace, subject: Subject, data: str, seed: int, targets: Targets
) -> Iterator[Cell]:
    """Tune for more and more steps, until the emulator's validation loss stops improving."""
    before, recipe = float("inf"), Recipe.of(Choices(task=data if data == _TASK else None))
    keep = recipe.kept_blocks(subject.model)
    settings = [_setting(recipe, keep), _setting(recipe, keep - 1)][: 1 + options.pair]
    for steps in options.steps:
        cell = Plan(
            subject=subject,
            data=data,
            own=DataFile(options.folder.resolve() / "own.jsonl"),
            settings=tuple(settings),
            targets=targets,
            steps=steps,
            seed=seed,
            upper_bound=not options.no_upper_bound,
            fixed=dict(list(FIXED.items())[:: 6 if options.quick else 1]),
        ).run()
        print(f"{data}, seed {seed}, {targets}, {steps} steps: {cell.tuned}", file=sys.stderr)
        yield cell
        if cell.validation > before * (1 - _ENOUGH):
            return
        before = cell.validation


def _setting(recipe: Recipe, keep: int) -> Setting:
    tuning = TuneTraining(
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        block_size=recipe.block_size,
    )
    ends = Ends(bottom=recipe.ends, top=recipe.ends)
    return Setting(ends=ends, emulator=LayerDrop(blocks=keep), tuning=tuning)


def _print_curve(cells: Sequence[Cell]) -> None:
    """Print the figures of each length, with the best fixed scale and what the rule chose."""
    table = Table(title="mean over seeds, with its standard error")
    for column in ("data", "targets", "steps", "tuned", "plugged", "best fixed", "auto", "share"):
        table.add_column(column)
    groups = defaultdict[tuple[str, str, int], list[Cell]](list)
    for cell in cells:
        groups[cell.data, cell.targets, cell.steps].append(cell)
    for (data, targets, steps), found in groups.items():
        best = max(_fixed(found), key=lambda name: _mean([c.plugged[name].gain for c in found]))
        shares = [s for c in found if (s := c.plugged[best].share) is not None]
        table.add_row(
            data,
            targets,
            str(steps),
            _shown([c.tuned.value for c in found]),
            _shown([c.plugged["1"].value for c in found]),
            f"{best}: {_shown([c.plugged[best].value for c in found])}",
            f"{_shown([c.plugged['auto'].value for c in found])} ({found[0].chosen['auto']})",
            _shown(shares) if shares else "",
        )
    Console(width=140).print(table)


def _print_equal(cells: Sequence[Cell]) -> None:
    """Print what each choice gains over the reference, at the same gain of the tuned emulator."""
    names = dict.fromkeys(cell.data for cell in cells)
    table = Table(title="gain of the plugged-in model over targets All at scale 1, same emulator")
    for column in ("targets", "scale", *names):
        table.add_column(column)
    curves = defaultdict[tuple[str, int], list[tuple[float, float]]](list)
    for cell in cells:
        if cell.targets == _REFERENCE[0]:
            point = (cell.tuned.gain, cell.plugged[_REFERENCE[1]].gain)
            curves[cell.data, cell.seed].append(point)
    found = defaultdict[tuple[str, str], dict[str, list[float]]](lambda: defaultdict(list))
    for cell in cells:
        reference = _between(sorted(curves[cell.data, cell.seed]), cell.tuned.gain)
        if reference is None:
            continue
        for name, each in cell.plugged.items():
            found[cell.targets, name][cell.data].append(each.gain - reference)
    for (targets, name), by_data in found.items():
        texts = (_shown(by_data[data], signed=True) if by_data.get(data) else "" for data in names)
        table.add_row(targets, name, *texts)
    Console(width=140).print(table)


def _between(curve: Sequence[tuple[float, float]], at: float) -> float | None:
    """Interpolate a curve of rising places; None: the place is beyond its ends."""
    if not curve or not curve[0][0] <= at <= curve[-1][0]:
        return None
    places, values = zip(*curve, strict=True)
    return float(np.interp(at, places, values))


def _fixed(cells: Sequence[Cell]) -> list[str]:
    return [name for name in cells[0].plugged if name in FIXED]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _shown(values: Sequence[float], signed: bool = False) -> str:
    mean = f"{_mean(values):{'+' if signed else ''}.3f}"
    return mean if len(values) < 2 else f"{mean} ± {sem(values):.3f}"


if __name__ == "__main__":
    main()
