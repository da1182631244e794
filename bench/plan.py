"""`make bench`: what `offsite plan` computes against what the stages of random models measure.

Each job runs as `offsite run` does, in a process of its own, which reports its peak memory when it
is done. The estimate is made from the same job file. The aim is 15 %.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from offsite.config import load_job
from offsite.layers.hardware import multiplies_bfloat16
from offsite.sizing import Data, Machine, Needs, needs_of, subject_in
from offsite_testing.parties import (
    EMULATOR,
    HOSPITAL,
    LAB,
    Parties,
    distill,
    new_parties,
    plug_in,
    tune,
)

_AIM = 0.15
_TEXT = "the quick brown fox jumps over the lazy dog while seven wizards brew a potion. " * 40
_LLAMA = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": 32000,
    "max_position_embeddings": 1024,
}
_GPT2 = {"n_embd": 512, "n_layer": 12, "n_head": 8, "n_positions": 1024, "vocab_size": 50257}
_OPT = {
    "hidden_size": 768,
    "ffn_dim": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "vocab_size": 50272,
    "max_position_embeddings": 1024,
}
_SHAPES: Mapping[str, Mapping[str, Any]] = {"llama": _LLAMA, "gpt2": _GPT2, "opt": _OPT}
_ENDS = {"scope": "Ends"}
_TUNES: Mapping[str, Mapping[str, Any]] = {
    "LoRA, 8 x 128": {"training": {"batchSize": 8, "blockSize": 128}},
    "LoRA, 4 x 512": {"training": {"batchSize": 4, "blockSize": 512}},
    "LoRA, 4 x 512, checkpointing": {
        "training": {"batchSize": 4, "blockSize": 512, "gradientCheckpointing": True}
    },
    "LoRA, 4 x 512 in 4 parts": {"training": {"batchSize": 4, "blockSize": 512, "accumulate": 4}},
    "LoRA, 8 x 128, NF4": {
        "training": {"batchSize": 8, "blockSize": 128},
        "base": {"quantize": "NF4"},
    },
    "LoRA in the ends, 4 x 512": {
        "training": {"batchSize": 4, "blockSize": 512},
        "adapter": _ENDS,
    },
    "end blocks, 8 x 128": {
        "training": {"batchSize": 8, "blockSize": 128},
        "adapter": {"method": "Blocks", **_ENDS},
    },
}
_EMULATOR = {"ends": {"bottom": 2, "top": 2}, "emulator": {"blocks": 4, "heal": False}}
_HEALED = {"ends": {"bottom": 2, "top": 2}, "emulator": {"blocks": 4, "calibration": "corpus.txt"}}


@dataclass(frozen=True)
class Found:
    """One job: what was computed, and what was measured."""

    shape: str
    job: str
    needs: Needs
    measured: int
    seconds: float

    @property
    def error(self) -> float:
        """By how much the estimate is too high, as a share of what was measured."""
        return self.needs.peak / self.measured - 1


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shapes", default=",".join(_SHAPES), help="which shapes, with commas")
    parser.add_argument(
        "--jobs", default="", help="only jobs whose names hold one of these, with semicolons"
    )
    options = parser.parse_args()
    console = Console(width=140)
    table = Table(title="memory of a job: estimate and measurement")
    for column in ("shape", "job", "phase", "estimate MiB", "measured MiB", "error"):
        table.add_column(column)
    found = list[Found]()
    for each in _measured(options.shapes.split(","), options.jobs.split(";")):
        found.append(each)
        parts = {name: size >> 20 for name, size in each.needs.largest.memory.items()}
        line = f"{each.shape}: {each.job}: {each.needs.peak >> 20} for {each.measured >> 20} MiB"
        print(line, f"{each.error:+.1%} {each.seconds:.0f} s {parts}", file=sys.stderr, flush=True)
        figures = (f"{each.needs.peak >> 20}", f"{each.measured >> 20}", f"{each.error:+.1%}")
        table.add_row(each.shape, each.job, each.needs.largest.name, *figures)
    console.print(table)
    worst = max(abs(each.error) for each in found)
    console.print(f"largest error {worst:.1%}; aim {_AIM:.0%}")


def _measured(shapes: list[str], jobs: list[str]) -> Iterator[Found]:
    for shape in shapes:
        with tempfile.TemporaryDirectory(prefix="offsite-plan-") as scratch:
            parties = _parties(Path(scratch) / shape, shape)
            plain = distill(None, **_EMULATOR)
            yield from _wanted(parties, shape, "emulator, not healed", EMULATOR, plain, jobs, True)
            healed = distill(None, **_HEALED)
            yield from _wanted(parties, shape, "healing", "emulator-healed", healed, jobs)
            trained = distill(2, **_HEALED)
            yield from _wanted(parties, shape, "distillation", "emulator-trained", trained, jobs)
            for number, (name, section) in enumerate(_TUNES.items()):
                training = {"steps": 2, **section["training"]}
                data = {"train": "private.jsonl", "validation": "few.jsonl"}
                spec = tune(**{**section, "training": training, "data": data})
                first = number == 0
                yield from _wanted(parties, shape, name, f"adapter-{number}", spec, jobs, first)
            last = plug_in(adapter="adapter-0")
            yield from _wanted(parties, shape, "plug-in", "plugged", last, jobs)


def _parties(root: Path, shape: str) -> Parties:
    parties = new_parties(root, shape, dtype=torch.bfloat16, **_SHAPES[shape])
    rows = "\n".join(json.dumps({"text": f"{_TEXT} {number}"}) for number in range(24))
    (parties.home(HOSPITAL) / "private.jsonl").write_text(rows, encoding="utf-8")
    few = "\n".join(rows.splitlines()[:2])
    (parties.home(LAB) / "shared.jsonl").write_text(few, encoding="utf-8")
    (parties.home(HOSPITAL) / "few.jsonl").write_text(few, encoding="utf-8")
    (parties.home(LAB) / "corpus.txt").write_text(_TEXT * 3, encoding="utf-8")
    return parties


def _wanted(
    parties: Parties,
    shape: str,
    title: str,
    name: str,
    spec: Mapping[str, Any],
    jobs: list[str],
    needed: bool = False,
) -> Iterator[Found]:
    """Run a job if it is asked for, or if others need what it makes."""
    asked = any(each in title for each in jobs)
    if asked or needed:
        path = parties.write(name, spec)
        measured, seconds = _run(parties, path)
        if asked:
            yield Found(shape, title, _planned(parties, path), measured, seconds)


def _run(parties: Parties, path: Path) -> tuple[int, float]:
    """Run a job in a process of its own; returns its peak memory in bytes, and its seconds."""
    where = ("--home", str(path.parent / "home"), "--exchange", parties.exchange.as_uri())
    command = [sys.executable, "-m", "offsite_cli", "run", str(path), *where, "--output", "json"]
    began = os.times().elapsed
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    last = json.loads(done.stdout.splitlines()[-1])
    return int(last["peakMemoryBytes"]), os.times().elapsed - began


def _planned(parties: Parties, path: Path) -> Needs:
    spec = load_job(path).spec
    tunes = spec.tune is not None
    subject = subject_in(parties.opened(EMULATOR) if tunes else parties.home(LAB) / "model")
    machine = Machine(bfloat16=multiplies_bfloat16("cpu"))
    return needs_of(spec, subject, machine, Data(train=24, scored=1024))


if __name__ == "__main__":
    main()
