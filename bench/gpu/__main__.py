"""Tests offsite on this machine, measures its efficiency, and writes one JSON file.

Run it in the folder of `make gpu-folder`. It takes `--minutes` at most, and needs no network.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu.needs import SITE, Needs

_ROOT = Path(__file__).parents[2]
_TESTS_SHARE = 0.4
"""The part of the time that the tests may take."""


def main() -> None:
    """Check what the machine has, test, measure, and exit with 1 if anything failed."""
    if (_ROOT / SITE).is_dir():
        sys.path.insert(0, str(_ROOT / SITE))
    paths = [str(_ROOT / name) for name in (SITE, "bench", ".")]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    needs = Needs.read(_ROOT)
    needs.check()
    options = _options()
    began, output = time.monotonic(), _Output(options.output)
    output.write(machine=_machine(), versions=needs.found())
    good = True
    if not options.no_tests:
        good = _test(options, output)
    options.minutes -= (time.monotonic() - began) / 60
    good = _measure(options, output) and good
    raise SystemExit(0 if good else 1)


def _options() -> argparse.Namespace:
    from efficiency.rounds import add_options
    from efficiency.shapes import ON_GPU

    parser = argparse.ArgumentParser(prog="gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--tests", default="", help="run the tests that match: pytest -k")
    folder = Path("emulators")
    fast = {"device": "cuda", "steps": 10, "warmup": 3, "minutes": 8.0}
    add_options(parser, shapes=list(ON_GPU), folder=folder, **fast)
    return parser.parse_args()


class _Output:
    """The one JSON file, which is whole after each part."""

    def __init__(self, path: Path) -> None:
        self._path, self._content = path, dict[str, Any]()

    def write(self, **parts: Any) -> None:
        """Add parts, and write the file."""
        from offsite.store import write_whole

        self._content |= parts
        write_whole(self._path.resolve(), json.dumps(self._content, indent=1).encode())


def _machine() -> dict[str, str]:
    found = {"platform": platform.platform(), "python": platform.python_version()}
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total"
        command = ["nvidia-smi", query, "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True)
        found["gpu"] = done.stdout.strip() or done.stderr.strip()
    return found


def _test(options: argparse.Namespace, output: _Output) -> bool:
    from gpu.correctness import tested

    seconds = 60 * options.minutes * _TESTS_SHARE
    found = tested(_ROOT, options.device, seconds, "-k", options.tests)
    output.write(tests=found)
    return all(each["outcome"] in ("passed", "skipped") for each in found)


def _measure(options: argparse.Namespace, output: _Output) -> bool:
    from efficiency.results import Results, summarized
    from efficiency.rounds import Rounds
    from efficiency.table import print_summary

    rounds = Rounds.of(options)
    results = Results(options.output.with_suffix(".efficiency.json"), rounds.settings)
    complete = rounds.run(results)
    rows = results.rows()
    summary = list(summarized(rows))
    output.write(
        efficiency={"settings": rounds.settings, "measured": rows, "summary": summary},
        complete=complete,
    )
    print_summary(summary, rounds.device)
    return bool(rows) and not any("failed" in row for row in rows)


if __name__ == "__main__":
    main()
