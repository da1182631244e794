"""What is decided about a job whose result another person has to approve."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offsite.events import Done, Egress, as_line
from offsite.resources import EgressReport, OffsiteApproval
from offsite.sealing import Disclosure, Notice
from offsite.task import PublishTask, parse_task
from offsite_operator.cluster.lister import read_one
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.events import new_events
from offsite_operator.decide.turns import room_of
from offsite_operator.observe.builder import observed_job
from offsite_operator.observe.model import Phase
from offsite_operator.observe.step_log import StepReport, with_events
from offsite_testing.world import (
    DIGEST,
    DISTILL,
    MARK,
    PLUG_IN,
    SETTINGS,
    START,
    TUNE,
    UID,
    World,
    spec_of,
)

REPORT = EgressReport.of(
    kind="adapter",
    bundle="tune-1",
    job=UID,
    sender="hospital",
    recipient="lab",
    recipient_keys="abcd efgh",
    manifest=DIGEST,
    size_bytes=7,
    files=[],
    tensors=[],
)


def asking(spec: dict[str, Any] = TUNE, required: str = "All", **more: Any) -> World:
    """Require approvals, and let a job wait for one."""
    bounds = SETTINGS.bounds.model_copy(update={"require_approval": required, **more})
    world = World(spec_of(spec), settings=SETTINGS.model_copy(update={"bounds": bounds}))
    if spec["stage"] == "Distill":
        world.incoming = None
    return world


def waiting(world: World | None = None) -> World:
    """Let a job run until its result is reported."""
    world = world or asking()
    world.go()
    for _ in ("Open", "Work"):
        world.succeeds()
        world.go()
    assert step(world) == "Report"
    world.succeeds(egress=Egress(report=REPORT.wire()))
    world.go()
    return world


def approval(verdict: str = "Approved", **over: Any) -> OffsiteApproval:
    spec = {"job": "tune-1", "digest": REPORT.digest, "verdict": verdict, "approver": "bob"}
    at = START.isoformat()
    metadata = {"name": f"by-{over.get('approver', 'bob')}", "creationTimestamp": at}
    return OffsiteApproval.read({"metadata": metadata, "spec": {**spec, **over}})


def step(world: World) -> str:
    return world.newest.step


def standing(world: World) -> tuple[str | None, str]:
    return world.status.state, world.reason("Running")


def test_a_result_waits_for_an_approval_and_costs_no_pod() -> None:
    world = waiting()
    assert standing(world) == ("AwaitingApproval", "AwaitingApproval")
    assert world.status.wire()["reason"] == "AwaitingApproval"
    assert world.status.egress == REPORT
    assert f"offsite approve tune-1 {REPORT.digest}" in world.message("Running")
    assert [child for child in world.children if child.active] == []
    world.approvals = (approval(),)
    world.go()
    assert step(world) == "Publish"
    assert world.status.approval is not None
    assert (world.status.approval.approver, world.status.approval.name) == ("bob", "by-bob")
    world.succeeds()
    world.go()
    assert world.status.state == "Complete"


def test_the_task_names_what_was_approved_and_it_is_recorded_before() -> None:
    world = waiting()
    world.approvals = (approval(),)
    recorded = world.decide()
    assert recorded.create is None
    assert recorded.status is not None
    assert recorded.status.approval is not None
    world.do(recorded)
    while (decision := world.decide()).create is None:
        world.do(decision)
    task = parse_task(decision.create.task["data"]["task.json"])
    assert isinstance(task, PublishTask)
    assert task.approved == REPORT.digest
    assert task.limits.require_approval == "All"


@pytest.mark.parametrize(
    "given",
    [
        approval(approver="alice"),
        approval(digest="sha256:" + "0" * 64),
        approval("Rejected", digest="sha256:" + "0" * 64),
    ],
)
def test_what_is_not_another_persons_word_on_this_digest_counts_for_nothing(
    given: OffsiteApproval,
) -> None:
    world = waiting()
    world.approvals = (given,)
    world.go()
    assert standing(world) == ("AwaitingApproval", "AwaitingApproval")
    own = given.spec.approver == "alice"
    assert ("by-alice is of the author" in world.message("Running")) == own


def test_a_rejection_fails_the_job_even_beside_an_approval() -> None:
    world = waiting()
    world.approvals = (approval(), approval("Rejected", approver="carol", message="too few rows"))
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "ApprovalRejected")
    assert world.message("Failed") == f"carol rejected {REPORT.digest}: too few rows"
    assert [child.step for child in world.children if child.active] == []


def test_the_peer_learns_nothing_of_a_rejection() -> None:
    world = waiting()
    world.settings = world.settings.model_copy(update={"notices": Disclosure.MESSAGE})
    world.approvals = (approval("Rejected", message="the patients of ward 7"),)
    world.go()
    assert world.newest.step == "Notify"
    world.children.pop()
    created = world.decide().create
    assert created is not None
    task = json.loads(created.task["data"]["task.json"])
    notice = Notice.of("Tune", task["reason"], task["message"])
    assert (notice.reason, notice.message) == ("StageFailed", "")


def test_the_wait_survives_restarts_and_lost_pods_and_logs() -> None:
    """An operator keeps nothing in memory; a report is in the status, whatever is deleted."""
    world = waiting()
    before = world.status
    world.children.clear()
    world.wait(60 * 60 * 24 * 30)
    assert world.go().idle
    assert world.status == before
    world.approvals = (approval(),)
    world.go()
    assert step(world) == "Publish"


def test_the_wait_counts_for_no_deadline_and_takes_no_place() -> None:
    world = asking(TUNE | {"activeDeadlineSeconds": 600}, max_running_jobs=1)
    waiting(world)
    assert world.status.start_time is None
    world.wait(100_000)
    world.go()
    assert world.status.state == "AwaitingApproval"
    world.approvals, world.ahead = (approval(),), 1
    world.go()
    assert standing(world) == ("Queued", "TooManyJobs")
    world.ahead = 0
    world.go()
    assert step(world) == "Publish"
    assert world.status.start_time == world.now
    world.wait(601)
    world.go()
    assert world.reason("Failed") == "DeadlineExceeded"


def test_suspended_and_resumed_it_waits_again() -> None:
    world = waiting()
    world.change(suspend=True)
    world.approvals = (approval(),)
    world.wait(5)
    world.go()
    assert world.status.state == "Suspended"
    assert step(world) == "Report"
    world.approvals = ()
    world.change(suspend=False)
    world.go()
    assert standing(world) == ("AwaitingApproval", "AwaitingApproval")
    world.approvals = (approval(),)
    world.go()
    assert step(world) == "Publish"


def test_a_job_that_waits_can_be_cancelled() -> None:
    world = waiting()
    world.change(cancel=True)
    world.go()
    assert world.status.state == "Cancelled"
    assert step(world) == "Report"


def test_an_operator_that_stopped_after_it_made_the_pod_goes_on() -> None:
    world = waiting()
    world.approvals = (approval(),)
    world.do(world.decide())
    while (decision := world.decide()).create is None:
        world.do(decision)
    world.do(decision, up_to=2)  # the status does not know of the pod
    world.go()
    assert (world.status.step, step(world)) == ("Publish", "Publish")
    assert world.status.approval is not None
    assert len(world.children) == 4


def test_without_the_name_of_the_author_nothing_starts() -> None:
    world = asking()
    world.author = None
    world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "NotAllowed")
    assert "offsite-tuning.dev/author" in world.message("Failed")
    assert world.children == []


@pytest.mark.parametrize(
    ("required", "spec", "waits"),
    [
        ("None", TUNE, False),
        ("Adapters", TUNE, True),
        ("Adapters", DISTILL, False),
        ("All", DISTILL, True),
        ("All", PLUG_IN, False),
    ],
)
def test_the_organization_says_what_needs_an_approval(
    required: str, spec: dict[str, Any], *, waits: bool
) -> None:
    world = asking(spec, required)
    world.go()
    for _ in ("Open", "Work"):
        world.succeeds()
        world.go()
    assert step(world) == ("Report" if waits else "Publish")


def test_a_report_is_repeated_after_a_failure_and_forgets_the_last_one() -> None:
    world = waiting()
    world.approvals = (approval(),)
    world.go()
    world.fails("ApprovalError", retryable=False)
    world.go()
    assert world.reason("Failed") == "ApprovalError"
    world.change(retries=1)
    world.go()
    assert step(world) == "Open"
    assert (world.status.egress, world.status.approval) == (None, None)
    for _ in ("Open", "Work"):
        world.succeeds()
        world.go()
    assert step(world) == "Report"


def test_a_publish_that_failed_on_its_store_needs_no_second_approval() -> None:
    world = waiting()
    world.approvals = (approval(),)
    world.go()
    world.fails("NotAllowedError", retryable=False)
    world.go()
    world.approvals = ()
    world.change(retries=1)
    world.go()
    assert (step(world), world.newest.round) == ("Publish", 1)


def test_an_approval_that_is_required_later_is_asked_for_before_the_next_attempt() -> None:
    world = asking(required="None")
    world.go()
    for _ in ("Open", "Work"):
        world.succeeds()
        world.go()
    world.fails()
    world.settings = asking().settings
    world.go()
    world.wait(60)
    world.go()
    assert [child.step for child in world.children][-2:] == ["Publish", "Report"]


def test_one_that_is_required_no_longer_is_not_waited_for() -> None:
    world = waiting()
    world.settings = SETTINGS
    world.go()
    assert step(world) == "Publish"


def test_a_report_that_says_nothing_fails_the_job() -> None:
    world = asking()
    world.go()
    for _ in ("Open", "Work", "Report"):
        world.succeeds()
        world.go()
    assert (world.status.state, world.reason("Failed")) == ("Failed", "NoResult")


def test_a_training_image_cannot_report_what_leaves() -> None:
    """The author of a job may choose the image of Work, and its approver reads the status."""
    world = asking()
    world.go()
    world.succeeds()
    world.go()
    world.succeeds(egress=Egress(report=REPORT.wire()))
    world.go()
    assert step(world) == "Report"
    assert world.status.egress is None


def test_the_events_of_a_wait_are_no_warnings() -> None:
    world = waiting()
    asked = new_events(World(world.spec).status, world.status)
    assert ("Normal", "AwaitingApproval") in {(each.type, each.reason) for each in asked}
    before = world.status
    world.approvals = (approval(),)
    world.do(world.decide())
    [told] = new_events(before, world.status)
    assert (told.type, told.reason) == ("Normal", "Approved")
    assert told.message == f"bob approved {REPORT.digest} (by-bob)"


def test_a_report_is_read_from_the_log() -> None:
    lines = [as_line(Egress(report=REPORT.wire()), MARK), as_line(Done(), MARK)]
    found = with_events(StepReport(), [(START, line) for line in lines], MARK)
    assert found.egress is not None
    assert EgressReport.model_validate(found.egress.report) == REPORT


class Served:
    """The API server's objects of one job."""

    def __init__(self, step: str) -> None:
        self.listed: list[str] = []
        self._job = {
            "metadata": {
                "name": "tune-1",
                "uid": UID,
                "resourceVersion": "1",
                "creationTimestamp": START.isoformat(),
                "annotations": {"offsite-tuning.dev/author": "alice"},
            },
            "spec": TUNE,
            "status": {"step": step},
        }

    def get(self, resource: Any, name: str) -> Any:
        return self._job if resource.plural == "offsitejobs" else None

    def list(self, resource: Any, **_: str) -> list[Any]:
        self.listed.append(resource.plural)
        if resource.plural != "offsiteapprovals":
            return []
        later, first = approval(approver="carol"), approval()
        leaving = approval(approver="dave")
        found = [each.wire() for each in (later, first, leaving)]
        found[0]["metadata"]["creationTimestamp"] = (START + timedelta(hours=1)).isoformat()
        found[2]["metadata"]["deletionTimestamp"] = START.isoformat()
        found.append({**found[1], "spec": {**found[1]["spec"], "job": "another"}})
        found.append({**found[1], "spec": {"job": "tune-1", "verdict": "Perhaps"}})
        return found

    def serves(self, resource: Any) -> bool:
        return False


