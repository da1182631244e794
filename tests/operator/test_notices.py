"""What is decided about a stage that failed: whom to tell, what to hear, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offsite.events import NoticeRead
from offsite.sealing import Disclosure, Notice
from offsite_operator.decide.events import new_events
from offsite_operator.manifests.children import NewChild
from offsite_operator.observe.model import Found, NotYet, Phase, Refused, Rejection
from offsite_operator.observe.step_log import StepReport
from offsite_testing.world import DIGEST, DISTILL, PLUG_IN, SETTINGS, TUNE, World, spec_of

NOTICE = "sha256:" + "c" * 64


def world(disclosed: Disclosure = Disclosure.REASON, **changes: Any) -> World:
    chosen = SETTINGS.model_copy(update={"notices": disclosed})
    return World(spec_of(changes.pop("content", TUNE), **changes), settings=chosen)


def fail(job: World, to: str = "Work", reason: str = "DataError") -> World:
    """Let a step fail for good."""
    job.go()
    while job.newest.step != to:
        job.succeeds()
        job.go()
    job.fails(reason, retryable=False)
    job.do(job.decide())
    return job


def task(created: NewChild | None) -> Any:
    assert created is not None
    return json.loads(created.task["data"]["task.json"])


def auxiliary_steps(job: World) -> list[str]:
    return [child.name for child in job.children if child.step in ("ReadNotice", "Notify")]


@pytest.mark.parametrize("content", [DISTILL, TUNE, PLUG_IN], ids=lambda each: str(each["stage"]))
def test_the_peer_is_told_once_that_a_job_failed(content: Any) -> None:
    job = fail(world(content=content))
    told = task(job.decide().create)
    assert (told["step"], told["round"], told["reason"]) == ("Notify", 1, "StageFailed")
    assert told["message"] == ""
    assert told.get("answers") == (None if content is DISTILL else DIGEST)
    job.go()
    assert auxiliary_steps(job) == ["tune-1-0f3c5a-1-n"]
    before = job.status
    for end in (job.succeeds, job.fails):
        end()
        assert job.go().idle
        assert job.status == before
    assert len(auxiliary_steps(job)) == 1


def test_as_much_is_told_as_the_policy_allows() -> None:
    job = fail(world(Disclosure.MESSAGE), "Open")
    assert notice_of(job) == {"stage": "Tune", "reason": "DataError", "message": "so it is"}
    job = fail(world(Disclosure.NONE))
    job.go()
    assert auxiliary_steps(job) == []


def test_what_was_given_up_after_many_attempts_is_told() -> None:
    job = world(backoffLimit=0)
    job.go()
    job.fails()
    job.go()
    assert task_reason(job) == "BackoffLimitExceeded"


def late(job: World) -> None:
    job.wait(61)
    job.do(job.decide())


def given_up(job: World) -> None:
    job.fails("RuntimeError")
    job.do(job.decide())


def wrong(reason: str) -> Callable[[World], None]:
    def end(job: World) -> None:
        job.fails(reason, retryable=False)
        job.do(job.decide())

    return end


@pytest.mark.parametrize("disclosed", [Disclosure.REASON, Disclosure.MESSAGE])
@pytest.mark.parametrize("step", ["Work", "Publish"])
def test_after_private_data_was_read_all_failures_look_alike(
    step: str, disclosed: Disclosure
) -> None:
    """A peer could have made its bundle so that the reason answers a question about the data."""
    told = set()
    for end in (wrong("DataError"), wrong("BundleError"), wrong("InputError"), given_up, late):
        job = world(disclosed, backoffLimit=0, activeDeadlineSeconds=60)
        job.go()
        while job.newest.step != step:
            job.succeeds()
            job.go()
        end(job)
        assert job.status.state == "Failed"
        told.add((job.reason("Failed"), json.dumps(notice_of(job))))
    assert len({reason for reason, _ in told}) == 5
    assert {each for _, each in told} == {
        json.dumps({"stage": "Tune", "reason": "StageFailed", "message": ""})
    }


@pytest.mark.parametrize(
    ("step", "told"), [("Work", "SuspiciousEmulator"), ("Publish", "StageFailed")]
)
def test_a_suspicious_emulator_is_refused_before_private_data_is_read(step: str, told: str) -> None:
    job = fail(world(Disclosure.MESSAGE), step, "SuspiciousEmulator")
    assert notice_of(job) == {"stage": "Tune", "reason": told, "message": ""}


def notice_of(job: World) -> Any:
    """Return what the peer is told, from the task of the pod that sends the notice."""
    found = task(job.decide().create)
    return Notice.of("Tune", found["reason"], found.get("message", "")).wire()


@pytest.mark.parametrize("reason", ["BundleError", "NotAllowedError"])
def test_before_private_data_were_read_the_reason_is_told(reason: str) -> None:
    assert task_reason(fail(world(), "Open", reason)) == reason


def task_reason(job: World) -> str:
    job.children = [child for child in job.children if child.step != "Notify"]
    reason: str = task(job.decide().create)["reason"]
    return reason


def test_nothing_is_told_of_what_was_cancelled_or_never_accepted() -> None:
    cancelled = world()
    cancelled.go()
    cancelled.change(cancel=True)
    refused, forbidden = world(), world(peer="clinic")
    refused.incoming = NotYet("none there")
    refused.go()
    refused.change(cancel=True)
    for job in (cancelled, refused, forbidden):
        job.go()
        job.sweep()
        job.go()
        assert auxiliary_steps(job) == []
        assert job.reason("Failed") in ("Cancelled", "NotAllowed")


def test_a_bundle_that_is_refused_is_told_to_its_sender() -> None:
    job = world()
    job.incoming = Refused("its signature is wrong", None)
    job.go()
    assert task_reason(job) == "BundleError"


def test_what_failed_long_ago_is_not_told() -> None:
    job = fail(world())
    job.wait(3601)
    assert job.go().idle
    assert auxiliary_steps(job) == []


@pytest.mark.parametrize("change", ["no peer", "not ready", "rejected"])
def test_what_keeps_it_from_being_told_is_waited_out(change: str) -> None:
    job = fail(world())
    peer = job.peer
    assert peer is not None
    if change == "rejected":
        job.rejection = Rejection(403, "exceeded quota")
    else:
        job.peer = None if change == "no peer" else replace(peer, public="others")
    assert job.go().idle
    assert auxiliary_steps(job) == []
    job.peer, job.rejection = peer, None
    job.go()
    assert len(auxiliary_steps(job)) == 1


def test_each_round_of_a_job_is_told() -> None:
    job = fail(world())
    job.go()
    job.succeeds()
    job.change(retries=1)
    fail(job, "Open", "BundleError").go()
    assert auxiliary_steps(job) == ["tune-1-0f3c5a-1-n", "tune-1-0f3c5a-2-n"]
    assert job.status.attempts == 2


def test_a_retry_does_not_wait_for_it() -> None:
    job = fail(world())
    job.go()
    assert job.newest.active
    job.change(retries=1)
    job.go()
    assert [child.step for child in job.children if child.active] == ["Notify", "Open"]


def test_a_job_is_not_deleted_before_its_peer_was_told() -> None:
    job = fail(world(ttlSecondsAfterFinished=0))
    job.go()
    assert not job.deleted
    assert len(auxiliary_steps(job)) == 1
    assert job.decide().again == 15
    job.fails()
    job.do(job.decide())
    assert job.deleted


def waiting(notice: str = NOTICE) -> World:
    job = world()
    job.incoming = NotYet("none there", notice)
    job.go()
    return job


def says(text: str) -> dict[str, Any]:
    return {"notice": NoticeRead(reason="DataError", message=text)}


def test_a_job_that_waits_hears_why_and_waits_on() -> None:
    job = waiting()
    assert auxiliary_steps(job) == ["tune-1-0f3c5a-cccccccc-r"]
    assert job.message("Accepted") == "none there"
    job.becomes(Phase.RUNNING)
    job.go()
    assert job.message("Accepted") == "none there"
    before = job.status
    job.succeeds(**says("lab reports that its Distill question failed"))
    job.go()
    assert job.reason("Accepted") == "WaitingForBundle"
    assert job.message("Accepted") == "none there; lab reports that its Distill question failed"
    (told,) = new_events(before, job.status)
    assert (told.type, told.message) == ("Warning", job.message("Accepted"))
    assert job.status.state == "Pending"
    job.incoming = Found(DIGEST, "question", 1, None)
    job.go()
    assert job.newest.step == "Open"
    assert job.status.attempts == 1


def test_the_notice_that_was_found_is_pinned() -> None:
    job = world()
    job.incoming = NotYet("none there", NOTICE)
    heard = task(job.decide().create)
    assert (heard["step"], heard["notice"]) == ("ReadNotice", NOTICE)


def test_what_cannot_be_heard_is_told_and_waited_on() -> None:
    job = waiting()
    job.fails("BundleError", retryable=False)
    assert job.go().idle
    message = job.message("Accepted")
    assert message.startswith("none there; lab reported a failure")
    assert "tune-1-0f3c5a-cccccccc-r" in message
    assert job.status.state == "Pending"
    job.incoming = NotYet("none there")
    job.go()
    assert job.message("Accepted") == "none there"


def test_an_auxiliary_step_whose_pod_failed_may_be_tried_again() -> None:
    job = waiting()
    job.becomes(Phase.FINISHING, report=StepReport(ended=True))
    assert job.go().idle
    assert job.message("Accepted") == "none there"


def test_a_newer_notice_is_heard_and_a_flood_of_them_is_not() -> None:
    job = waiting()
    for number in range(20):
        job.succeeds(**says(f"number {number}"))
        job.incoming = NotYet("none there", f"sha256:{number:02}" + "d" * 62)
        job.go()
    assert len(auxiliary_steps(job)) == 8
    assert job.message("Accepted") == "none there"


def test_a_child_that_is_not_taken_keeps_no_job_from_waiting() -> None:
    job = world()
    job.incoming, job.rejection = NotYet("none there", NOTICE), Rejection(403, "exceeded quota")
    job.go()
    assert job.reason("Accepted") == "WaitingForBundle"
    assert auxiliary_steps(job) == []


def test_what_is_suspended_or_cancelled_hears_nothing() -> None:
    for change in ({"suspend": True}, {"cancel": True}):
        job = waiting()
        job.change(**change)
        job.go()
        assert not any(child.active for child in job.children)


WHAT = st.sampled_from(["runs", "succeeds", "fails", "retry", "cancel", "sweep", "notice", "found"])


@given(st.lists(st.tuples(WHAT, st.integers(0, 5), st.integers(0, 400)), max_size=30))
def test_auxiliary_steps_never_change_the_outcome(happenings: list[Any]) -> None:
    job = world()
    job.incoming = NotYet("none there")
    for what, parts, seconds in happenings:
        verdict = job.status if job.status.state in ("Complete", "Failed") else None
        auxiliary = bool(job.children) and job.newest.step in ("ReadNotice", "Notify")
        happen(job, what)
        job.do(job.decide(), up_to=parts)  # it may be cut off anywhere
        job.go()
        assert sum(c.active for c in job.children if c.step not in ("ReadNotice", "Notify")) <= 1
        assert len(set(auxiliary_steps(job))) == len(auxiliary_steps(job))
        if verdict and auxiliary and what in ("runs", "succeeds", "fails", "notice", "found"):
            assert job.status == verdict
        job.wait(seconds)


def happen(job: World, what: str) -> None:
    live = bool(job.children) and job.newest.active
    if what == "notice":
        job.incoming = NotYet("none there", NOTICE)
    elif what == "found":
        job.incoming = Found(DIGEST, "question", 1, None)
    elif what == "retry":
        job.change(retries=job.spec.retries + 1, cancel=False)
    elif what == "cancel":
        job.change(cancel=True)
    elif what == "sweep":
        job.sweep()
    elif live:
        {
            "runs": lambda: job.becomes(Phase.RUNNING),
            "succeeds": job.succeeds,
            "fails": job.fails,
        }[what]()
