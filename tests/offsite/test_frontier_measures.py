"""A sweep with a tiny model: what is measured, what is kept, and what is refused."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from offsite.api import EmulatorRelease, Ends, LayerDrop, Limits, TuneTraining
from offsite.errors import InterruptedStage, ModelError
from offsite.events import Event, Log, Monitor, Progress
from offsite.frontier import Candidate, Frontier, Plan, Wanted
from offsite.frontier.measure import measure_sweep
from offsite.rehearsal import Setting
from offsite.rehearsal.rehearse import repeat
from offsite_testing.standin import save_stand_in

SMALL, LARGE, HEALED = (
    Candidate(ends=Ends(bottom=1, top=1), emulator=LayerDrop(blocks=blocks, heal=heal))
    for blocks, heal in ((1, False), (3, False), (3, True))
)
WANTED = Wanted(max_size=10)


class Lab:
    """A model owner who compares emulators."""

    def __init__(self, folder: Path) -> None:
        model, data = save_stand_in(folder)
        training = TuneTraining(steps=10, batch_size=4, block_size=16, learning_rate=1e-2)
        setting = Setting(emulator=LayerDrop(blocks=1), tuning=training, full_learning_rate=1e-2)
        kept, limits = folder / "kept", Limits(max_kept_blocks=1)
        self.plan = Plan(
            model=model, data=data, setting=setting, folder=kept, limits=limits, recovery_steps=4
        )
        self.phases: list[str] = []
        self.stop = threading.Event()
        self.stop_at = ""

    def look(self, event: Event) -> None:
        """Note what is worked on, and ask to stop at a message."""
        if isinstance(event, Progress):
            self.phases.append(event.phase or "")
        if isinstance(event, Log) and self.stop_at and event.message.startswith(self.stop_at):
            self.stop.set()

    def results(self) -> dict[Path, int]:
        """List what is kept, and when it was written."""
        return {path: path.stat().st_mtime_ns for path in self.plan.folder.glob("*/*.json")}

    def measure(self, *candidates: Candidate, plan: Plan | None = None) -> Frontier:
        """Measure settings; `phases` says what had to be done."""
        self.phases.clear()
        monitor = Monitor(self.look, self.stop)
        return measure_sweep(candidates, plan or self.plan, WANTED, monitor)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def measured(lab: Lab) -> Frontier:
    """All three settings, measured after an interruption in the second one."""
    lab.stop_at = "setting 2"
    with pytest.raises(InterruptedStage):
        lab.measure(SMALL, LARGE, HEALED)
    lab.stop.clear()
    lab.stop_at = ""
    before = lab.results()
    found = lab.measure(SMALL, LARGE, HEALED)
    assert before
    assert before.items() <= lab.results().items()
    return found


def test_each_setting_has_its_figures(lab: Lab, measured: Frontier) -> None:
    assert [point.setting for point in measured.points] == [SMALL, LARGE, HEALED]
    assert measured.metric == "perplexity"
    small, large, healed = measured.points
    assert small.cost.size < large.cost.size == healed.cost.size
    assert small.cost.flops < large.cost.flops < 1
    for point in measured.points:
        assert point.skill.recovered.value >= point.skill.untouched.value
        attacks = {(each.how, each.data) for each in point.attacks}
        assert attacks == {
            (how, data)
            for how in ("Nothing", "LoRA", "Middle", "All")
            for data in ("test", "corpus")
        }
        assert point.refused is None
    setting, plan = lab.plan.of(HEALED), lab.plan
    monitor = Monitor(lambda event: None)
    summary = repeat(plan.model, setting, plan.data, (0,), monitor, folder=plan.folder).summary()
    assert summary.share is not None
    assert healed.gain.value == summary.share.mean


def test_what_was_measured_is_not_measured_again(lab: Lab, measured: Frontier) -> None:
    again = lab.measure(HEALED, SMALL)
    assert lab.phases == []
    assert [point.skill for point in again.points] == [
        measured.points[2].skill,
        measured.points[0].skill,
    ]
    assert not [*lab.plan.folder.glob("emulators/*")]


def test_another_seed_does_only_what_depends_on_it(lab: Lab, measured: Frontier) -> None:
    found = lab.measure(SMALL, plan=replace(lab.plan, seeds=(0, 1)))
    assert not [phase for phase in lab.phases if phase.startswith(("recover", "Emulator"))]
    assert "tune" in lab.phases
    point = found.points[0]
    assert found.seeds == 2
    assert point.gain.error is not None
    assert point.skill.tuned.error is not None
    assert point.skill.recovered == measured.points[0].skill.recovered


def test_a_setting_that_is_not_allowed_is_measured_and_not_suggested(
    lab: Lab, measured: Frontier
) -> None:
    found = lab.measure(SMALL, HEALED, plan=replace(lab.plan, limits=Limits(max_kept_blocks=0.5)))
    assert lab.phases == []
    assert found.suggested == 1
    assert found.points[0].refused is None
    assert "3 of 4 middle blocks" in str(found.points[1].refused)
    release = EmulatorRelease(max_capability=1e-6)
    strict = lab.measure(
        SMALL, plan=replace(lab.plan, limits=Limits(max_kept_blocks=1, emulator_release=release))
    )
    assert strict.suggested is None
    assert "maxCapability" in str(strict.points[0].refused)


def test_what_cannot_be_made_is_told_before_anything_is_measured(lab: Lab) -> None:
    large = [Candidate(emulator=LayerDrop(blocks=blocks)) for blocks in (2, 3, 9)]
    with pytest.raises(ModelError) as refused:
        lab.measure(*large)
    assert lab.phases == []
    _, *problems = refused.value.args
    assert len(problems) == 2
    assert "blocks 9" in problems[1]