def test_approvals_are_read_while_a_job_may_wait_for_one() -> None:
    served = Served("Report")
    raw = read_one(served, "tune-1")  # type: ignore[arg-type]
    assert raw is not None
    seen = observed_job(raw, raw.jobs[0], SETTINGS, START, lambda pods, ended: None)
    assert [each.spec.approver for each in seen.approvals] == ["bob", "carol"]
    assert seen.job.author == "alice"
    other = Served("Work")
    read_one(other, "tune-1")  # type: ignore[arg-type]
    assert "offsiteapprovals" not in other.listed


def test_a_report_that_is_not_done_is_tried_again() -> None:
    world = asking()
    world.go()
    for _ in ("Open", "Work"):
        world.succeeds()
        world.go()
    world.fails()
    world.go()
    world.wait(60)
    world.go()
    assert [f"{c.attempt}-{c.step}" for c in world.children][-1] == "2-Report"
    world.becomes(Phase.RUNNING)
    world.go()
    assert standing(world) == ("Running", "Reporting")


def test_a_job_that_waits_is_none_that_runs() -> None:
    world = waiting()
    metadata = {"uid": UID, "name": "tune-1", "creationTimestamp": START.isoformat()}
    room = room_of([{"metadata": metadata, "spec": {}, "status": world.status.wire()}])
    assert (room.running, room.waiting) == (frozenset(), {})


