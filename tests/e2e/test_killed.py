"""`kill -9` of each process in the middle of a job: installed as users do."""

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


def test_a_killed_driver_on_ray_goes_on_from_its_checkpoint(lab: Organization) -> None:
    lab.submit("driven", distill(steps=LONG, engine="RayJob"))
    lab.reaches("driven", training, 400)
    kill(lab.space, lab.running("driven", "work", ray="head"), "offsite run")
    status = lab.reaches("driven", is_in("Complete"), 800)
    assert (status.attempts, status.engine) == (2, "RayJob")


def test_a_killed_head_comes_back_and_the_work_is_done(lab: Organization) -> None:
    lab.submit("headless", distill(steps=LONG, engine="RayJob"))
    lab.reaches("headless", training, 400)
    head = lab.running("headless", "work", ray="head")
    kill(lab.space, head)
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}=1"
    lab.space.wait(restarts, f"pod/{head}")
    # its submitter submits it anew, in the same attempt
    assert lab.reaches("headless", is_in("Complete"), 800).engine == "RayJob"


def test_a_killed_submitter_loses_nothing(lab: Organization) -> None:
    lab.submit("submitted", distill(steps=LONG, engine="RayJob"))
    lab.reaches("submitted", training, 400)
    kill(lab.space, lab.running("submitted", "work", ray="submitter"))
    assert lab.reaches("submitted", is_in("Complete"), 800).attempts == 1
