"""Differential privacy as jobs ask for it: units of data, limits, and what a manifest tells."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offsite.api import Limits, Privacy, Tune, Unit, sampling_rate
from offsite.api.limits import PrivacyLimits
from offsite.bundle import AdapterFacts, PrivacyFacts
from offsite.config import load_policy
from offsite.errors import BundleError, DataError, InputError, OffsiteError, SpecError
from offsite.rows import DataFile, read_rows
from offsite.stages.evaluation import read_units
from offsite.steps.floors import check_examples, check_floors
from offsite.steps.privacy import check_facts, check_privacy, steps_of
from offsite.survey import survey
from offsite_testing.core import loaded, silent
from offsite_testing.models import WORDS
from offsite_testing.tiny import tiny_model

DATA = {"train": "a.jsonl", "validation": "b.jsonl"}
UNITS = 1234


def tune(**privacy: Any) -> Tune:
    return Tune.model_validate({"bundle": "a", "data": DATA, "privacy": privacy or None})


def grouped(folder: Path, *rows: Any, must_group: bool = True) -> DataFile:
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return DataFile(folder / "a.jsonl", "a.jsonl", "patient", must_group)


# --- units -------------------------------------------------------------------------------------


def test_rows_have_the_group_of_their_column(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "patient": "x 1"},
        {"text": "b", "patient": 7},
        {"text": "c", "patient": " 7"},
    ]
    assert [row.group for row in read_rows(grouped(tmp_path, *rows))] == ["x 1", "7", "7"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "b"}, 'a.jsonl:2 has no column "patient"'),
        ({"text": "b", "patient": ""}, 'a.jsonl:2: the column "patient" is empty'),
        ({"text": "b", "patient": None}, "is null"),
        ({"text": "b", "patient": 1.5}, "is a number, not a string or a whole number"),
        ({"text": "b", "patient": True}, "is a boolean"),
        ({"text": "b", "patient": "x", "ward": 3}, "remove the other one, or name it"),
    ],
)
def test_a_row_without_its_group_is_named(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = grouped(tmp_path, {"text": "a", "patient": "x"}, row)
    for read in (read_rows, lambda data: survey(data, 16)):
        with pytest.raises(DataError, match=said.replace("(", r"\(")):
            read(file)


def test_only_training_data_must_have_groups(tmp_path: Path) -> None:
    rows = {"text": "a", "patient": 1}, {"text": "b"}
    assert [r.group for r in read_rows(grouped(tmp_path, *rows, must_group=False))] == ["1", ""]


def test_a_column_that_no_job_names_is_unknown(tmp_path: Path) -> None:
    grouped(tmp_path, {"text": "a", "patient": "x"})
    with pytest.raises(DataError, match="has the columns"):
        read_rows(DataFile(tmp_path / "a.jsonl"))


def test_minimums_count_groups(tmp_path: Path) -> None:
    rows = [{"text": word * 20, "patient": n % 5} for n, word in enumerate("abcdefghijklmnopqrst")]
    file = grouped(tmp_path, *rows)
    found = survey(file, 16)
    assert (found.units, found.different) == (5, 5)
    assert check_examples(Limits(min_examples=5), file) == survey(file, 5)
    with pytest.raises(DataError, match="has 5 different examples"):
        check_examples(Limits(min_examples=6), file)


def test_copies_under_another_group_are_no_other_unit(tmp_path: Path) -> None:
    rows = [{"text": "the patient fell", "patient": n} for n in range(30)]
    found = survey(grouped(tmp_path, *rows), 16)
    assert (found.units, found.different) == (30, 1)


def test_a_group_may_not_be_most_of_the_data(tmp_path: Path) -> None:
    rows = [{"text": f"{n:02}" * 30, "patient": n if n < 9 else 9} for n in range(30)]
    with pytest.raises(DataError, match="makes up 70%"):
        check_examples(Limits(min_examples=5), grouped(tmp_path, *rows))


def test_no_example_holds_text_of_two_units(tmp_path: Path) -> None:
    rows = [
        {"text": word, "patient": f"p{n % 3}"}
        for n, word in enumerate(" ".join(WORDS[i:] + WORDS[:i]) for i in range(9))
    ]
    model = loaded(tiny_model("llama", vocab_size=288))
    file = grouped(tmp_path, *rows)
    units = read_units(file, model, 8, silent())
    assert len(units) == 3
    for number, unit in enumerate(units):
        own = [row for row in read_rows(file) if row.group == f"p{number}"]
        assert unit == model.modality.encode(own, 8).examples
        assert len(unit) > 1
    alone = DataFile(file.path, group="patient")
    assert len(read_units(alone, model, 8, silent())) == 3


def test_a_row_is_a_unit_where_no_group_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "the quick"}\n{"text": "brown fox"}\n')
    model = loaded(tiny_model("llama", vocab_size=288))
    assert len(read_units(DataFile(tmp_path / "a.jsonl"), model, 64, silent())) == 2


# --- δ and the sampling rate -------------------------------------------------------------------


@pytest.mark.parametrize("units", [16, 100, 999, 1000, 1001, UNITS, 10**6])
def test_rounding_never_weakens_privacy(units: int) -> None:
    delta = Privacy(epsilon=8).delta_of(units)
    assert 1 / (20 * units) <= delta <= 1 / (10 * units)
    rate = sampling_rate(8, units)
    assert 8 / units <= rate <= 8.8 / units


def test_the_manifest_tells_as_much_of_neighbours() -> None:
    """One unit more or less changes neither the rate nor δ, but at a step of the rounding."""
    privacy = Privacy(epsilon=8)
    told = {(privacy.delta_of(n), sampling_rate(8, n)) for n in range(1235, 1265)}
    assert len(told) == 3


def test_a_rate_that_is_round_stays_as_it_is() -> None:
    rates = [sampling_rate(*each) for each in ((8, 800), (8, 16), (8, 1000), (7, 100), (8, 4))]
    assert rates == [0.01, 0.5, 0.008, 0.07, 1.0]


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "privacy", "said"),
    [
        ({"required": True}, {}, "privacy.required"),
        ({"max_epsilon": 8.0}, {}, "privacy.required"),
        ({"max_delta": 1e-5}, {}, "privacy.required"),
        ({"unit": Unit(group="patient")}, {}, "privacy.required"),
        ({"max_epsilon": 8.0}, {"epsilon": 8.1}, "privacy.maxEpsilon"),
        ({"max_delta": 1e-5}, {"epsilon": 8, "delta": 1e-4}, "privacy.maxDelta"),
        ({"unit": Unit(group="patient")}, {"epsilon": 8}, "privacy.unit"),
        (
            {"unit": Unit(group="patient")},
            {"epsilon": 8, "unit": {"group": "visit"}},
            "tune.privacy.unit is group:visit",
        ),
    ],
)
def test_an_author_cannot_ask_for_less(
    limits: dict[str, Any], privacy: dict[str, Any], said: str
) -> None:
    problem = Limits(privacy=PrivacyLimits(**limits)).objection(tune(**privacy))
    assert problem is not None
    assert said in problem


@pytest.mark.parametrize(
    ("limits", "privacy"),
    [
        ({}, {}),
        ({}, {"epsilon": 1000}),
        ({"required": True}, {"epsilon": 1000}),
        ({"max_epsilon": 8.0}, {"epsilon": 8}),
        ({"max_epsilon": 8.0}, {"noiseMultiplier": 0.1}),  # its ε is known before training
        ({"unit": Unit(group="patient")}, {"epsilon": 8, "unit": {"group": "patient"}}),
    ],
)
def test_an_author_may_ask_for_as_much(limits: dict[str, Any], privacy: dict[str, Any]) -> None:
    assert Limits(privacy=PrivacyLimits(**limits)).objection(tune(**privacy)) is None


def test_the_epsilon_of_a_noise_multiplier_has_the_same_limit() -> None:
    limits = Limits(privacy=PrivacyLimits(max_epsilon=8.0))
    privacy = Privacy(noise_multiplier=0.3)
    check_privacy(limits, privacy, UNITS, epsilon=8.0)
    with pytest.raises(InputError, match=r"ε is 8.5, .* 8 at most \(privacy.maxEpsilon\)"):
        check_privacy(limits, privacy, UNITS, epsilon=8.5)


def test_the_default_delta_has_the_limit_of_one_that_is_asked_for() -> None:
    limits = Limits(privacy=PrivacyLimits(max_delta=1e-5))
    with pytest.raises(InputError, match=r"privacy.maxDelta"):
        check_privacy(limits, Privacy(epsilon=8), UNITS, epsilon=8.0)


def test_a_delta_that_lets_units_be_revealed_is_refused() -> None:
    """With δ = 1 / units, to publish one of them in full would be private."""
    with pytest.raises(DataError, match=r"must be below 1 / 1234"):
        check_privacy(Limits(), Privacy(epsilon=8, delta=1e-3), UNITS, epsilon=8.0)


def test_such_a_delta_is_told_before_a_model_is_evaluated(tmp_path: Path) -> None:
    data = grouped(tmp_path, *({"text": f"{WORDS} {n}", "patient": n} for n in range(20)))
    limits = Limits(min_steps=1, min_examples=1, min_batch_size=1)
    check_floors(limits, tune(epsilon=8, delta=0.04), data)
    with pytest.raises(DataError, match="must be below 1 / 20"):
        check_floors(limits, tune(epsilon=8, delta=0.05), data)


def test_a_home_has_these_limits(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("privacy: {required: true, maxEpsilon: 8, unit: {group: patient}}\n")
    found = load_policy(policy).privacy
    assert found == PrivacyLimits(required=True, max_epsilon=8, unit=Unit(group="patient"))
    policy.write_text("privacy: {maxEpsilom: 8}\n")
    with pytest.raises(SpecError, match="did you mean maxEpsilon"):
        load_policy(policy)


def test_floors_check_privacy_before_the_data_is_read(tmp_path: Path) -> None:
    limits = Limits(privacy=PrivacyLimits(required=True))
    with pytest.raises(InputError, match=r"tune\.privacy is missing"):
        check_floors(limits, tune(), DataFile(tmp_path / "there-is-none.jsonl"))


# --- the manifest ------------------------------------------------------------------------------


def facts(**changes: Any) -> PrivacyFacts:
    job = tune(epsilon=8)
    told: dict[str, Any] = {
        "epsilon": 7.99,
        "delta": Privacy(epsilon=8).delta_of(UNITS),
        "noise_multiplier": 0.7,
        "max_grad_norm": 1.0,
        "unit": "row",
        "sampling_rate": sampling_rate(8, UNITS),
        "steps": steps_of(Limits(), job, UNITS),
    }
    return PrivacyFacts(**told | changes)


def test_what_a_job_asks_for_is_accepted() -> None:
    check_facts(Limits(), tune(epsilon=8), facts(), UNITS)
    check_facts(Limits(), tune(), None, UNITS)


@pytest.mark.parametrize(
    ("asked", "told", "said"),
    [
        ({"epsilon": 8}, None, "the privacy in"),
        ({}, facts(), "the privacy in"),
        ({"epsilon": 7.9}, facts(), "the epsilon in"),
        ({"epsilon": 8}, facts(delta=1e-4), "the delta in"),
        ({"epsilon": 8}, facts(max_grad_norm=2.0), "the max_grad_norm in"),
        ({"epsilon": 8}, facts(unit="group:patient"), "the unit in"),
        ({"epsilon": 8}, facts(sampling_rate=0.5), "the sampling_rate in"),
        ({"epsilon": 8}, facts(steps=8), "the steps in"),
        ({"noiseMultiplier": 0.8}, facts(), "the noise_multiplier in"),
    ],
)
def test_what_it_does_not_ask_for_is_not_sent(
    asked: dict[str, Any], told: PrivacyFacts | None, said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        check_facts(Limits(), tune(**asked), told, UNITS)


def test_an_epsilon_above_the_limit_is_not_sent() -> None:
    limits = Limits(privacy=PrivacyLimits(max_epsilon=1.0))
    with pytest.raises(InputError, match=r"privacy\.maxEpsilon"):
        check_facts(limits, tune(noiseMultiplier=0.7), facts(), UNITS)


def test_data_that_grew_after_training_is_noticed() -> None:
    with pytest.raises(OffsiteError, match="run the job again if its data changed"):
        check_facts(Limits(), tune(epsilon=8), facts(), 2 * UNITS)


def adapter(**more: Any) -> AdapterFacts:
    answers = f"sha256:{'0' * 64}"
    return AdapterFacts(method="LoRA", scope="All", rank=8, answers=answers, **more)


def test_manifests_without_privacy_are_as_before() -> None:
    """Earlier versions refuse a field that they do not know."""
    assert "privacy" not in adapter().wire()
    assert AdapterFacts.model_validate_json(adapter().model_dump_json(by_alias=True)) == adapter()


def test_manifests_tell_privacy_and_not_the_number_of_units() -> None:
    private = adapter(privacy=facts())
    wire = private.wire()["privacy"]
    assert wire.keys() == {
        *("epsilon", "delta", "noiseMultiplier", "maxGradNorm"),
        *("unit", "samplingRate", "steps", "accountant"),
    }
    assert AdapterFacts.model_validate_json(private.model_dump_json(by_alias=True)) == private


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": float("inf")},
        {"epsilon": float("nan")},
        {"epsilon": 0.0},
        {"delta": 1.0},
        {"sampling_rate": 1.1},
        {"steps": 0},
        {"unit": "group:"},
        {"unit": "group:a\x1b[2J"},
        {"accountant": "trust me"},
    ],
)
def test_a_manifest_tells_no_nonsense(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        facts(**changes)