OTHER = EgressReport.of(**REPORT.model_dump(exclude={"digest"}) | {"size_bytes": 8})
VERDICTS = {
    "approve": approval(),
    "approve the other": approval(digest=OTHER.digest),
    "approve as the author": approval(approver="alice"),
    "approve the other as the author": approval(digest=OTHER.digest, approver="alice"),
    "reject": approval("Rejected", approver="carol"),
}
HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("start", "succeed", "succeed", "succeed", "report the other", "fail", "lose"),
                *("suspend", "resume", "retry", "withdraw", *VERDICTS),
            ]
        ),
        st.integers(0, 5),
        st.sampled_from([0, 30, 4000]),
    ),
    max_size=30,
)


def happen(world: World, what: str) -> None:
    """Let one thing happen to a job, if it can."""
    if what in VERDICTS:
        world.approvals = (*world.approvals, VERDICTS[what])
    elif what == "withdraw":
        world.approvals = ()
    elif what in ("suspend", "resume"):
        world.change(suspend=what == "suspend")
    elif what == "retry" and world.status.state == "Failed":
        world.change(retries=world.spec.retries + 1)
    elif what == "lose" and world.children:
        world.children.pop()
    elif world.children and world.newest.active:
        happen_to_pod(world, what)
    world.sweep()


