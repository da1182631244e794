"""Figures over seeds, and what identifies a rehearsal."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offsite.api import DistillTraining, LayerDrop, TuneTraining
from offsite.rehearsal import Gain, Measured, Setting, Splits, spread
from offsite.rows import DataFile
from offsite.wire import canonical

SETTING = Setting(emulator=LayerDrop(blocks=2))


def test_seeds_spread_apart_from_the_test_set() -> None:
    found = spread([Gain(value=v, interval=(v - 1, v + 2)) for v in (1.0, 2.0, 4.5)])
    assert found.mean == pytest.approx(2.5)
    assert found.error == pytest.approx(math.sqrt(13 / 4 / 3))
    assert found.interval == pytest.approx((1.5, 4.5))
    assert found.values == (1.0, 2.0, 4.5)


def test_one_seed_has_no_standard_error() -> None:
    found = spread([Measured(metric="accuracy", value=0.5, outcomes=(1.0,))])
    assert (found.mean, found.error, found.interval) == (0.5, None, None)


def test_an_infinite_figure_has_no_mean() -> None:
    infinite = Measured(metric="perplexity", value=None, outcomes=(1.0,))
    found = spread([infinite, infinite.model_copy(update={"value": 3.0})])
    assert (found.mean, found.error, found.values) == (None, None, (None, 3.0))


@pytest.mark.parametrize(
    "change",
    [
        {"emulator": LayerDrop(blocks=3)},
        {"emulator": LayerDrop(blocks=2, heal=False)},
        {"emulator_seed": 1},
        {"distillation": DistillTraining(corpus="a.jsonl", steps=5)},
        {"tuning": TuneTraining(steps=5)},
        {"alpha": 0.5},
        {"full_learning_rate": 1e-3},
    ],
)
def test_what_decides_the_result_is_part_of_its_identity(change: dict[str, Any]) -> None:
    assert SETTING.model_copy(update=change).decisive != SETTING.decisive


def test_a_location_decides_nothing() -> None:
    there, elsewhere = (
        Setting(
            emulator=LayerDrop(blocks=2, calibration=f"{place}.jsonl"),
            distillation=DistillTraining(corpus=f"{place}.txt"),
        )
        for place in ("here", "elsewhere")
    )
    assert there.decisive == elsewhere.decisive


def test_a_setting_is_read_as_it_was_written() -> None:
    content = canonical(SETTING.wire())
    assert Setting.model_validate_json(content) == SETTING
    with pytest.raises(ValidationError):
        Setting.model_validate_json(canonical({**json.loads(content), "blocks": 2}))


def test_data_is_known_by_content_and_format(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        (tmp_path / name).write_text('{"text": "one"}\n', encoding="utf-8")
    a, b, c = (DataFile(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.txt"))
    found = Splits(a, b, c).digests()
    assert found["train"] == found["validation"] != found["test"]
    assert "corpus" not in found
