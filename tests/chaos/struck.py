"""What the jobs that are struck are, and what they open."""

from cluster.jobs import is_in
from cluster.scene import Scene
from cluster.stages import Spec, distill, plug_in, tune
from cluster.trainings import LONG

BUNDLE, ADAPTER = "question", "answer"
"""What the one sent, and what the other did; jobs that are struck open these."""
_SHORT = 10
"""Steps of a training that is soon done."""


def job_of(stage: str, step: str, engine: str) -> Spec:
    """Describe a job of a stage that is struck in a step."""
    more = {"engine": engine, "backoffLimit": 6}
    steps = LONG if step == "work" else _SHORT
    if stage == "Distill":
        return distill(steps=steps, **more)
    return tune(BUNDLE, steps=steps, **more) if stage == "Tune" else plug_in(ADAPTER, **more)


def exchange_both(scene: Scene) -> None:
    """Have each send something to the other."""
    scene.lab.submit(BUNDLE, distill(steps=_SHORT))
    scene.lab.reaches(BUNDLE, is_in("Complete"))
    scene.hospital.submit(ADAPTER, tune(BUNDLE, steps=_SHORT))
    scene.hospital.reaches(ADAPTER, is_in("Complete"))
