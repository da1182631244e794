"""`offsite evaluate` as a user runs it, and what its flags mean."""

import json
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from offsite.api import LayerDrop
from offsite.errors import InputError
from offsite.rehearsal import Gain, Measured, Rehearsed, Repeated, Setting, Sizes, Summary
from offsite.rehearsal.result import Model
from offsite_cli.commands import Commands, load
from offsite_cli.rehearsal.table import show
from offsite_cli.report.reading import read_evaluation
from offsite_testing.models import WORDS, save_tiny

FLAGS = "--blocks 2 --bottom 1 --top 1 --steps 4 --batch-size 2 --block-size 16 --seeds 2"


def evaluate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `offsite evaluate` in a folder."""
    command = [sys.executable, "-m", "offsite_cli", "evaluate", *arguments]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}  # a tiny model gains nothing from threads
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environ
    )


def write_rows(path: Path) -> None:
    words = WORDS.split()
    lines = [" ".join(words[(i + 5 * j) % 16] for j in range(12)) for i in range(30)]
    content = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    path.write_text(content, encoding="utf-8")


def test_a_rehearsal_prints_its_summary_which_a_report_reads(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    write_rows(tmp_path / "own.jsonl")
    (tmp_path / "corpus.txt").write_text(f"{WORDS}. " * 20, encoding="utf-8")
    options = ["--model", "model", "--data", "own.jsonl", "--corpus", "corpus.txt", *FLAGS.split()]
    ran = evaluate(tmp_path, *options, "-o", "json")
    assert ran.returncode == 0, ran.stderr
    found = Summary.model_validate_json(ran.stdout)
    assert (found.metric, found.seeds) == ("perplexity", (0, 1))
    assert all(len(each.score.values) == 2 for each in found.models.values())
    assert found.models["full_zero_shot"].score.error == 0
    assert (found.models["plug_in"].score.error or 0) > 0
    assert "plug_in: perplexity" in ran.stderr
    (tmp_path / "evaluation.json").write_text(ran.stdout, encoding="utf-8")
    assert read_evaluation(tmp_path / "evaluation.json").seeds == 2
    assert {path.name for path in (tmp_path / "rehearsals").iterdir()} == {
        *("data", "finetuned", "made", "rehearsed", "tuned", "untouched")
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--blocks 2", "missing --train, --validation, --test"),
        ("--blocks 2 --data own.jsonl --test own.jsonl", "--data stands for --test"),
        ("--data own.jsonl --alpha 3", "emulator.blocks: required, but missing\n  alpha: must be"),
        ("--blocks 2 --data own.jsonl --model nowhere", "nowhere"),
        ("--blocks 2 --data missing.jsonl", "missing.jsonl"),
        ("--blocks 2 --data images.parquet", "images.parquet cannot be split; set --train"),
    ],
)
def test_a_mistake_is_told_before_any_work(
    tmp_path: Path, options: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "own.jsonl")
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    command = load("evaluate", Commands.table["evaluate"][0])
    with pytest.raises(InputError, match=re.escape(said)):
        command.main(["--model", "model", *options.split()], standalone_mode=False)


def run(seed: int, plugged: float) -> Rehearsed:
    """Describe a rehearsal with made-up figures."""
    scores: dict[Model, float] = {"full_zero_shot": 9.0, "plug_in": plugged}
    return Rehearsed(
        digest=f"sha256:{seed:064}",
        model=f"sha256:{1:064}",
        data={},
        setting=Setting(emulator=LayerDrop(blocks=2)),
        seed=seed,
        models={
            name: Measured(metric="perplexity", value=value, interval=(5, 10), outcomes=(1.0,))
            for name, value in scores.items()
        },
        gains={"plug_in": Gain(value=0.5, interval=(0.4, 0.6))},
        share=Gain(value=plugged / 10, interval=(0.5, 0.7)),
        sizes=Sizes(model=269_000_000, emulator=216_000_000, adapter=14_000_000),
        relative_flops=0.79,
        seconds={"tune": 60.0, "distill": 20.0},
    )


def shown(*runs: Rehearsed) -> str:
    screen = Console(record=True, file=StringIO(), width=80)
    show(Repeated(runs=runs).summary(), screen)
    return screen.export_text()


def test_the_table_keeps_seeds_apart_from_the_test_set() -> None:
    text = shown(run(0, 5.5), run(1, 5.7))
    assert "mean ± standard error of 2 seeds" in text
    plugged = next(line for line in text.splitlines() if "model, plugged in" in line)
    cells = [cell.strip() for cell in plugged.strip("│").split("│")]
    assert cells == ["model, plugged in", "5.6 ± 0.1", "5 to 10", "0.500", "56% ± 1.0%"]
    assert "share: of the gain of full fine-tuning (95 % interval 50% to 70%)" in text
    assert "emulator 216.0 MB with 79% of its FLOPs" in text
    assert "time: distill 20 s, tune 60 s" in text


def test_one_seed_has_no_error() -> None:
    text = shown(run(0, 5.5))
    assert "one seed" in text
    assert "±" not in text