def happen_to_pod(world: World, what: str) -> None:
    if what == "start":
        world.becomes(Phase.RUNNING)
    elif what in ("succeed", "report the other"):
        report = REPORT if what == "succeed" else OTHER
        world.succeeds(egress=Egress(report=report.wire()))
    elif what == "fail":
        world.fails()


@given(HAPPENINGS, st.sampled_from([waiting, waiting, asking]))
@example([("approve", 0, 0), ("suspend", 0, 0), ("resume", 0, 0)], waiting)
def test_nothing_is_sent_without_another_persons_word(
    happenings: list[tuple[str, int, int]], begin: Callable[[], World]
) -> None:
    world, given_so_far = begin(), set[tuple[str, str]]()
    for what, parts, seconds in happenings:
        happen(world, what)
        given_so_far |= {
            (each.spec.approver, each.spec.digest)
            for each in world.approvals
            if each.spec.verdict == "Approved"
        }
        world.do(looked_at(world, given_so_far), up_to=parts)  # it may be cut off anywhere
        for _ in range(20):
            decision = looked_at(world, given_so_far)
            world.do(decision)
            if decision.idle:
                break
        else:
            pytest.fail("it comes to no end")
        assert sum(child.active for child in world.children) <= 1
        if world.status.state == "AwaitingApproval":
            assert not any(child.active for child in world.children)
            assert world.status.start_time is None
        world.wait(seconds)


def looked_at(world: World, given_so_far: set[tuple[str, str]]) -> Decision:
    """Decide, and see that a pod that sends is for a report that Bob approved at some time."""
    decision = world.decide()
    if decision.create is not None:
        task = parse_task(decision.create.task["data"]["task.json"])
        if isinstance(task, PublishTask):
            assert world.status.egress is not None
            assert task.approved == world.status.egress.digest
            assert ("bob", task.approved) in given_so_far
    return decision
