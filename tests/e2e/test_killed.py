"""`kill -9` of the runner, a Publish and the operator; `make chaos` kills those of Ray, too."""

import pytest

from cluster.jobs import is_in
from cluster.killing import kill, kill_all, started
from cluster.organizations import OPERATORS, Organization
from cluster.stages import distill
from cluster.trainings import LONG, first_step, training

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_a_killed_runner_goes_on_from_its_checkpoint(lab: Organization) -> None:
    lab.submit("killed", distill(steps=LONG))
    lab.reaches("killed", training)
    kill(lab.space, lab.running("killed", "work"), "offsite run")
    lab.reaches("killed", lambda status: status.attempts == 2)
    pod = lab.running("killed", "work")
    assert first_step(lab, pod) > 1
    assert lab.reaches("killed", is_in("Complete"), 600).attempts == 2


def test_a_killed_publish_is_repeated_without_training_again(lab: Organization) -> None:
    lab.submit("unsent", distill(steps=20))
    # when its process begins: it may be done before the API server tells that it runs
    kill_all(started(lab.begun("unsent", "publish"), "offsite run"))
    assert lab.reaches("unsent", is_in("Complete")).attempts == 2
    assert len(lab.pods("unsent", "work")) == 1


def test_a_killed_operator_finds_its_jobs_again(lab: Organization) -> None:
    lab.submit("orphan", distill(steps=LONG))
    lab.running("orphan", "work")
    (operator,) = lab.space.get("pods", OPERATORS)["items"]
    kill(lab.space, operator["metadata"]["name"], "offsite_operator")
    assert lab.reaches("orphan", is_in("Complete"), 600).attempts == 1
    assert len(lab.pods("orphan", "work")) == 1
    name = f"pod/{operator['metadata']['name']}"
    assert lab.space.get(name)["status"]["containerStatuses"][0]["restartCount"] > 0
