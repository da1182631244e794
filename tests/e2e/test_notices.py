"""What parties learn of each other: why a stage failed, and how private an adapter is."""

import pytest

from cluster.jobs import condition, is_in, tells
from cluster.killing import kill
from cluster.organizations import Organization
from cluster.processes import wait_for
from cluster.stages import distill, tune, tune_privately

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

HEARD = "lab reports that its Distill question failed on"


def phases(organization: Organization, name: str, auxiliary: str) -> list[str]:
    """Read how far the pods of an auxiliary step are: what they tell is known before they end."""
    return [pod["status"]["phase"] for pod in organization.pods(name, auxiliary)]


def test_a_job_hears_why_what_it_waits_for_failed_and_takes_what_a_retry_sends(
    parties: tuple[Organization, Organization],
) -> None:
    lab, hospital = parties
    hospital.submit("answer", tune("question", steps=4))
    hospital.reaches("answer", tells("the job starts when it arrives", "Accepted"))
    lab.submit("question", distill(steps=500, backoffLimit=0))
    kill(lab.space, lab.running("question", "work"), "offsite run")
    failed = lab.reaches("question", is_in("Failed"))
    status = hospital.reaches("answer", tells(HEARD, "Accepted"))
    assert condition(status, "Accepted").endswith(" UTC: StageFailed")
    assert (status.state, status.attempts) == ("Pending", None)
    assert HEARD in hospital.space.events("answer")
    assert lab.status("question") == failed
    wait_for(lambda: phases(lab, "question", "notify") == ["Succeeded"])
    wait_for(lambda: phases(hospital, "answer", "readnotice") == ["Succeeded"])
    lab.change("question", retries=1)
    lab.reaches("question", is_in("Complete"), 600)
    assert hospital.reaches("answer", is_in("Complete"), 600).attempts == 1
    assert len(lab.pods("question", "notify")) == 1


def test_a_private_adapter_states_its_privacy_and_passes_the_gate(
    parties: tuple[Organization, Organization],
) -> None:
    lab, hospital = parties
    lab.submit("emulator", distill())
    hospital.submit("private", tune_privately("emulator", steps=4))
    status = hospital.reaches("private", is_in("Complete"), 600)
    assert status.privacy is not None
    assert 0 < status.privacy.epsilon <= 8
    assert (status.privacy.unit, status.privacy.steps) == ("group:patient", 4)
    assert status.egress is not None
    sent = {fact.name: fact.value for fact in status.egress.facts}
    assert sent["privacy.epsilon"] == str(status.privacy.epsilon)
    measured = {figure.name: figure.value for figure in status.egress.figures}
    assert measured["inspection_crossed.signs"] == "0"
    assert {"validation_after.loss", "row_ratio.ratio"} <= measured.keys()
