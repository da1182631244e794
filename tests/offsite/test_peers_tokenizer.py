"""A peer's tokenizer decides neither whether a job ends well, nor how its failure reads.

A replacement and a strip, both of which known tokenizers have, make a name vanish. Where nothing
is left of a text, of a label or of a whole batch, the job must go on as it does without the name.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    TINY,
    Parties,
    distill,
    new_parties,
)
from offsite_testing.parties import tune as tuned_by
from offsite_testing.tokenizers import replace, sequence

Rows = list[dict[str, Any]]
NAME = "Anna Kovacs"
SOME = {"steps": 4, "batchSize": 4, "blockSize": 32}


def row(number: int, prompt: str = "Patient number {}", completion: str = "negative") -> Any:
    return {"prompt": prompt.format(number), "completion": completion}


def asked(number: int, prompt: str = "Patient {}", completion: str = "negative") -> Any:
    return {**row(number, prompt, completion), "choices": ["negative", "positive"]}


PEOPLE = [row(number) for number in range(12)]
ASKED = [asked(number) for number in range(12)]
LINES = [{"text": f"Patient number {number}"} for number in range(12)]

VANISHED: dict[str, Rows] = {
    "a prompt": [*PEOPLE, row(0, NAME)],
    "a completion": [*PEOPLE, row(0, completion="positive")],
    "both": [*PEOPLE, row(0, NAME, "positive")],
    "a text": [*LINES, {"text": NAME}],
    "every prompt": [row(number, NAME) for number in range(12)],
    "every label": [row(number, completion="positive") for number in range(12)],
    "every other label": [
        row(number, completion=("positive", "negative")[number % 2]) for number in range(12)
    ],
    "everything": [row(number, NAME, "positive") for number in range(12)],
    "every text": [{"text": NAME}] * 12,
    "a choice": [*ASKED, asked(0, NAME, "positive")],
    "every choice": [asked(number, NAME, "positive") for number in range(12)],
}
"""Rows of which the tokenizer leaves nothing, alone or among others."""
LONG = "a patient of whom much is to be told " * 4
TOO_LONG = [row(number, LONG + "{}") for number in range(12)]


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """An emulator came whose tokenizer makes a name and a label vanish, and which has no end."""
    made = new_parties(tmp_path_factory.mktemp("vanishing"))
    made.run(EMULATOR, distill(None))
    made.resend(EMULATOR, _vanishing)
    # the gate refuses an adapter of nothing, which docs/release.md says
    made.limit(HOSPITAL, TINY.model_copy(update={"max_silent_rows": 1.0}))
    return made


def _vanishing(folder: Path) -> None:
    path, beside = folder / "tokenizer.json", folder / "tokenizer_config.json"
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    parts = sequence("normalizer", replace(NAME, " "), replace("positive", " "), strip)
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalizer": parts}))
    config = json.loads(beside.read_text())
    beside.write_text(json.dumps({k: v for k, v in config.items() if k != "eos_token"}))


def outcome(parties: Parties, rows: Rows, training: dict[str, int]) -> list[str]:
    """Run the job on some rows; give what ended it, and the tensors that the peer gets."""
    home = parties.home(HOSPITAL)
    (home / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"train": "rows.jsonl", "validation": "rows.jsonl"}
    events = parties.run(ADAPTER, tuned_by(data=data, training=training))
    shutil.rmtree(home / "home/work", ignore_errors=True)
    assert not list(parties.exchange.glob(f"{HOSPITAL}/{LAB}/*/notice"))
    scored = [event["setting"] for event in events if event["event"] == "metric"]
    return [str(events[-1]["event"]), *map(str, scored)]


@pytest.fixture(scope="module")
def ordinary(parties: Parties) -> list[str]:
    """What comes of rows that the tokenizer leaves as they are."""
    return outcome(parties, PEOPLE, SOME)


@pytest.mark.parametrize("name", VANISHED)
def test_what_vanishes_changes_no_outcome(name: str, parties: Parties, ordinary: list[str]) -> None:
    assert outcome(parties, VANISHED[name], SOME) == ordinary


@pytest.mark.parametrize("rows", [TOO_LONG, [*TOO_LONG, row(0, NAME)]], ids=["all", "but one"])
def test_rows_that_are_too_long_change_no_outcome(
    rows: Rows, parties: Parties, ordinary: list[str]
) -> None:
    """The tokenizer counts a row with the name as short, and so would find that one fits."""
    assert outcome(parties, rows, SOME | {"blockSize": 8}) == ordinary
