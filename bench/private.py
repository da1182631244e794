"""`make bench-private`: what differential privacy costs in perplexity, on the demo's own texts.

Each figure is that of `offsite demo` with this seed, with `--epsilon` or without. Without ε the
adapter is tuned on packed text, and the best step by validation is kept; with ε each document is a
unit, and the last step is kept.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from offsite.events import Monitor
from offsite_cli.demo.parties import Parties
from offsite_cli.demo.pipeline import run_demo
from offsite_cli.demo.settings import Choices

_SETTINGS = ("full_zero_shot", "emulator_zero_shot", "emulator_tuned", "plug_in")
Figures = dict[str, float]


def main() -> None:
    """Run the demos, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epsilon", type=float, nargs="*", default=[8.0, 2.0])
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    options = parser.parse_args()
    found = {
        epsilon: [_measure(epsilon, seed) for seed in range(options.seeds)]
        for epsilon in (None, *options.epsilon)
    }
    _print(found)


def _measure(epsilon: float | None, seed: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as name:
        parties = Parties(Path(name) / "demo", seed)
        result = run_demo(parties, Choices(epsilon=epsilon), Monitor(lambda _event: None))
    figures = {key: result.settings.get(key) or float("inf") for key in _SETTINGS}
    print(f"ε {epsilon or 'none'}, seed {seed}: {figures}", file=sys.stderr, flush=True)
    return figures


def _print(found: dict[float | None, list[Figures]]) -> None:
    table = Table(title="perplexity on the test split: mean and standard deviation over seeds")
    for column in ("ε", *_SETTINGS):
        table.add_column(column, justify="right")
    for epsilon, rows in found.items():
        cells = (_spread([row[key] for row in rows]) for key in _SETTINGS)
        table.add_row("none" if epsilon is None else f"{epsilon:g}", *cells)
    Console(width=100).print(table)


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
