"""The release gate of emulators: what can be recovered is measured before anything is sent."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offsite.api import EmulatorRelease, JobSpec, Limits
from offsite.errors import DisclosureError, InputError, ReleaseRefused, SpecError
from offsite.release.capability import Capability, Recovery, check_recovery, required_recovery
from offsite.release.figures import AUDITED
from offsite.steps.released import check_recovered
from offsite.steps.workspace import Workspace
from offsite.wire import canonical
from offsite_testing.events import Wire
from offsite_testing.parties import HOSPITAL, LAB, Parties, distill, new_parties
from offsite_testing.skilled import prose, save_skilled


def capability(share: float, **over: Any) -> Capability:
    fields: dict[str, Any] = {"subject": "Emulator", "how": "All", "data": "corpus"}
    fields |= {"metric": "perplexity", "value": 20.0, "interval": (share - 0.01, share + 0.01)}
    return Capability(share=share, **fields | over)


def recovery(*shares: float, steps: int = 200, blocks: tuple[int, ...] = (0, 1, 5)) -> Recovery:
    return Recovery(steps=steps, blocks=blocks, found=tuple(map(capability, shares)))


@pytest.mark.parametrize(
    ("asked", "floor", "limit", "steps"),
    [
        ({"maxCapability": 0.9}, {"maxCapability": 0.5}, 0.5, 200),
        ({"maxCapability": 0.4, "recoverySteps": 10}, {"maxCapability": 0.5}, 0.4, 200),
        ({}, {"maxCapability": 0.5, "recoverySteps": 1000}, 0.5, 1000),
        (None, {"maxCapability": 0.5}, 0.5, 200),
        ({"recoverySteps": 10}, None, None, 10),
    ],
)
def test_a_job_can_only_be_stricter(
    asked: dict[str, Any] | None, floor: dict[str, Any] | None, limit: float | None, steps: int
) -> None:
    def read(section: dict[str, Any] | None) -> EmulatorRelease | None:
        return None if section is None else EmulatorRelease.model_validate(section)

    found = required_recovery(read(floor), read(asked))
    assert found is not None
    assert (found.max_capability, found.recovery_steps) == (limit, steps)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (recovery(0.2, 0.51), "recovers 51.0% .* at most 50.0%"),
        (recovery(0.2, steps=199), "attacked for 199 steps, and 200 are required"),
        (recovery(), "attacked for 200 steps"),
    ],
)
def test_what_gives_too_much_away_is_refused(found: Recovery, reason: str) -> None:
    check_recovery(recovery(0.2, 0.5), EmulatorRelease(max_capability=0.5))
    with pytest.raises(ReleaseRefused, match=reason):
        check_recovery(found, EmulatorRelease(max_capability=0.5))


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab whose model has learnt something."""
    made = new_parties(tmp_path_factory.mktemp("recovery") / "parties")
    lab = made.home(LAB)
    save_skilled(lab / "model")
    (lab / "corpus.txt").write_text(prose(3000, 1), encoding="utf-8")
    return made


def job(blocks: int = 1, **release: Any) -> dict[str, Any]:
    emulator = {"blocks": blocks, "calibration": "corpus.txt"}
    return distill(None, emulator=emulator, evaluate=None, release={"recoverySteps": 1, **release})


def figures(events: list[Wire]) -> dict[str, float]:
    return {e["setting"]: e["value"] for e in events if e.get("name") == "skill"}


def test_the_organization_refuses_what_the_job_allows(parties: Parties) -> None:
    events = list[Wire]()
    floor = EmulatorRelease(max_capability=0.5, recovery_steps=1)
    parties.limit(LAB, Limits(emulator_release=floor))
    with pytest.raises(ReleaseRefused, match=r"public data recovers .*\(maxCapability\)"):
        parties.run("emulator-refused", job(maxCapability=1), events.append)
    assert figures(events)["recovered_most"] > 0.5
    assert not list(parties.published("emulator-refused").glob("*/envelope*"))
    parties.limit(LAB, Limits())


def test_figures_of_the_emulator_and_of_the_union_are_reported(parties: Parties) -> None:
    """The second emulator is smaller, and the peer holds the first one, too."""
    first = parties.run("emulator-first", job(3))
    events = parties.run("emulator-second", job(1))
    ways = {"nothing", "lora", "middle", "all"}
    assert figures(first).keys() == {*(f"recovered_{way}_corpus" for way in ways), "recovered_most"}
    found = figures(events)
    alone, together = (found[f"recovered{held}_nothing_corpus"] for held in ("", "_union"))
    assert alone < together < 1.05
    report = next(event["report"] for event in events if event["event"] == "egress")
    told = {fact["name"]: fact["value"] for fact in report["figures"]}
    assert float(told["recovered_most.skill"]) == pytest.approx(found["recovered_most"], rel=1e-4)
    assert parties.opened("emulator-second").is_dir()


def test_an_audit_needs_data(parties: Parties) -> None:
    without = distill(None, emulator={"blocks": 1}, evaluate=None)
    with pytest.raises(SpecError, match="release needs emulator"):
        parties.run("emulator-bare", {**without, "distill": {**without["distill"], "release": {}}})
    parties.limit(LAB, Limits(emulator_release=EmulatorRelease()))
    with pytest.raises(InputError, match="emulatorRelease"):
        parties.run("emulator-bare", without)
    parties.limit(LAB, Limits())


@pytest.fixture
def finished(tmp_path: Path) -> Workspace:
    """An emulator that passed, and waits to be sent."""
    spec = JobSpec.model_validate(job(maxCapability=0.5, recoverySteps=200))
    party = new_parties(tmp_path / "parties").party(LAB)
    space = Workspace(party, "emulator", spec, HOSPITAL, "0" * 64, tmp_path)
    (tmp_path / AUDITED).write_bytes(canonical(recovery(0.4).wire()))
    return space


def again(space: Workspace, sent: set[int], **floor: Any) -> None:
    limits = space.party.limits.model_copy(update={"emulator_release": EmulatorRelease(**floor)})
    assert space.spec.distill is not None
    party = replace(space.party, limits=limits)
    check_recovered(replace(space, party=party), space.spec.distill, sent)


def test_the_step_that_publishes_compares_again(finished: Workspace) -> None:
    again(finished, {0, 1, 5})
    with pytest.raises(ReleaseRefused, match="maxCapability"):
        again(finished, {0, 1, 5}, max_capability=0.3)
    with pytest.raises(ReleaseRefused, match="300 are required"):
        again(finished, {0, 1, 5}, recovery_steps=300)


def test_an_emulator_that_was_sent_meanwhile_counts(finished: Workspace) -> None:
    with pytest.raises(DisclosureError, match="sent while this one was made"):
        again(finished, {0, 1, 3, 5})


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_text("{}"),
        lambda path: path.write_text(path.read_text().replace("0.4,", "NaN,")),
    ],
)
def test_an_emulator_without_figures_is_not_published(
    finished: Workspace, damage: Callable[[Path], object]
) -> None:
    damage(finished.folder / AUDITED)
    with pytest.raises(ReleaseRefused, match="missing or damaged"):
        again(finished, {0, 1, 5})
