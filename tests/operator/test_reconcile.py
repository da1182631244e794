"""What is decided about a job, through its whole life."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offsite.events import Artifact, Done, Failed, Metric, PrivacyReport, Progress
from offsite.resources import Accepted
from offsite_operator.decide.attempts import STEPS, current
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.reconcile import reconcile
from offsite_operator.observe.builder import job_of
from offsite_operator.observe.model import (
    ChildState,
    Found,
    NotYet,
    Phase,
    Refused,
    Rejection,
    StartupProblem,
    Unreachable,
)
from offsite_operator.observe.step_log import StepReport
from offsite_testing.world import DIGEST, DISTILL, PLUG_IN, START, TUNE, World, spec_of


def tune(**changes: object) -> World:
    return World(spec_of(TUNE, **changes))


def names(world: World) -> list[str]:
    return [child.name for child in world.children]


def steps(world: World) -> list[str]:
    return [f"{child.attempt}-{child.step}" for child in world.children]


def through(world: World, *, to: str = "Publish") -> World:
    """Let steps succeed, until one has begun."""
    world.go()
    while world.newest.step != to:
        world.succeeds()
        world.go()
    return world


def test_tune_opens_works_and_publishes() -> None:
    world = through(tune())
    assert names(world) == [f"tune-1-0f3c5a-1-{step}" for step in "owp"]
    artifact = Artifact(name="tune-1", digest=DIGEST, uri="s3://exchange/x", size_bytes=5)
    world.succeeds(artifact=artifact)
    world.go()
    assert (world.status.state, world.reason("Complete")) == ("Complete", "Published")
    assert world.status.artifact is not None
    assert world.status.artifact.size_bytes == 5
    assert world.status.completion_time == world.now


def test_distill_looks_at_keys_and_stores_first_and_opens_no_envelope() -> None:
    world = World(spec_of(DISTILL), incoming=None)
    world.go()
    assert steps(world) == ["1-Open"]
    through(world)
    assert steps(world) == ["1-Open", "1-Work", "1-Publish"]
    assert world.status.envelope is None


def test_exchange_credentials_that_are_refused_end_a_distill_before_its_work() -> None:
    world = World(spec_of(DISTILL), incoming=None)
    world.go()
    world.fails(retryable=False, reason="NotAllowedError")
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "NotAllowedError")
    assert steps(world) == ["1-Open"]


def test_plug_in_sends_nothing_and_gets_no_sequence() -> None:
    world = through(World(spec_of(PLUG_IN)))
    assert world.status.sequence is None
    assert world.peer is not None
    assert world.peer.status.allotted == []


def test_an_envelope_is_recorded_before_anything_may_open_it() -> None:
    world = tune()
    decision = world.decide()
    assert decision.ledger is not None
    assert decision.ledger.accepted == [Accepted(bundle="question", sequence=1, envelope=DIGEST)]
    assert decision.create is None
    world.do(decision)
    assert world.status.envelope == DIGEST
    created = world.decide().create
    assert created is not None
    assert f'"envelope":"{DIGEST}"' in created.task["data"]["task.json"]


def test_a_sequence_is_recorded_before_anything_may_use_it() -> None:
    world = through(tune(), to="Work")
    world.succeeds()
    decision = world.decide()
    assert decision.ledger is not None
    assert [entry.sequence for entry in decision.ledger.allotted] == [1]
    assert decision.create is None
    world.go()
    assert world.status.sequence == 1
    assert world.newest.step == "Publish"


@pytest.mark.parametrize(
    ("incoming", "reason"),
    [
        (NotYet("none there"), "WaitingForBundle"),
        (Unreachable("no answer"), "ExchangeUnreachable"),
    ],
)
def test_waits_for_the_peer(incoming: NotYet | Unreachable, reason: str) -> None:
    world = tune()
    world.incoming = incoming
    world.go()
    assert (world.status.state, world.reason("Accepted")) == ("Pending", reason)
    assert world.children == []
    world.incoming = Found(DIGEST, "question", 1, None)
    world.go()
    assert world.reason("Accepted") == "Accepted"
    assert steps(world) == ["1-Open"]


def test_what_is_refused_fails_and_a_tombstone_is_remembered() -> None:
    world = tune()
    world.incoming = Refused("taken back", Found(DIGEST, "question", 2, None))
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "BundleError")
    assert world.peer is not None
    assert [entry.sequence for entry in world.peer.status.accepted] == [2]


def test_waits_for_an_offsite_peer() -> None:
    world = tune()
    world.peer = None
    world.go()
    assert world.reason("Accepted") == "PeerNotFound"
    assert "there is no OffsitePeer lab" in world.message("Accepted")


def test_what_is_not_allowed_fails_at_once() -> None:
    world = tune(peer="somebody")
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "NotAllowed")
    assert world.reason("Accepted") == "NotAllowed"


def test_auto_takes_what_the_cluster_has() -> None:
    plain, ray = tune(), tune()
    plain.ray = False
    assert through(plain, to="Work").newest.kind == "Job"
    assert through(ray, to="Work").newest.kind == "RayJob"
    assert through(ray).newest.kind == "Job"


def test_a_spec_of_another_version_waits_with_a_reason() -> None:
    times = {"creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1"}
    found = {"metadata": {"name": "newer", "uid": "u", **times}, "spec": TUNE | {"fresh": 1}}
    decision = reconcile(replace(tune().seen, job=job_of(found)))
    assert decision.status is not None
    accepted = next(c for c in decision.status.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "InvalidSpec")
    assert "fresh" in accepted.message
    assert "upgrade the charts" in accepted.message


@pytest.mark.parametrize("asks", [{"runtime": {"engine": "RayJob"}}, {"resources": {"workers": 2}}])
def test_what_needs_ray_waits_where_there_is_no_kuberay(asks: dict[str, Any]) -> None:
    world = tune(**asks)
    world.ray = False
    world.go()
    assert world.reason("Accepted") == "NoKubeRay"
    world.ray = True
    assert through(world, to="Work").newest.kind == "RayJob"


@pytest.mark.parametrize(
    ("phase", "state", "reason"),
    [
        (Phase.PENDING, "Pending", "WaitingForPod"),
        (Phase.QUEUED, "Queued", "WaitingForPod"),
        (Phase.RUNNING, "Running", "Training"),
        (Phase.FINISHING, "Running", "Training"),
    ],
)
def test_a_child_under_way(phase: Phase, state: str, reason: str) -> None:
    world = through(tune(), to="Work")
    world.becomes(phase)
    world.go()
    assert (world.status.state, world.reason("Running")) == (state, reason)


def test_a_shortage_waits_with_a_reason() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.PENDING, startup_problem=StartupProblem("Unschedulable", "no GPU"))
    decision = world.go()
    assert world.message("Running") == "no GPU"
    assert decision.again == 15
    world.wait(100_000)
    world.go()
    assert world.status.state == "Pending"


def test_a_wrong_image_fails_and_its_pod_is_stopped() -> None:
    world = through(tune(), to="Work")
    world.becomes(
        Phase.PENDING,
        startup_problem=StartupProblem("ImagePullFailed", "no such image", fatal=True),
    )
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "ImagePullFailed")
    assert world.newest.deleting


def test_progress_and_figures_are_told() -> None:
    world = through(tune(), to="Work")
    metric = Metric(
        name="accuracy",
        setting="tuned",
        value=0.5,
        text="t",
        interval=(0.25, 0.75),
        over="untuned",
        gain=0.25,
        gain_interval=(0.125, 0.5),
    )
    progress = Progress(phase="tune", step=3, total_steps=9, percent=33.3)
    told = StepReport(progress, START, {("accuracy", "tuned"): metric})
    world.becomes(Phase.RUNNING, report=told)
    assert world.go().again == 4  # then its log is read on
    assert world.status.progress is not None
    assert (world.status.progress.step, world.status.progress.updated_at) == (3, START)
    assert world.status.metrics == []  # it may fail yet
    world.becomes(Phase.SUCCEEDED, report=replace(told, last=Done(), ended=True))
    world.go()
    (found,) = world.status.metrics
    assert (found.name, found.value, found.text) == ("accuracy", "0.5", "t")
    assert found.interval == ["0.25", "0.75"]
    assert (found.over, found.gain, found.gain_interval) == ("untuned", "0.25", ["0.125", "0.5"])


BOUND = PrivacyReport(
    epsilon=8.0, delta=8e-05, unit="row", sampling_rate=0.01, steps=9, noise_multiplier=0.7
)


def test_the_privacy_that_was_sealed_is_told() -> None:
    world = through(tune(), to="Publish")
    world.succeeds(privacy=BOUND)
    world.go()
    assert world.status.privacy is not None
    assert world.status.privacy.wire() == {k: v for k, v in BOUND.wire().items() if k != "event"}


def test_privacy_that_the_image_of_an_author_claims_is_not_told() -> None:
    world = through(tune(), to="Work")
    world.succeeds(privacy=BOUND)
    world.go()
    assert world.status.privacy is None


def test_figures_of_many_attempts_have_an_end() -> None:
    world = through(tune(), to="Work")
    for attempt in range(3):
        keys = [(f"{attempt}-{number}", "s") for number in range(100)]
        metrics = {key: Metric(name=key[0], setting=key[1], value=1.0) for key in keys}
        told = StepReport(metrics=metrics, last=Done())
        world.becomes(Phase.SUCCEEDED, report=told)
        world.go()
        assert len(world.status.metrics) == 100


def test_nonsense_in_a_log_is_passed_over() -> None:
    world = through(tune(), to="Work")
    artifact = Artifact(name="x", digest=DIGEST, uri="s3://exchange/x", size_bytes=-5)
    told = StepReport(Progress(percent=900.0), START, {}, artifact)
    world.becomes(Phase.RUNNING, report=told)
    world.go()
    assert world.status.progress is None
    assert world.status.artifact is None


def test_a_failure_is_tried_again_after_a_while() -> None:
    world = through(tune(), to="Work")
    world.fails()
    decision = world.go()
    assert (world.status.state, world.reason("Running")) == ("Pending", "BackOff")
    assert decision.again == 10
    assert "StorageError: so it is" in world.message("Running")
    world.wait(10)
    world.go()
    assert steps(world) == ["1-Open", "1-Work", "2-Work"]
    world.fails()
    assert world.go().again == 20
    world.wait(20)
    world.go()
    world.fails()
    world.go()
    assert world.reason("Failed") == "BackoffLimitExceeded"
    assert world.status.attempts == 3


def test_what_no_retry_mends_is_not_tried_again() -> None:
    world = through(tune(), to="Work")
    world.fails("DataError", retryable=False)
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "DataError")
    assert world.message("Failed") == "so it is"


def test_a_failed_publish_trains_nothing_again() -> None:
    world = through(tune())
    world.fails()
    world.wait(0)
    world.go()
    world.wait(10)
    world.go()
    assert steps(world) == ["1-Open", "1-Work", "1-Publish", "2-Publish"]
    assert world.status.sequence == 1


@pytest.mark.parametrize("to", ["Open", "Work", "Publish"])
def test_a_failed_child_is_not_done_whatever_its_log_contains(to: str) -> None:
    world = through(tune(), to=to)
    artifact = Artifact(name="tune-1", digest=DIGEST, uri="s3://exchange/x", size_bytes=5)
    metric = Metric(name="perplexity", setting="plug_in", value=1.0)
    told = StepReport(None, None, {("perplexity", "plug_in"): metric}, artifact, last=Done())
    world.becomes(
        Phase.FAILED, report=replace(told, ended=True), reason="BackoffLimitExceeded", message="it"
    )
    world.go()
    assert (world.newest.step, world.newest.attempt) == (to, 1)
    assert world.reason("Running") == "BackOff"
    assert (world.status.artifact, world.status.metrics) == (None, [])


def test_a_log_cannot_set_a_reason_of_the_operator() -> None:
    for said in ("Published", "Cancelled", "NotAllowed", "DeadlineExceeded", "a\nb", "Error"):
        world = through(tune(), to="Work")
        world.fails(said, retryable=False)
        world.go()
        assert (world.status.state, world.reason("Failed")) == ("Failed", "StepFailed")


def test_a_child_that_reports_a_failure_and_exits_with_0_has_failed() -> None:
    again = through(tune(), to="Work")
    last = Failed(reason="DataError", message="bad")
    again.becomes(Phase.SUCCEEDED, report=StepReport(last=last, ended=True))
    again.go()
    assert again.reason("Failed") == "DataError"


def test_success_without_a_word_is_none() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.SUCCEEDED, report=StepReport(ended=True))
    world.go()
    assert "NoResult" in world.message("Running")


def test_an_unread_log_is_waited_for() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.SUCCEEDED)
    decision = world.go()
    assert decision.again == 4
    assert world.newest.step == "Work"


@pytest.mark.parametrize("to", ["Open", "Work", "Publish"])
def test_a_log_that_is_never_read_is_a_failed_attempt(to: str) -> None:
    world = through(tune(), to=to)
    world.becomes(Phase.SUCCEEDED, report=StepReport(unread="its node is gone"))
    world.go()
    assert world.status.state == "Running"
    assert "its log is not readable: its node is gone" in world.message("Running")
    world.wait(299)
    world.go()
    assert world.status.state == "Running"
    world.wait(1)
    world.go()
    assert (world.newest.step, world.newest.attempt) == (to, 2)


def test_a_ray_job_that_a_user_stopped_is_cancelled() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.STOPPED, report=StepReport(ended=True))
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Cancelled", "Cancelled")


def test_an_invalid_rayjob_is_not_tried_again() -> None:
    world = through(tune(), to="Work")
    world.becomes(
        Phase.FAILED, report=StepReport(ended=True), permanent=True, message="name too long"
    )
    world.go()
    assert world.reason("Failed") == "InvalidPod"


@pytest.mark.parametrize("to", ["Open", "Work", "Publish"])
@pytest.mark.parametrize("running", [False, True], ids=["starting", "running"])
def test_a_child_that_is_gone_is_a_failed_attempt(to: str, running: bool) -> None:
    world = through(tune(backoffLimit=3), to=to)
    first = steps(world)
    if running:
        world.becomes(Phase.RUNNING)
        world.go()
    world.wait(3600)  # however long it was there
    delays = []
    for attempt in (2, 3, 4):
        world.children.pop()
        delays.append(world.go().again)
        assert (world.reason("Running"), steps(world)) == ("BackOff", first[:-1])
        assert "Lost" in world.message("Running")
        world.wait(delays[-1] or 0)
        world.go()
        assert steps(world) == [*first[:-1], f"{attempt}-{to}"]
        assert world.status.lost_time is None
    assert delays == [10, 20, 40]
    world.children.clear()
    world.go()
    assert world.reason("Failed") == "BackoffLimitExceeded"
    world.change(retries=1)
    world.go()
    assert world.newest.attempt == 5


def test_attempts_are_counted_although_their_children_are_gone() -> None:
    world = through(tune(backoffLimit=1), to="Work")
    for _ in range(2):
        world.fails()
        world.go()
        del world.children[:-1]
        world.wait(10)
        world.go()
    assert world.reason("Failed") == "BackoffLimitExceeded"


@pytest.mark.parametrize("to", ["Open", "Work", "Publish"])
def test_cancel_stops_what_runs_and_keeps_the_record(to: str) -> None:
    world = through(tune(), to=to)
    world.becomes(Phase.RUNNING)
    world.go()
    world.change(cancel=True)
    world.go()
    assert world.newest.deleting
    assert (world.status.state, world.reason("Failed")) == ("Cancelled", "Cancelled")
    world.sweep()
    world.wait(1000)
    assert world.go().idle


@pytest.mark.parametrize("to", ["Open", "Work", "Publish"])
def test_a_suspension_is_no_attempt_and_its_time_does_not_count(to: str) -> None:
    world = through(tune(activeDeadlineSeconds=100), to=to)
    world.becomes(Phase.RUNNING)
    world.go()
    name = world.newest.name
    world.change(suspend=True)
    world.go()
    assert world.newest.deleting
    assert (world.status.state, world.status.start_time) == ("Suspended", None)
    world.wait(1000)
    world.change(suspend=False)
    world.go()
    assert world.status.state == "Suspended"  # until what ran is gone
    world.sweep()
    world.go()
    assert world.newest.name == name
    assert (world.status.attempts, world.status.start_time) == (1, world.now)
    assert world.reason("Suspended") == "NotSuspended"


def test_a_child_that_is_not_gone_in_time_is_told_and_is_no_attempt() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.RUNNING)
    world.go()
    name = world.newest.name
    world.change(suspend=True)
    world.go()
    world.hang()
    world.change(suspend=False)
    world.wait(20)
    assert world.go().again == 40
    assert world.status.state == "Suspended"
    world.wait(40)
    assert world.go().again == 15
    assert (world.status.state, world.reason("Running")) == ("Pending", "WaitingForPod")
    assert world.message("Running") == f"{name} is being deleted"
    assert f"{name} is being deleted" in world.message("Suspended")
    world.sweep()
    world.go()
    assert (world.newest.name, world.status.attempts) == (name, 1)
    assert world.reason("Suspended") == "NotSuspended"


def test_a_deleted_child_that_does_not_end_in_time_is_reported() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.RUNNING)
    world.go()
    world.hang()
    world.wait(60)
    world.go()
    assert world.message("Running") == f"{world.newest.name} is being deleted"
    world.sweep()
    world.go()
    assert world.reason("Running") == "BackOff"


def test_a_suspended_job_begins_nothing() -> None:
    world = tune(suspend=True)
    world.go()
    assert world.status.state == "Suspended"
    assert world.children == []


def test_a_deadline_ends_a_job_on_time() -> None:
    world = through(tune(activeDeadlineSeconds=100), to="Work")
    world.becomes(Phase.RUNNING)
    world.wait(60)
    assert (world.go().again or 0) <= 40
    world.wait(40)
    world.go()
    assert world.reason("Failed") == "DeadlineExceeded"
    assert world.newest.deleting


@pytest.mark.parametrize("asks", [{"cancel": True}, {"suspend": True}, {}])
@pytest.mark.parametrize("read", [True, False])
def test_a_published_job_is_complete_despite_a_late_cancellation(
    asks: dict[str, Any], read: bool
) -> None:
    """No operator ran for a while, or the log of the step is not read yet."""
    world = through(tune(activeDeadlineSeconds=100))
    world.becomes(Phase.RUNNING)
    world.go()
    world.wait(200)
    if not read:
        world.becomes(Phase.SUCCEEDED, report=StepReport())
        world.change(**asks)
        world.go()
        assert not world.seen.job.finished
    world.change(**asks)
    world.succeeds()
    world.go()
    assert (world.status.state, world.reason("Complete")) == ("Complete", "Published")


def test_what_failed_to_publish_ends_as_it_was_asked_to() -> None:
    world = through(tune())
    world.fails()
    world.change(cancel=True)
    world.go()
    assert world.status.state == "Cancelled"


def test_waiting_in_a_queue_takes_no_time() -> None:
    world = through(tune(activeDeadlineSeconds=100), to="Work")
    for phase in (Phase.QUEUED, Phase.PENDING, Phase.QUEUED):  # it may be put back there
        world.becomes(phase)
        world.wait(60)
        world.go()
    assert (world.status.state, world.status.start_time) == ("Queued", None)
    world.wait(1000)
    assert world.go().idle
    world.becomes(Phase.RUNNING)
    world.go()
    assert (world.status.state, world.status.start_time) == ("Running", world.now)
    world.wait(100)
    world.go()
    assert world.reason("Failed") == "DeadlineExceeded"


def test_waiting_for_a_bundle_takes_no_time() -> None:
    world = tune(activeDeadlineSeconds=100)
    world.incoming = NotYet("none")
    world.go()
    world.wait(1000)
    world.go()
    assert world.reason("Accepted") == "WaitingForBundle"


def test_a_finished_job_is_deleted_in_time() -> None:
    world = through(tune(ttlSecondsAfterFinished=60))
    world.succeeds()
    assert world.go().again == 60
    assert not world.deleted
    world.wait(60)
    world.do(world.decide())
    assert world.deleted


def test_a_retry_of_what_could_not_be_published_publishes_alone() -> None:
    world = through(tune(backoffLimit=0))
    world.fails()
    world.go()
    assert world.reason("Failed") == "BackoffLimitExceeded"
    world.change(retries=1)
    world.go()
    assert steps(world)[3:] == ["2-Publish"]
    assert (world.status.retries, world.status.sequence) == (1, 1)
    assert world.reason("Failed") == "Retried"
    world.succeeds()
    world.go()
    assert world.status.state == "Complete"


def test_a_retry_without_a_valid_result_starts_over() -> None:
    world = through(tune())
    world.fails("BundleError", retryable=False)
    world.go()
    world.change(retries=1)
    world.go()
    assert steps(world)[3:] == ["2-Open"]


def test_a_retry_of_what_failed_before_opens_what_the_peer_sent_since() -> None:
    world = through(tune(), to="Work")
    world.fails("BundleError", retryable=False)
    world.go()
    newer = "sha256:" + "b" * 64
    world.incoming = Found(newer, "question", 2, None)
    world.change(retries=1)
    world.go()
    assert steps(world) == ["1-Open", "1-Work", "2-Open"]
    assert world.status.envelope == newer


def test_a_retry_has_all_its_attempts() -> None:
    world = through(tune(backoffLimit=1), to="Work")
    for _ in range(2):
        world.fails()
        world.go()
        world.wait(300)
        world.go()
    assert world.status.state == "Failed"
    world.change(retries=1)
    through(world, to="Work")
    world.fails()
    world.go()
    assert world.reason("Running") == "BackOff"


def test_a_retry_that_was_asked_for_too_early_is_not_needed_when_the_job_is_complete() -> None:
    world = through(tune())
    world.change(retries=1)
    world.succeeds()
    assert world.go().idle
    assert (world.status.state, world.status.retries) == ("Complete", 1)


def test_a_cancelled_job_is_not_tried_again_while_it_is_cancelled() -> None:
    world = through(tune(), to="Work")
    world.change(cancel=True)
    world.go()
    world.sweep()
    world.change(retries=1)
    world.go()
    assert world.status.state == "Cancelled"
    world.change(cancel=False)
    world.go()
    assert world.newest.round == 1


def test_a_job_that_is_being_deleted_stops_its_children() -> None:
    """A foreign finalizer may block its deletion forever, and the garbage collector waits."""
    world = through(tune(), to="Work")
    seen = replace(world.seen, job=replace(world.seen.job, deleting=True))
    decision = reconcile(seen)
    assert decision == Decision(delete=(world.newest,))
    world.do(decision)
    assert reconcile(replace(seen, children=tuple(world.children))).idle


@pytest.mark.parametrize("content", [TUNE, DISTILL | {"peer": "nobody"}])
def test_a_job_that_is_being_deleted_begins_nothing(content: dict[str, Any]) -> None:
    world = World(spec_of(content))
    assert reconcile(replace(world.seen, job=replace(world.seen.job, deleting=True))).idle


def test_a_name_that_is_taken_is_left_alone() -> None:
    world = tune()
    world.do(world.decide())
    world.rejection = Rejection(409, "a Job of that name is not this job's")
    world.do(world.decide())
    assert world.reason("Running") == "NameTaken"
    assert world.children == []


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (
            403,
            "pods is forbidden: exceeded quota: q, requested: a=1, used: a=1, limited: a=1",
            "exceeded quota: q, requested: a=1, limited: a=1; it starts when",
        ),
        (403, 'User "x" cannot create resource "jobs"', "upgrade the chart"),
        (
            403,
            "forbidden: ValidatingAdmissionPolicy 'offsite-operator-children' denied request: odd",
            "offsite-crds and offsite must have the same version",
        ),
        (
            422,
            "invalid: : ValidatingAdmissionPolicy 'offsite-operator-children' denied: no params",
            "offsite-crds and offsite must have the same version",
        ),
        (500, 'failed calling webhook "k": refused', "webhook"),
        (503, "the server is busy", "the server is busy"),
    ],
)
def test_a_rejected_child_is_reported_and_retried(code: int, said: str, told: str) -> None:
    world = through(tune(), to="Work")
    world.succeeds()
    world.go()
    world.fails()
    world.wait(60)
    world.rejection = Rejection(code, said)
    decision = world.decide()
    world.do(decision)
    assert (world.status.state, decision.create) == ("Pending", None)
    assert world.reason("Running") == "WaitingForPod"
    assert told in world.message("Running")
    assert decision.again == 15


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("ReleaseRefused", ["canary_epsilon"]),
        ("SuspiciousEmulator", ["canary_epsilon"]),
        ("DataError", []),
    ],
)
def test_the_figures_of_a_refused_adapter_are_in_the_status(reason: str, kept: list[str]) -> None:
    world = through(tune(), to="Work")
    metric = Metric(name="epsilon", setting="canary_epsilon", value=3.1)
    said = "the adapter is not published: ε is at least 3.1"
    last = Failed(reason=reason, retryable=False, message=said)
    metrics = {("epsilon", "canary_epsilon"): metric}
    world.becomes(Phase.FAILED, report=StepReport(last=last, ended=True, metrics=metrics))
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", reason)
    assert said in world.message("Failed")
    assert [each.setting for each in world.status.metrics] == kept


def test_what_was_told_is_kept_although_the_next_step_has_to_wait() -> None:
    world = through(tune(), to="Work")
    world.becomes(Phase.RUNNING)
    world.go()
    assert world.seen.job.has("Running")
    metric = Metric(name="perplexity", setting="emulator_tuned", value=2.5, text="private")
    world.succeeds(metrics={("perplexity", "emulator_tuned"): metric})
    world.peer = None
    world.go()
    assert (world.reason("Accepted"), world.reason("Running")) == ("PeerNotFound", "NotAccepted")
    assert world.status.wire()["reason"] == "PeerNotFound"
    assert [m.setting for m in world.status.metrics] == ["emulator_tuned"]


def test_what_the_cluster_never_takes_fails() -> None:
    world = tune()
    world.do(world.decide())
    world.rejection = Rejection(422, "no such priority class")
    world.do(world.decide())
    assert world.reason("Failed") == "InvalidPod"


def test_a_child_that_should_not_run_is_stopped() -> None:
    world = through(tune(), to="Work")
    world.children[0] = replace(world.children[0], state=ChildState(Phase.RUNNING))
    world.becomes(Phase.RUNNING)
    assert [child.step for child in world.decide().delete] == ["Open"]


def test_all_conditions_are_told_on_the_first_visit() -> None:
    world = tune()
    world.peer = None
    world.go()
    told = {c.type: c.status for c in world.status.conditions}
    assert told == {
        "Accepted": "False",
        "MemorySufficient": "Unknown",
        "Running": "False",
        "Suspended": "False",
        "Complete": "False",
        "Failed": "False",
    }
    assert {c.observed_generation for c in world.status.conditions} == {1}


SPEC_CHANGES = {
    "suspend": {"suspend": True},
    "resume": {"suspend": False},
    "cancel": {"cancel": True},
}
CHILD_CHANGES: dict[str, Callable[[World], object]] = {
    "runs": lambda world: world.becomes(Phase.RUNNING),
    "succeeds": World.succeeds,
    "fails": World.fails,
    "dies": lambda world: world.becomes(Phase.FAILED, report=StepReport(ended=True)),
    "vanishes": lambda world: world.children.pop(),
    "nothing": lambda world: None,
}
WHAT = st.sampled_from([*SPEC_CHANGES, *CHILD_CHANGES, "retry", "sweep"])
HAPPENINGS = st.lists(st.tuples(WHAT, st.integers(0, 5), st.integers(0, 400)), max_size=30)


@given(HAPPENINGS)
def test_at_most_one_child_runs_and_a_finished_job_stays_finished(
    happenings: list[tuple[str, int, int]],
) -> None:
    world = tune()
    for what, parts, seconds in happenings:
        happen(world, what)
        world.do(world.decide(), up_to=parts)  # it may be cut off anywhere
        world.go()
        assert sum(child.active for child in world.children) <= 1
        if world.status.state in ("Complete", "Failed", "Cancelled", "Suspended"):
            assert not any(child.active for child in world.children)
        assert_entered(world)
        recorded = [] if world.peer is None else [e.envelope for e in world.peer.status.accepted]
        assert all(recorded for child in world.children if child.step == "Open")
        world.wait(seconds)


def assert_entered(world: World) -> None:
    """See that the status knows of the newest child, wherever the operator was cut off."""
    child, status = current(world.seen), world.status
    if child is None or child.deleting or status.state == "Suspended":
        return
    steps = [None, *STEPS]
    known = (status.attempts or 0, steps.index(status.step))
    assert known >= (child.attempt, steps.index(child.step))
    if child.active:
        assert (status.job_name, status.retries) == (child.name, child.round)
        assert status.start_time is not None
        assert status.first_attempt is not None
        assert status.engine == child.kind or child.step != "Work"
        assert world.seen.job.has("Accepted")


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED])
@pytest.mark.parametrize("to", ["Open", "Work"])
def test_what_was_cut_off_after_the_create_is_entered_later(to: str, phase: Phase) -> None:
    world = tune(activeDeadlineSeconds=100)
    while not world.children or world.newest.step != to:
        if world.children:
            world.go()
            world.succeeds()
        decision = world.decide()
        while decision.create is None:
            world.do(decision)
            decision = world.decide()
        world.do(decision, up_to=2)
    created = world.now
    world.wait(40)
    world.becomes(phase)
    assert (world.go().again or 0) <= 60
    status = world.status
    assert (status.step, status.attempts, status.job_name) == (to, 1, world.newest.name)
    assert (status.start_time, world.reason("Accepted")) == (created, "Accepted")
    assert status.engine == (None if to == "Open" else "RayJob")
    world.wait(60)
    world.go()
    assert world.reason("Failed") == "DeadlineExceeded"


def happen(world: World, what: str) -> None:
    live = bool(world.children) and world.newest.active
    if what in SPEC_CHANGES:
        world.change(**SPEC_CHANGES[what])
    elif what == "retry":
        world.change(retries=world.spec.retries + 1, cancel=False)
    elif what == "sweep":
        world.sweep()
    elif live:
        CHILD_CHANGES[what](world)


def test_backoff_grows_to_five_minutes() -> None:
    world = through(tune(backoffLimit=20), to="Work")
    delays = []
    for _ in range(8):
        world.fails()
        delays.append(world.go().again)
        world.wait(300)
        world.go()
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]
    assert world.now - START == timedelta(seconds=8 * 300)
