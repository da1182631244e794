"""How many jobs run at once, and whose turn it is."""

from datetime import timedelta
from typing import Any

from offsite_operator.decide.reconcile import reconcile
from offsite_operator.decide.turns import room_of
from offsite_operator.observe.model import NotYet, Phase
from offsite_testing.world import DISTILL, SETTINGS, START, TUNE, World, spec_of


def bounded(content: dict[str, Any] = DISTILL, **changes: Any) -> World:
    bounds = SETTINGS.bounds.model_copy(update={"max_running_jobs": 2})
    world = World(spec_of(content, **changes))
    world.settings = SETTINGS.model_copy(update={"bounds": bounds})
    return world


def found(name: str, world: World, age: int = 0, **metadata: str) -> dict[str, Any]:
    """Give a job as the API server has it."""
    created = (START - timedelta(seconds=age)).isoformat()
    spec = world.spec.model_dump(by_alias=True)
    common = {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": created}
    return {"metadata": common | metadata, "spec": spec, "status": world.status.wire()}


def queued(content: dict[str, Any] = DISTILL) -> World:
    world = bounded(content)
    world.ahead = 2
    world.go()
    return world


def test_a_job_beyond_the_limit_is_queued_with_a_reason() -> None:
    world = queued(TUNE)
    assert (world.status.state, world.reason("Running")) == ("Queued", "TooManyJobs")
    assert "bounds.maxRunningJobs in the chart's values allows 2" in world.message("Running")
    assert world.reason("Accepted") == "Accepted"
    assert world.children == []
    assert reconcile(world.seen).idle, "nothing is asked of the cluster while it waits"


def test_a_queued_job_begins_when_it_is_its_turn() -> None:
    world = queued()
    world.wait(50)
    world.ahead = 1
    world.go()
    assert (world.status.state, world.newest.step) == ("Pending", "Open")
    assert world.status.start_time == world.now, "the clock of its deadline stood while it waited"


def test_a_place_is_taken_before_a_child_is_created() -> None:
    world = bounded()
    decision = world.decide()
    assert decision.create is None
    assert decision.status is not None
    assert decision.status.start_time == world.now
    world.do(decision)
    world.ahead = 9  # whoever came meanwhile
    assert world.decide().create is not None


def test_a_job_that_runs_keeps_its_place_from_step_to_step() -> None:
    world = bounded(TUNE)
    world.go()
    world.ahead = 9
    world.succeeds()
    world.go()
    world.fails()
    world.go()
    world.wait(10)
    world.go()
    assert [(child.step, child.attempt) for child in world.children] == [
        ("Open", 1),
        ("Work", 1),
        ("Work", 2),
    ]


def test_a_job_that_waits_for_its_peer_takes_no_place() -> None:
    world = bounded(TUNE)
    world.incoming = NotYet("none there")
    world.go()
    assert world.status.start_time is None
    assert room_of([found("early", world)]).ahead("other") == 0


def test_a_suspended_job_leaves_its_place_and_waits_for_another() -> None:
    world = bounded()
    world.go()
    world.change(suspend=True)
    world.go()
    world.sweep()
    assert room_of([found("paused", world)]).ahead("other") == 0
    world.change(suspend=False)
    world.ahead = 2
    world.go()
    assert (world.status.state, world.reason("Running")) == ("Queued", "TooManyJobs")
    world.ahead = 0
    world.go()
    assert (world.newest.attempt, world.status.attempts) == (1, 1), "it was no failure"
    assert world.reason("Suspended") == "NotSuspended"


def test_a_round_more_waits_for_a_place() -> None:
    world = bounded(backoffLimit=0)
    world.go()
    world.fails(retryable=False)
    world.go()
    world.change(retries=1)
    world.ahead = 2
    world.go()
    assert world.reason("Running") == "TooManyJobs"
    world.ahead = 0
    world.go()
    assert (world.newest.round, world.newest.attempt) == (1, 2)


def test_a_queued_job_can_be_cancelled_and_suspended() -> None:
    for change, state in (({"cancel": True}, "Cancelled"), ({"suspend": True}, "Suspended")):
        world = queued()
        world.change(**change)
        world.go()
        assert world.status.state == state
        assert room_of([found("gone", world)]).next(9) == []


def test_those_that_waited_longer_come_first() -> None:
    running = bounded()
    running.go()
    jobs = [
        found("young", queued(), age=1),
        found("runs", running),
        found("old", queued(), age=9),
        found("going", queued(), age=99, deletionTimestamp="now"),
    ]
    room = room_of(jobs)
    assert {name: room.ahead(f"uid-of-{name}") for name in ("runs", "old", "young", "new")} == {
        "runs": 2,  # it has its place, and is not asked
        "old": 1,
        "young": 2,
        "new": 3,
    }
    assert (room.next(1), room.next(2), room.next(9)) == ([], ["old"], ["old", "young"])


def test_what_has_ended_has_no_place_and_what_kueue_queued_has_one() -> None:
    ended, kueue = bounded(), bounded()
    for world in (ended, kueue):
        world.go()
    ended.fails(retryable=False)
    ended.go()
    kueue.becomes(Phase.QUEUED)
    kueue.go()
    assert kueue.status.start_time is None
    assert room_of([found("ended", ended), found("kueue", kueue)]).ahead("other") == 1


def test_no_bound_counts_nothing() -> None:
    world = World(spec_of(DISTILL))
    world.ahead = 1000
    world.go()
    assert world.newest.step == "Open"


def test_the_longest_deadline_ends_a_job_that_names_none() -> None:
    world = World(spec_of(DISTILL))
    bounds = SETTINGS.bounds.model_copy(update={"max_active_deadline_seconds": 60})
    world.settings = SETTINGS.model_copy(update={"bounds": bounds})
    world.go()
    assert world.work_plan().backstop == {"activeDeadlineSeconds": 120}
    world.wait(59)
    world.go()
    assert world.status.state == "Pending"
    world.wait(1)
    world.go()
    assert world.reason("Failed") == "DeadlineExceeded"
    assert "bounds.maxActiveDeadlineSeconds: 60" in world.message("Failed")
