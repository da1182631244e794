"""What is done to a job in the middle of a step, and how it should end then."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from chaos.struck import job_of
from cluster.killing import kill, started
from cluster.organizations import OPERATORS, Organization
from cluster.scene import Scene
from cluster.stages import Spec

Strike = Callable[[Scene, Organization, str], None]
"""Strikes a job by its name, in the moment that it waits for."""
Moment = Callable[[Organization, str], list[int]]
"""Waits for a moment in the life of a job; gives the processes that do its work then."""
STEPS = {
    "Distill": ("work", "publish"),
    "Tune": ("open", "work", "publish"),
    "PlugIn": ("open", "work", "publish"),
}
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

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.what} in {self.step} of {self.stage} ({self.engine})"

    @property
    def job(self) -> Spec:
        """Describe the job that is struck."""
        return job_of(self.stage, self.step, self.engine)


def blows() -> Iterator[Blow]:
    """List them all."""
    for stage, steps in STEPS.items():
        for step in steps:
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
    for stage, step in product(STEPS, ("open", "publish")):
        if step in STEPS[stage]:
            yield Blow("MinIO away for a minute", stage, step, "Job", _store(step))


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
        for pid in moment(organization, name):
            os.kill(pid, signal.SIGKILL)

    return strike


def _of_ray(part: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        organization.running(name, "work", ray="submitter")
        kill(organization.space, organization.running(name, "work", ray=part))

    return strike


def _driver(scene: Scene, organization: Organization, name: str) -> None:
    organization.running(name, "work", ray="head")
    (head,) = organization.pods(name, "work", ray="head")
    for pid in started(head["metadata"]["uid"], "offsite run"):
        os.kill(pid, signal.SIGKILL)


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


def _store(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        if step == "publish":
            organization.begun(name, "work")
        space = scene.minio.space
        space.kubectl("scale", "statefulset/minio", "--replicas=0")
        time.sleep(_AWAY_SECONDS)
        space.kubectl("scale", "statefulset/minio", "--replicas=1")
        space.kubectl("rollout", "status", "statefulset/minio", "--timeout=120s")

    return strike
