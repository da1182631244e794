"""Runs every case in a process of its own, all of them in turn, and that several times.

So a machine whose speed drifts favours none of them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from efficiency.results import TITLES, Results, Row
from efficiency.shapes import SHAPES

_BENCH = Path(__file__).parents[1]


@dataclass(frozen=True)
class Rounds:
    """What is measured, and until when."""

    device: str
    shapes: Sequence[str]
    cases: Sequence[str]
    batches: Sequence[int]
    rounds: int
    steps: int
    warmup: int
    rank: int
    folder: Path
    """Holds the emulators."""
    deadline: float
    """Of `time.monotonic`: no case begins later, and one that runs is stopped then."""

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Rounds":
        """Make them of the command's options."""
        minutes = options.minutes
        deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        names = set(cls.__dataclass_fields__) - {"deadline"}
        return cls(**{name: getattr(options, name) for name in names}, deadline=deadline)

    @property
    def settings(self) -> dict[str, Any]:
        """What has to be the same where a measurement resumes."""
        return {name: getattr(self, name) for name in ("device", "steps", "warmup", "rank")}

    def run(self, results: Results) -> bool:
        """Measure what `results` lacks, and add it.

        Returns:
            whether all of it was measured before the deadline.
        """
        for number, shape, case, batches in self._processes():
            done = {_place(row) for row in results.rows()}
            missing = [b for b in batches if (shape, b, case, number) not in done]
            if missing and time.monotonic() >= self.deadline:
                return False
            if missing:
                what = f"{shape}, {case}, {missing} examples a step"
                print(f"round {number + 1} of {self.rounds}: {what}", file=sys.stderr, flush=True)
                for batch, figures in zip(
                    missing, self._measure(shape, case, missing), strict=False
                ):
                    place = {"shape": shape, "batch": batch, "case": case, "round": number}
                    results.add(place | figures)
        return True

    def _processes(self) -> Iterator[tuple[int, str, str, Sequence[int]]]:
        """Give what each process measures: a GPU's peak memory can be reset, a process's cannot."""
        groups = [self.batches] if self.device == "cuda" else [[b] for b in self.batches]
        return product(range(self.rounds), self.shapes, self.cases, groups)

    def _measure(self, shape: str, case: str, batches: Sequence[int]) -> list[Row]:
        if case.startswith("offsite") and not (self.folder / shape).exists():
            self._call(shape)
        found, code = self._call(
            *(shape, "--case", case, "--batches", *map(str, batches)),
            *("--steps", str(self.steps), "--warmup", str(self.warmup), "--rank", str(self.rank)),
        )
        missing = len(batches) - len(found)
        return [*found, *[{"failed": _reason(code)}] * missing] if code else found

    def _call(self, shape: str, *arguments: str) -> tuple[list[Row], int]:
        left = self.deadline - time.monotonic()
        command = [sys.executable, "-m", "efficiency.measuring", *arguments, "--shape", shape]
        command += ["--emulator", str(self.folder / shape), "--device", self.device]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                text=True,
                env=_environment(self.device),
                timeout=None if left == float("inf") else max(1.0, left),
            )
        except subprocess.TimeoutExpired as error:
            lines = (error.stdout or b"").decode().splitlines()
            return [json.loads(line) for line in lines], 0
        return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["shape"], row["batch"], row["case"], row["round"]


def _reason(code: int) -> str:
    """Explain why a process printed nothing; its own words are on stderr."""
    return "killed: out of memory?" if code == -9 else f"exit code {code}"


def _environment(device: str) -> dict[str, str]:
    """Show a process one GPU, or none."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if device == "cuda" else ""
    path = os.pathsep.join([str(_BENCH), str(_BENCH.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "CUDA_VISIBLE_DEVICES": seen, "PYTHONPATH": path.rstrip(os.pathsep)}


def add_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options of a measurement to a command."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, help="models to measure")
    parser.add_argument("--cases", nargs="*", choices=TITLES, default=[*TITLES])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8], help="examples a step")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a case")
    parser.add_argument("--warmup", type=int, default=1, help="steps before them")
    parser.add_argument("--rank", type=int, default=16, help="of LoRA")
    parser.add_argument("--minutes", type=float, help="stop after so long; default: never")
    parser.add_argument("--folder", type=Path, help="for the random emulators")
    parser.set_defaults(**defaults)
