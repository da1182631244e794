"""What is done to a job in the middle of a step, and how it should end then."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

from chaos.struck import job_of
from cluster.jobs import is_in
from cluster.killing import kill, kill_all, started
from cluster.minio import MinioPod
from cluster.organizations import OPERATORS, Organization
from cluster.scene import Scene
from cluster.stages import NEEDS, Spec

Strike = Callable[[Scene, Organization, str], None]
"""Strikes a job by its name, in the moment that it waits for."""
Moment = Callable[[Organization, str], list[int]]
"""Waits for a moment in the life of a job; gives the processes that do its work then."""
STAGES = ("Distill", "Tune", "PlugIn")
STEPS = ("open", "work", "publish")
_AWAY_SECONDS = 60.0


@dataclass(frozen=True)
class Blow:
    """One blow to one job."""

    what: str
    stage: str
    step: str
    engine: str
    strike: Strike
    ends: str = "Complete"
    """The state in which the job should end; `gone`: it was deleted."""
    waits: str = ""
    """What it waits for when it is struck, if it does."""
    changes: Spec = field(default_factory=dict)
    """What the job has in place of what is usual."""

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.what} in {self.waits or self.step} of {self.stage} ({self.engine})"

    @property
    def job(self) -> Spec:
        """Describe the job that is struck."""
        return job_of(self.stage, self.step, self.engine) | self.changes


def blows() -> Iterator[Blow]:
    """List them all."""
    for stage in STAGES:
        for step in STEPS:
            moment = _amid(stage, step)
            strikes = (("kill -9 operator", _operator(moment)), ("kill -9 runner", _runner(moment)))
            for what, strike in strikes:
                yield Blow(what, stage, step, "Job", strike)
            yield Blow("delete", stage, step, "Job", _delete(moment), "gone")
            yield Blow("cancel", stage, step, "Job", _cancel(moment), "Cancelled")
        for part in ("head", "submitter"):
            yield Blow(f"kill -9 {part}", stage, "work", "RayJob", _of_ray(part))
        yield Blow("kill -9 driver", stage, "work", "RayJob", _driver)
        yield Blow("delete", stage, "work", "RayJob", _delete(_amid(stage, "work")), "gone")
        yield Blow("cancel", stage, "work", "RayJob", _cancel(_amid(stage, "work")), "Cancelled")
    yield from _waiting()
    for stage, step in product(STAGES, ("open", "publish")):
        yield Blow("MinIO away for a minute", stage, step, "Job", _exchange(step))
    for stage in ("Distill", "PlugIn"):  # the lab's, whose private store is one
        yield Blow("own MinIO away for a minute", stage, "work", "Job", _own_store(stage))


def _waiting() -> Iterator[Blow]:
    """List those of a job of which nothing runs."""
    unsent = {"tune": job_of("Tune", "work", "Job")["tune"] | {"bundle": "unsent"}}
    for waits, stage, changes, moment in (
        ("Pending", "Distill", {"resources": NEEDS | {"gpusPerWorker": 64}}, _is("Pending")),
        ("Pending", "Tune", unsent, _is("Pending")),
        ("Suspended", "Distill", {"suspend": True}, _is("Suspended")),
        ("BackOff", "Distill", {}, _failed_once),
    ):
        yield Blow("delete", stage, "work", "Job", _delete(moment), "gone", waits, changes)
        yield Blow("cancel", stage, "work", "Job", _cancel(moment), "Cancelled", waits, changes)


def _is(state: str) -> Moment:
    def wait(organization: Organization, name: str) -> list[int]:
        organization.reaches(name, is_in(state))
        return []

    return wait


def _failed_once(organization: Organization, name: str) -> list[int]:
    kill_all(_amid("Distill", "work")(organization, name))
    organization.reaches(name, lambda s: any(c.reason == "BackOff" for c in s.conditions))
    return []


def _amid(stage: str, step: str) -> Moment:
    def wait(organization: Organization, name: str) -> list[int]:
        found = started(organization.begun(name, step), "offsite run")
        if step == "work" and stage != "PlugIn":  # it trains
            organization.reaches(name, lambda status: bool(status.progress))
        return found

    return wait


def _operator(moment: Moment) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        (pod,) = organization.space.get("pods", OPERATORS)["items"]
        moment(organization, name)
        kill(organization.space, pod["metadata"]["name"], "offsite_operator")

    return strike


def _runner(moment: Moment) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        kill_all(moment(organization, name))

    return strike


def _of_ray(part: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        organization.running(name, "work", ray="submitter")
        kill(organization.space, organization.running(name, "work", ray=part))

    return strike


def _driver(scene: Scene, organization: Organization, name: str) -> None:
    organization.running(name, "work", ray="head")
    (head,) = organization.pods(name, "work", ray="head")
    kill_all(started(head["metadata"]["uid"], "offsite run"))


def _delete(moment: Moment) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        moment(organization, name)
        organization.space.kubectl("delete", "offsitejob", name)

    return strike


def _cancel(moment: Moment) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        moment(organization, name)
        organization.change(name, cancel=True)

    return strike


def _exchange(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        if step == "publish":
            organization.begun(name, "work")
        _take_away(scene.minio)

    return strike


def _own_store(stage: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        assert scene.store is not None
        _amid(stage, "work")(organization, name)
        _take_away(scene.store)

    return strike


def _take_away(minio: MinioPod) -> None:
    minio.space.kubectl("scale", "statefulset/minio", "--replicas=0")
    time.sleep(_AWAY_SECONDS)
    minio.space.kubectl("scale", "statefulset/minio", "--replicas=1")
    minio.space.kubectl("rollout", "status", "statefulset/minio", "--timeout=120s")
