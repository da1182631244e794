"""What becomes of a job that has ended, as the operator settles it and the CLI reads it."""

from typing import Any

import pytest

from offsite_cli.cluster.job_status import is_settled
from offsite_cli.cluster.lifecycle import retry_patch
from offsite_operator.observe.model import Phase
from offsite_testing.world import DISTILL, World, spec_of


def running() -> World:
    world = World(spec_of(DISTILL), incoming=None)
    world.go()
    world.becomes(Phase.RUNNING)
    world.go()
    return world


def resource(world: World) -> dict[str, Any]:
    """What the API server has of the job."""
    return {
        "metadata": {"name": "tune-1", "generation": world.generation},
        "spec": world.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "status": world.status.wire(),
    }


def complete() -> World:
    world = running()
    for _ in ("Open", "Work", "Publish"):
        world.succeeds()
        world.go()
    return world


def test_a_retry_of_what_is_complete_is_settled_at_once() -> None:
    world = complete()
    world.change(retries=1)
    assert not is_settled(resource(world))
    world.go()
    assert is_settled(resource(world))
    assert (world.status.state, world.status.retries) == ("Complete", 1)


def test_retries_that_were_heeded_are_never_taken_back() -> None:
    world = complete()
    world.change(retries=2)
    world.go()
    world.change(retries=0)
    world.go()
    assert world.status.retries == 2


@pytest.mark.parametrize("first", ["retry", "cancel", "both"])
def test_what_was_retried_and_cancelled_is_settled_and_can_be_retried(first: str) -> None:
    world = running()
    changes: dict[str, dict[str, Any]] = {"retry": {"retries": 1}, "cancel": {"cancel": True}}
    order = {
        "retry": [changes["retry"], changes["cancel"]],
        "cancel": [changes["cancel"], changes["retry"]],
        "both": [changes["retry"] | changes["cancel"]],
    }
    for change in order[first]:
        world.change(**change)
        world.go()
        world.sweep()
        world.go()
    assert world.status.state == "Cancelled"
    assert is_settled(resource(world))
    assert retry_patch(resource(world)) == {"retries": 2, "cancel": False}
    world.change(retries=2, cancel=False)
    assert not is_settled(resource(world))
    world.go()
    assert (world.status.state, world.newest.round) == ("Pending", 2)


def test_a_failed_job_that_is_cancelled_afterwards_is_settled_and_can_be_retried() -> None:
    world = running()
    world.fails("DataError", retryable=False)
    world.go()
    world.change(retries=1, cancel=True)
    world.go()
    assert is_settled(resource(world))
    assert world.status.state == "Failed"
    assert retry_patch(resource(world)) == {"retries": 2, "cancel": False}


def test_a_retry_reports_the_old_child_that_it_waits_for() -> None:
    world = running()
    world.change(cancel=True)
    world.go()
    world.hang()
    world.change(retries=1, cancel=False)
    world.wait(60)
    assert world.go().again == 15
    assert (world.status.state, world.reason("Running")) == ("Cancelled", "WaitingForPod")
    assert not is_settled(resource(world))
    world.sweep()
    world.go()
    assert (world.status.state, world.newest.round) == ("Pending", 1)
