"""What is done to a job in the middle of a step, and how it should end then."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from chaos.struck import job_of
from cluster.killing import kill
from cluster.organizations import OPERATORS, Organization
from cluster.scene import Scene
from cluster.stages import Spec

Strike = Callable[[Scene, Organization, str], None]
"""Strikes a job by its name, in the moment that it waits for."""
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
            strikes = (("kill -9 operator", _operator(step)), ("kill -9 runner", _runner(step)))
            for what, strike in strikes:
                yield Blow(what, stage, step, "Job", strike)
            yield Blow("delete", stage, step, "Job", _delete(step), "gone")
            yield Blow("cancel", stage, step, "Job", _cancel(step), "Cancelled")
        for part, command in (("head", ""), ("driver", "offsite run"), ("submitter", "")):
            pod = "head" if part == "driver" else part
            yield Blow(f"kill -9 {part}", stage, "work", "RayJob", _of_ray(pod, command))
        yield Blow("delete", stage, "work", "RayJob", _delete("work"), "gone")
        yield Blow("cancel", stage, "work", "RayJob", _cancel("work"), "Cancelled")
    for stage, step in product(STEPS, ("open", "publish")):
        if step in STEPS[stage]:
            yield Blow("MinIO away for a minute", stage, step, "Job", _store(step))


def _operator(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        organization.running(name, step)
        (pod,) = organization.space.get("pods", OPERATORS)["items"]
        kill(organization.space, pod["metadata"]["name"], "offsite_operator")

    return strike


def _runner(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        kill(organization.space, organization.running(name, step))

    return strike


def _of_ray(part: str, command: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        space = organization.space
        organization.running(name, "work", ray="submitter")
        pod = organization.running(name, "work", ray=part)
        if command:  # the driver comes later than the submitter
            organization.reaches(name, lambda status: bool(status.progress))
        kill(space, pod, command)

    return strike


def _delete(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        organization.running(name, step)
        organization.space.kubectl("delete", "offsitejob", name)

    return strike


def _cancel(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        organization.running(name, step)
        organization.change(name, cancel=True)

    return strike


def _store(step: str) -> Strike:
    def strike(scene: Scene, organization: Organization, name: str) -> None:
        before = {"open": None, "publish": "work"}[step]
        if before is not None:
            organization.running(name, before)
        space = scene.minio.space
        space.kubectl("scale", "statefulset/minio", "--replicas=0")
        time.sleep(_AWAY_SECONDS)
        space.kubectl("scale", "statefulset/minio", "--replicas=1")
        space.kubectl("rollout", "status", "statefulset/minio", "--timeout=120s")

    return strike
