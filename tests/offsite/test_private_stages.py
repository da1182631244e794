"""A job with differential privacy, from its file to what the peer reads of it."""

import json
from typing import Any

import pytest

from offsite.api import Limits
from offsite.api.limits import PrivacyLimits
from offsite.bundle import AdapterFacts, PrivacyFacts, read_manifest, write_manifest
from offsite.errors import BundleError, DataError, InputError
from offsite.steps import publishing, results
from offsite_testing.events import Wire
from offsite_testing.models import WORDS
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    PLUGGED,
    TINY,
    Parties,
    distill,
    new_parties,
    plug_in,
    tune,
)

PATIENTS = 8
GROUPED = {"train": "grouped.jsonl", "validation": "private.jsonl"}
PLAIN = {"train": "private.jsonl", "validation": "private.jsonl"}
PATIENT = {"group": "patient"}
PRIVACY = {"noiseMultiplier": 1.0, "unit": PATIENT}
"""Not ε, for which noise is searched for some seconds."""


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """The hospital has rows of eight patients, and an emulator."""
    found = new_parties(tmp_path_factory.mktemp("private"))
    rows = [{"text": f"{WORDS} {n}", "patient": f"p{n % PATIENTS}"} for n in range(24)]
    lines = "\n".join(map(json.dumps, rows))
    (found.home(HOSPITAL) / "grouped.jsonl").write_text(lines, encoding="utf-8")
    found.run(EMULATOR, distill(steps=None))
    return found


def limit(parties: Parties, **privacy: Any) -> None:
    parties.limit(HOSPITAL, TINY.model_copy(update={"privacy": PrivacyLimits(**privacy)}))


def facts_of(parties: Parties, name: str) -> PrivacyFacts:
    facts = read_manifest(parties.opened(name))[0].facts
    assert isinstance(facts, AdapterFacts)
    assert facts.privacy is not None
    return facts.privacy


def kinds(events: list[Wire], kind: str) -> list[Wire]:
    return [event for event in events if event["event"] == kind]


def test_the_manifest_and_the_events_state_what_the_job_asked_for(parties: Parties) -> None:
    limit(parties, required=True, max_epsilon=8.0, unit=PATIENT)
    adapter = {"targets": "Attention"}
    job = tune(data=GROUPED, privacy=PRIVACY, adapter=adapter, base={"quantize": "Int8"})
    events = parties.run(ADAPTER, job)
    assert read_manifest(parties.opened(ADAPTER))[0].facts.wire()["targets"] == "Attention"
    facts = facts_of(parties, ADAPTER)
    assert 1 < facts.epsilon <= 8
    assert (facts.unit, facts.steps) == ("group:patient", 6)
    assert facts.sampling_rate == 2 / PATIENTS
    assert facts.delta == 0.01  # 1 / (10 * 8), rounded down
    (told,) = kinds(events, "privacy")
    assert told == facts.report().wire()
    plugged = parties.run(PLUGGED, plug_in())
    said = [event["message"] for event in kinds(plugged, "log")]
    assert any("hospital states that adapter is differentially private" in line for line in said)


@pytest.mark.parametrize(
    ("limits", "privacy", "said"),
    [
        ({"required": True}, None, r"tune\.privacy is missing"),
        ({"max_epsilon": 1.0}, {"epsilon": 8}, r"privacy\.maxEpsilon"),
        ({"max_epsilon": 1.0}, {"noiseMultiplier": 0.3, "unit": PATIENT}, r"privacy\.maxEpsilon"),
        ({"unit": PATIENT}, {"epsilon": 8}, r"privacy\.unit"),
    ],
)
def test_a_job_below_the_floor_does_not_train(
    parties: Parties, limits: dict[str, Any], privacy: dict[str, Any] | None, said: str
) -> None:
    limit(parties, **limits)
    trained = list[Wire]()

    def look(event: Wire) -> None:
        if event["event"] == "progress" and event["phase"] == "tune":
            trained.append(event)

    data = GROUPED if privacy and "unit" in privacy else PLAIN
    with pytest.raises(InputError, match=said):
        parties.run("adapter-below", tune(data=data, privacy=privacy), look)
    assert not trained


def test_a_row_without_its_patient_is_named_before_training(parties: Parties) -> None:
    limit(parties)
    with pytest.raises(DataError, match=r'private\.jsonl:1 has no column "patient"'):
        parties.run("adapter-column", tune(data=PLAIN, privacy={"epsilon": 8, "unit": PATIENT}))


def test_an_image_that_states_another_privacy_sends_nothing(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What trained is the author's own, and claims other noise than the job asks for."""
    limit(parties)
    check = results.check_answer

    def claimed(space: Any, job: Any, units: int, labels: Any) -> str:
        manifest, _ = read_manifest(space.result)
        facts = manifest.facts
        assert isinstance(facts, AdapterFacts)
        assert facts.privacy is not None
        private = facts.privacy.model_copy(update={"noise_multiplier": 2.0})
        fields = manifest.model_dump(exclude={"files"})
        fields["facts"] = facts.model_copy(update={"privacy": private})
        (space.result / "manifest.json").unlink()
        write_manifest(space.result, **fields)
        return check(space, job, units, labels)

    monkeypatch.setattr(publishing, "check_answer", claimed)
    with pytest.raises(BundleError, match="the noise_multiplier in the adapter's manifest"):
        parties.run("adapter-claimed", tune(data=GROUPED, privacy=PRIVACY))
    sent = parties.published("adapter-claimed")
    assert not list(sent.rglob("envelope-*"))
    assert list(parties.published(ADAPTER).rglob("envelope-*"))


def test_limits_reach_the_pods_of_a_cluster() -> None:
    limits = Limits(privacy=PrivacyLimits(max_epsilon=8.0))
    assert Limits.model_validate_json(limits.model_dump_json(by_alias=True)) == limits
