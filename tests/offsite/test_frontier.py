"""The frontier: sweeps, dominated settings, and suggestions. Nothing here runs a model."""

import json
from pathlib import Path
from random import Random

import pytest

from offsite.api import Ends, LayerDrop
from offsite.errors import InputError, SpecError
from offsite.frontier import (
    Candidate,
    Cost,
    Figure,
    Frontier,
    Point,
    Skill,
    Titles,
    Wanted,
    dominators,
    front,
    limits,
    read_sweep,
    suggest,
)

CORPUS = "public.jsonl"


def sweep(folder: Path, text: str) -> list[Candidate]:
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return read_sweep(path, CORPUS)


def point(
    number: int,
    gain: float,
    recovered: float,
    tuned: float = 0.5,
    size: float = 0.8,
    flops: float = 0.8,
) -> Point:
    untouched = Figure(value=recovered / 2)
    return Point(
        number=number,
        setting=Candidate(emulator=LayerDrop(blocks=3)),
        gain=Figure(value=gain, interval=(gain - 0.1, gain + 0.1), error=0.01),
        skill=Skill(
            untouched=untouched, recovered=Figure(value=recovered), tuned=Figure(value=tuned)
        ),
        cost=Cost(size_bytes=1000, size=size, flops=flops, distill_seconds=1.5, tune_seconds=2.5),
    )


def test_a_list_is_a_choice(tmp_path: Path) -> None:
    found = sweep(
        tmp_path,
        "ends: {bottom: 4, top: 4}\n"
        "emulator: {method: LayerDrop, blocks: [8, 11, 14], heal: [true, false]}\n"
        "training: [null, {steps: [100, 200], batchSize: 8}]\n",
    )
    assert len(found) == 18
    assert {each.ends for each in found} == {Ends(bottom=4, top=4)}
    settings = {
        (each.emulator.blocks, each.emulator.heal, each.training and each.training.steps)
        for each in found
    }
    assert settings == {
        (b, h, s) for b in (8, 11, 14) for h in (True, False) for s in (None, 100, 200)
    }
    assert {each.training.corpus for each in found if each.training} == {CORPUS}


def test_a_list_may_hold_whole_sections_and_a_setting_counts_once(tmp_path: Path) -> None:
    found = sweep(tmp_path, "emulator: [{blocks: [1, 2]}, {blocks: [2, 3], heal: [true, true]}]")
    assert [(each.emulator.blocks, each.emulator.heal) for each in found] == [
        (1, None),
        (2, None),
        (2, True),
        (3, True),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("emulator: {blocks: [0, 3, x]}", ["emulator.blocks", "emulator.blocks"]),
        ("emulator: {blocks: 3}\nends: {bottom: 0}\nmore: 1", ["ends.bottom", "more"]),
        ("emulator: {blocks: []}", ["a list is empty"]),
        ("[]", ["it must be an object"]),
        ("emulator: {blocks: 3}\ntraining: [null, {corpus: a.txt}]", ["training.corpus: --corpus"]),
        ("emulator: [{blocks: 3, calibration: a.txt}]", ["emulator.calibration: --corpus"]),
        (f"emulator: {{blocks: {list(range(1, 600))}}}", ["599 settings"]),
        ("{", ["it is not YAML"]),
    ],
)
def test_all_that_is_wrong_with_a_sweep_is_told_once(
    text: str, told: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="is not a valid sweep") as refused:
        sweep(tmp_path, text)
    assert len(refused.value.problems) == len(told)
    for problem, begin in zip(refused.value.problems, told, strict=True):
        assert begin in problem


def test_a_sweep_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep file"):
        read_sweep(tmp_path / "none.yaml", CORPUS)


def test_a_huge_product_is_counted_and_not_listed(tmp_path: Path) -> None:
    lists = ", ".join(f"a{i}: {list(range(10))}" for i in range(40))
    with pytest.raises(SpecError, match="500 are the most"):
        sweep(tmp_path, f"emulator: {{{lists}}}")


def test_a_dominated_point_is_worse_in_something_and_better_in_nothing() -> None:
    points = [
        point(1, gain=0.5, recovered=0.4),
        point(2, gain=0.4, recovered=0.4),  # gains less than 1
        point(3, gain=0.5, recovered=0.4),  # the same as 1
        point(4, gain=0.3, recovered=0.4, size=0.7),  # smaller
        point(5, gain=0.6, recovered=0.5),  # gains more, and gives more away
        point(6, gain=0.3, recovered=0.4, size=0.7, tuned=0.6),
    ]
    assert dominators(points) == {2: 1, 6: 4}


