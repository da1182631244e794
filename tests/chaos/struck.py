"""What the jobs that are struck are, and what they open."""

from cluster.scene import Scene
from cluster.stages import Spec, distill, plug_in, tune

BUNDLE, ADAPTER = "question", "answer"
"""What the one sent, and what the other did; jobs that are struck open these."""
_STEPS = 1500
"""Of a training, so that it can be struck in the middle."""


def job_of(stage: str, engine: str) -> Spec:
    """Describe a job of a stage."""
    more = {"engine": engine, "backoffLimit": 6}
    if stage == "Distill":
        return distill(steps=_STEPS, **more)
    return tune(BUNDLE, steps=_STEPS, **more) if stage == "Tune" else plug_in(ADAPTER, **more)


def exchange_both(scene: Scene) -> None:
    """Have each send something to the other."""
    scene.lab.submit(BUNDLE, distill(steps=10))
    scene.lab.reaches(BUNDLE, lambda status: status.state == "Complete")
    scene.hospital.submit(ADAPTER, tune(BUNDLE, steps=10))
    scene.hospital.reaches(ADAPTER, lambda status: status.state == "Complete")
