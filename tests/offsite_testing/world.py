"""A world for `reconcile` to decide on: the tables of a pure function, not a Kubernetes."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from offsite.api import JobSpec
from offsite.events import Done, Failed
from offsite.resources import JobStatus, OffsiteApproval, PeerCondition, PeerStatus, Step
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.reconcile import reconcile
from offsite_operator.labels import ATTEMPT, ROUND, STEP
from offsite_operator.manifests.plan import ChildPlan, plan_of
from offsite_operator.observe.model import (
    Child,
    ChildState,
    Found,
    Incoming,
    Job,
    Observed,
    Peer,
    Phase,
    Rejection,
    StartupProblem,
)
from offsite_operator.observe.step_log import StepReport
from offsite_operator.settings import Settings

UID = "0f3c5a1e-77aa-4b1c-9c55-2f1f9f8d0001"
DIGEST = "sha256:" + "a" * 64
MARK = "0123456789abcdef" * 2
"""Of the events of every pod."""
START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Settings.model_validate_json(
    """{
    "party": "hospital",
    "images": {"runtime": "r/runtime:1", "operator": "r/operator:1"},
    "private": {"uri": "s3://private/hospital", "endpoint": "https://minio:9000",
                "secret": "store", "ca": true},
    "exchange": {"uri": "s3://exchange", "endpoint": "https://minio:9000", "secret": "account"},
    "identity": {"secret": "keys", "passphrase": true},
    "bounds": {"peers": ["lab"], "readPrefixes": ["s3://private/data/", "s3://private/models"],
               "exportPrefixes": ["s3://private/exports/"], "claims": ["datasets"]},
    "notices": "None"
}"""
)
TUNE: dict[str, Any] = {
    "stage": "Tune",
    "peer": "lab",
    "tune": {
        "bundle": "question",
        "data": {
            "train": "s3://private/data/train.jsonl",
            "validation": "s3://private/data/valid.jsonl",
        },
    },
}
DISTILL: dict[str, Any] = {
    "stage": "Distill",
    "peer": "lab",
    "distill": {"model": "s3://private/models/tiny", "emulator": {"blocks": 2, "heal": False}},
}
PLUG_IN: dict[str, Any] = {
    "stage": "PlugIn",
    "peer": "lab",
    "plugIn": {"model": "s3://private/models/tiny", "adapter": "answer"},
}


def spec_of(content: dict[str, Any], **changes: Any) -> JobSpec:
    """Read a spec, with some of its fields otherwise."""
    return JobSpec.model_validate(content | changes)


def ready_peer() -> Peer:
    """A peer whose keys are pinned."""
    ready = PeerCondition(type="Ready", status="True", reason="Pinned", last_transition_time=START)
    return Peer("lab", "lab", "keys", 1, PeerStatus(conditions=[ready], pinned="keys"))


@dataclass
class World:
    """One job, and what became of the decisions about it."""

    spec: JobSpec
    status: JobStatus = field(default_factory=JobStatus)
    children: list[Child] = field(default_factory=list)
    peer: Peer | None = field(default_factory=ready_peer)
    incoming: Incoming | None = field(default_factory=lambda: Found(DIGEST, "question", 1, None))
    ray: bool = True
    now: datetime = START
    settings: Settings = SETTINGS
    rejection: Rejection | None = None
    deleted: bool = False
    generation: int = 1
    ahead: int = 0
    author: str | None = "alice"
    approvals: tuple[OffsiteApproval, ...] = ()

    @property
    def seen(self) -> Observed:
        """What is there now."""
        job = Job(
            "tune-1", UID, self.generation, START, self.spec, status=self.status, author=self.author
        )
        return Observed(
            job,
            self.settings,
            self.now,
            self.ray,
            tuple(self.children),
            self.peer,
            self.incoming,
            MARK,
            self.rejection,
            approvals=self.approvals,
            ahead=self.ahead,
        )

    def work_plan(self) -> ChildPlan:
        """Plan the first attempt to train now."""
        return plan_of(self.seen, self.spec, ready_peer(), "Work", 1)

    def decide(self) -> Decision:
        """Decide once, and see that the same things lead to the same decision."""
        decision = reconcile(self.seen)
        assert reconcile(self.seen) == decision
        return decision

    def go(self) -> Decision:
        """Decide and do, until nothing is left to do; gives the last decision."""
        for _ in range(20):
            decision = self.decide()
            self.do(decision)
            if decision.idle:
                return decision
        raise AssertionError("it comes to no end")

    def do(self, decision: Decision, *, up_to: int = 5) -> None:
        """Carry out a decision, or its first few parts."""
        parts = (self._ledger, self._create, self._status, self._delete, self._delete_job)
        for part in parts[:up_to]:
            part(decision)

    def _ledger(self, decision: Decision) -> None:
        if decision.ledger is not None and self.peer is not None:
            self.peer = replace(self.peer, status=decision.ledger)

    def _create(self, decision: Decision) -> None:
        if decision.create is None or decision.create.name in {c.name for c in self.children}:
            return
        labels = decision.create.child["metadata"]["labels"]
        step = next(each for each in get_args(Step) if each.lower() == labels[STEP])
        name = decision.create.name
        self.children.append(
            Child(
                name=name,
                kind=decision.create.kind,
                uid=f"uid-of-{name}",
                step=step,
                attempt=int(labels[ATTEMPT]),
                round=int(labels[ROUND]),
                created=self.now,
                deleting=False,
                state=ChildState(Phase.PENDING),
            )
        )

    def _status(self, decision: Decision) -> None:
        self.status = decision.status or self.status

    def _delete(self, decision: Decision) -> None:
        gone = {child.uid for child in decision.delete}
        self.children = [replace(c, deleting=True) if c.uid in gone else c for c in self.children]

    def _delete_job(self, decision: Decision) -> None:
        self.deleted = self.deleted or decision.delete_job

    def change(self, **changes: Any) -> None:
        """Change the spec, as its author does."""
        self.spec = self.spec.model_copy(update=changes)
        self.generation += 1

    def sweep(self) -> None:
        """Let everything be gone that is being deleted."""
        self.children = [child for child in self.children if not child.deleting]

    def hang(self) -> None:
        """Let it be known since when the newest child is being deleted: it has begun now."""
        self.children[-1] = replace(self.newest, deleting=True, deleted=self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def newest(self) -> Child:
        """The child that was made last."""
        return self.children[-1]

    def becomes(
        self,
        phase: Phase,
        *,
        startup_problem: StartupProblem | None = None,
        report: StepReport | None = None,
        **state: Any,
    ) -> None:
        """Change the newest child."""
        found = ChildState(phase, **({"ended": self.now} | state))
        self.children[-1] = replace(
            self.newest, state=found, startup_problem=startup_problem, report=report
        )

    def succeeds(self, **told: Any) -> None:
        """Let the newest child end well."""
        self.becomes(Phase.SUCCEEDED, report=StepReport(last=Done(), ended=True, **told))

    def fails(self, reason: str = "StorageError", *, retryable: bool = True) -> None:
        """Let the newest child fail, and say why."""
        last = Failed(reason=reason, retryable=retryable, message="so it is")
        self.becomes(Phase.FAILED, report=StepReport(last=last, ended=True))

    def reason(self, kind: str) -> str:
        """The reason of a condition."""
        return next(c.reason for c in self.status.conditions if c.type == kind)

    def message(self, kind: str) -> str:
        """The message of a condition."""
        return next(c.message for c in self.status.conditions if c.type == kind)
