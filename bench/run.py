"""`make bench`: speed and memory of every way of training, as ratios within one run.

Each case runs in a process of its own, all of them in turn and that several times, so that a
machine whose speed drifts does not favour one of them. The figure of a case is its median round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from offsite.process.usage import peak_memory
from offsite_cli.demo.dinov2 import write_vision_model
from offsite_cli.demo.icd import texts
from offsite_cli.demo.pictures import digits, write_pictures
from offsite_cli.demo.shipped import write_model
from offsite_cli.demo.splits import write_splits

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a case")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs")
    parser.add_argument("--vision", action="store_true", help="images instead of text")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(_measure(options.case, options.folder, options.steps, options.vision)))
        return
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as name:
        folder = Path(name)
        if options.vision:
            write_vision_model(folder / "model", image_size=112)
            write_pictures(folder, digits(seed=0))
        else:
            write_model(folder / "model")
            write_splits(folder, texts(seed=0))
        _print(_rounds(folder, options.steps, options.rounds, options.vision), options.vision)


def _measure(case: str, folder: Path, steps: int, vision: bool) -> dict[str, float]:
    from cases import CASES
    from work import Work

    work = Work(folder / "model", folder / ("train" if vision else "train.jsonl"), steps)
    CASES[case](work)
    return {"per_second": work.per_second(), "peak_mib": peak_memory() / 2**20}


def _rounds(folder: Path, steps: int, rounds: int, vision: bool) -> Figures:
    from cases import CASES, OF_IMAGES

    cases = OF_IMAGES if vision else CASES
    seen: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for number in range(rounds):
        for case, figures in seen.items():
            print(f"round {number + 1} of {rounds}: {case}", file=sys.stderr)
            command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
            command += ["--steps", str(steps), *(["--vision"] if vision else [])]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            figures.append(json.loads(output.splitlines()[-1]))
    return {
        case: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for case, rows in seen.items()
    }


def _print(figures: Figures, vision: bool) -> None:
    from cases import BASELINES, CASES

    of_images = "training DINOv2-small, 8 images of 112 x 112 pixels a step, decoded before"
    of_text = "training SmolLM2-135M, 8 x 128 tokens a step"
    table = Table(title=of_images if vision else of_text)
    table.add_column("case")
    for column in (
        *("images/s" if vision else "tokens/s", "x Trainer, full", "x same work"),
        *("peak MiB", "x Trainer, full", "x same work"),
    ):
        table.add_column(column, justify="right")
    base = figures["trainer_full"]
    for case, figure in figures.items():
        same = figures.get(BASELINES.get(case, ""))
        rate, peak = figure["per_second"], figure["peak_mib"]
        table.add_row(
            (CASES[case].__doc__ or case).rstrip("."),
            f"{rate:.0f}",
            f"{rate / base['per_second']:.2f}",
            f"{rate / same['per_second']:.2f}" if same else "",
            f"{peak:.0f}",
            f"{peak / base['peak_mib']:.2f}",
            f"{peak / same['peak_mib']:.2f}" if same else "",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