@pytest.mark.parametrize("seed", range(20))
def test_what_dominates_is_never_dominated_and_nor_is_what_is_suggested(seed: int) -> None:
    draw = Random(seed)
    names = ("gain", "recovered", "tuned", "size", "flops")
    points = [
        point(number, **{name: draw.randint(0, 4) / 4 for name in names}) for number in range(1, 40)
    ]
    dominated = dominators(points)
    assert not set(dominated.values()) & set(dominated)
    for number, better in dominated.items():
        one, other = points[number - 1].objectives, points[better - 1].objectives
        assert all(b <= a for a, b in zip(one, other, strict=True))
    for wanted in (
        Wanted(max_recovered=0.5),
        Wanted(min_gain=0.5),
        Wanted(min_gain=0.25, max_size=0.75, max_flops=0.75),
        Wanted(max_tuned=0.25),
    ):
        found = suggest(points, wanted).point
        assert found is not None
        assert found.number not in dominated
        assert all(limit.is_met(value) for limit, value in limits(found, wanted))


def test_the_front_is_the_best_of_two_figures() -> None:
    pairs = [(0.5, 0.4), (0.4, 0.4), (0.5, 0.4), (0.6, 0.5), (0.55, 0.6), (0.1, 0.1)]
    assert front(pairs) == [(0.1, 0.1), (0.5, 0.4), (0.6, 0.5)]


def test_a_suggestion_gains_most_within_the_limits() -> None:
    points = [point(1, 0.3, 0.2), point(2, 0.5, 0.4), point(3, 0.7, 0.6)]
    found = suggest(points, Wanted(max_recovered=0.4))
    assert found.point == points[1]
    assert found.reason == (
        "the highest gain of the 2 of 3 settings that are allowed and meet every limit"
    )


def test_if_the_gain_alone_is_limited_the_suggestion_gives_least_away() -> None:
    points = [point(1, 0.3, 0.2), point(2, 0.5, 0.4), point(3, 0.7, 0.6)]
    assert suggest(points, Wanted(min_gain=0.4)).point == points[1]


def test_what_is_not_allowed_is_neither_suggested_nor_a_reason_against_another() -> None:
    refused = point(1, 0.9, 0.1).model_copy(update={"refused": "too many blocks"})
    points = [refused, point(2, 0.5, 0.4), point(3, 0.4, 0.4)]
    assert dominators(points) == {3: 2}
    assert suggest(points, Wanted(max_recovered=0.5)).point == points[1]
    none = suggest([refused], Wanted(max_recovered=0.5))
    assert none.point is None
    assert "allows none" in none.reason


def test_a_suggestion_that_there_is_not_says_how_near_one_comes() -> None:
    points = [point(1, 0.3, 0.2), point(2, 0.5, 0.4)]
    found = suggest(points, Wanted(max_recovered=0.1, min_gain=0.9))
    assert found.point is None
    assert "gain at least 90%, and the nearest is setting 2 with 50%" in found.reason
    assert "recovered skill at most 10%, and the nearest is setting 1 with 20%" in found.reason
    found = suggest(points, Wanted(max_recovered=0.3, min_gain=0.4))
    assert found.point is None
    assert "at once" in found.reason


def test_equal_bounds_of_two_limits_are_told_apart() -> None:
    points = [point(1, 0.5, 0.6), point(2, 0.6, 0.4)]
    assert suggest(points, Wanted(min_gain=0.5, max_recovered=0.5)).point == points[1]


def test_a_frontier_is_kept_as_json() -> None:
    points = (point(1, 0.3, 0.2), point(2, 0.2, 0.2))
    kept = Frontier(metric="perplexity", seeds=3, points=points, dominated={2: 1}, suggested=1)
    text = json.dumps(kept.wire())
    assert Frontier.model_validate_json(text) == kept
    assert kept.point(2) == points[1]
    with pytest.raises(ValueError, match="there is no point"):
        Frontier(metric="perplexity", seeds=3, points=points, dominated={5: 1})
    with pytest.raises(ValueError, match="one number"):
        Frontier(metric="perplexity", seeds=3, points=points[:1] * 2, dominated={})


def test_settings_are_named_by_what_distinguishes_them(tmp_path: Path) -> None:
    found = sweep(
        tmp_path,
        "emulator: {blocks: [3, 4]}\ntraining: [null, {steps: 9, learningRate: [0.1, 0.2]}]",
    )
    points = [
        point(n, 0.1, 0.1).model_copy(update={"setting": each}) for n, each in enumerate(found, 1)
    ]
    titles = Titles.of(points)
    assert titles.shared == "LayerDrop, ends 2 + 2, healed where possible"
    assert titles.each[1] == "blocks 3, not distilled"
    assert "blocks 3, distilled 9, learningRate 0.1" in titles.each[2]
    assert len(set(titles.each.values())) == 6
    assert Titles.of(points[:1]).each == {1: ""}
