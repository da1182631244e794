"""The warning of a job that requests too little memory."""

from offsite.events import Estimate
from offsite_operator.decide.events import new_events
from offsite_operator.observe.model import Phase
from offsite_testing.world import TUNE, World, spec_of

_MESSAGE = "the job needs about 9.0 GiB of memory; set tune.training.accumulate: 8"


def opened(memory: int) -> World:
    world = World(spec_of(TUNE))
    world.go()
    world.succeeds(estimate=Estimate(memory_bytes=memory, message=_MESSAGE))
    return world


def test_a_job_that_requests_too_little_memory_is_warned_of_and_runs() -> None:
    world = opened(9 << 30)
    before = world.status
    world.go()
    assert world.reason("MemorySufficient") == "MemoryTooSmall"
    assert world.message("MemorySufficient") == _MESSAGE
    assert world.newest.step == "Work"
    warnings = [each for each in new_events(before, world.status) if each.type == "Warning"]
    assert [each.reason for each in warnings] == ["MemoryTooSmall"]


def test_a_job_that_requests_enough_gets_no_event_of_it() -> None:
    world = opened(1 << 30)
    before = world.status
    world.go()
    assert world.reason("MemorySufficient") == "Sufficient"
    assert not [e for e in new_events(before, world.status) if "Sufficient" in e.reason]


def test_the_warning_is_given_once() -> None:
    world = opened(9 << 30)
    world.go()
    before = world.status
    world.go()
    assert not new_events(before, world.status)


def test_what_is_not_known_is_unknown() -> None:
    world = World(spec_of(TUNE))
    world.go()
    world.succeeds()
    world.go()
    assert world.reason("MemorySufficient") == "NotChecked"


def test_a_suspended_job_goes_on_with_the_same_attempt() -> None:
    world = opened(9 << 30)
    world.go()
    world.becomes(Phase.RUNNING)
    world.go()
    world.change(suspend=True)
    world.go()
    world.sweep()
    world.go()
    world.change(suspend=False)
    world.go()
    assert (world.newest.step, world.newest.attempt) == ("Work", 1)
    assert world.reason("MemorySufficient") == "MemoryTooSmall"
