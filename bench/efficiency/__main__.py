"""Measures the efficiency of offsite tuning, and prints the table.

What was measured is kept in `--output`: an interrupted run goes on where it was, and a finished one
prints its table at once.
"""

import argparse
from pathlib import Path

from efficiency.results import Results, summarized
from efficiency.rounds import Rounds, add_options
from efficiency.shapes import ON_CPU, ON_GPU
from efficiency.table import print_summary

_BUILD = Path("build/efficiency")


def main() -> None:
    """Measure, write the JSON, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, folder=_BUILD / "emulators")
    parser.add_argument("--output", type=Path, help="default: build/efficiency/<device>.json")
    options = parser.parse_args()
    options.shapes = options.shapes or list(ON_GPU if options.device == "cuda" else ON_CPU)
    rounds = Rounds.of(options)
    results = Results(options.output or _BUILD / f"{rounds.device}.json", rounds.settings)
    rounds.run(results)
    print_summary(list(summarized(results.rows())), rounds.device)


if __name__ == "__main__":
    main()
