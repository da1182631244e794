"""What an OffsiteJob costs beside a bare RayJob that does the same work."""

import statistics
from collections.abc import Callable
from dataclasses import astuple, dataclass

from cluster.namespaces import Namespace
from cluster.organizations import Organization
from cluster.stages import Spec, distill
from cluster.watching import JOB, NAME, watched
from on_cluster.bare import bare_rayjob

_PATIENCE = 3600.0
_RAY = ("rayjobs.ray.io", ".status.jobDeploymentStatus")
_OPEN, _PUBLISH = (f"--selector=offsite-tuning.dev/step={step}" for step in ("open", "publish"))


@dataclass(frozen=True)
class Spans:
    """Seconds that one OffsiteJob took, and its parts, each from its creation to its end."""

    whole: float
    open: float
    """The Job that looks at keys and stores first, which the bare one has not."""
    work: float
    """The RayJob."""
    publish: float
    """The Job that seals and sends, which the bare one has not either."""

    @property
    def between(self) -> float:
        """What none of them took: the operator saw, decided and created."""
        return self.whole - self.open - self.work - self.publish


@dataclass(frozen=True)
class Overhead:
    """Medians of several runs."""

    bare: float
    """Seconds of the bare RayJob, from its creation to its end."""
    job: Spans

    @property
    def ratio(self) -> float:
        """How much longer the OffsiteJob took."""
        return self.job.whole / self.bare


def overhead(lab: Organization, bare: Namespace, steps: int, rounds: int) -> Overhead:
    """Run both in turn, every other time the other way round: a machine's speed drifts.

    Args:
        bare: where the bare ones run, which has what the organization has on its claim.
        steps: of the training.
        rounds: how often.

    Raises:
        RuntimeError: one does not end well.
    """
    _bare(bare, "first", distill(steps=1, engine="RayJob"))  # it reads the image from the disk
    spec, alone, jobs = distill(steps=steps, engine="RayJob"), list[float](), list[Spans]()
    runs: dict[str, Callable[[str], None]] = {
        "bare": lambda name: alone.append(_bare(bare, name, spec)),
        "job": lambda name: jobs.append(_offsite(lab, name, spec)),
    }
    for number in range(rounds):
        for kind in reversed(runs) if number % 2 else runs:
            runs[kind](f"{kind}-{number}")
    medians = (statistics.median(each) for each in zip(*map(astuple, jobs), strict=True))
    return Overhead(statistics.median(alone), Spans(*medians))


def _bare(space: Namespace, name: str, spec: Spec) -> float:
    what, state = _RAY
    with watched(space, what, NAME, state) as rayjobs:
        space.apply(*bare_rayjob(space, name, spec))
        ended = rayjobs.at(name, "Complete", "Failed", seconds=_PATIENCE)
        return ended - rayjobs.at(name)


def _offsite(lab: Organization, name: str, spec: Spec) -> Spans:
    what, state = _RAY
    with (
        watched(lab.space, "offsitejobs", NAME, ".status.state") as jobs,
        watched(lab.space, what, JOB, state) as works,
        watched(lab.space, "jobs.batch", JOB, ".status.succeeded", _OPEN) as opened,
        watched(lab.space, "jobs.batch", JOB, ".status.succeeded", _PUBLISH) as sent,
    ):
        lab.submit(name, spec)
        ended = jobs.at(name, "Complete", "Failed", seconds=_PATIENCE)
        return Spans(
            whole=ended - jobs.at(name),
            open=opened.at(name, "1") - opened.at(name),
            work=works.at(name, "Complete") - works.at(name),
            publish=sent.at(name, "1") - sent.at(name),
        )
