"""Many jobs at once, in little room."""

from chaos.aftermath import clean
from cluster.scene import Scene
from cluster.stages import distill

CROWD = "many jobs under a quota of three running"
_QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "crowd"}}


def crowd(scene: Scene, size: int) -> tuple[str, int | None]:
    """Submit jobs that do not fit all at once; every one of them is to be Complete at last.

    Raises:
        RuntimeError: one is not, or leaves something.
    """
    lab, names = scene.lab, [f"crowd-{number}" for number in range(size)]
    lab.space.apply(_QUOTA | {"spec": {"hard": {"pods": "4"}}})  # one is the operator
    lab.space.wait("jsonpath={.status.hard}", "resourcequota/crowd")
    try:
        for name in names:
            lab.submit(name, distill())
        for name in names:
            status = lab.reaches(name, lambda s: s.completion_time is not None, 120.0 * size)
            if status.state != "Complete":
                raise RuntimeError(f"{name} is {status.state}: {status.wire()}")
        clean(lambda: [each for name in names for each in lab.busy(name)])
    finally:
        lab.space.kubectl("delete", "resourcequota", "crowd")
        lab.space.kubectl("delete", "offsitejob", *names, "--ignore-not-found", "--wait=false")
    clean(lambda: [each for name in names for each in lab.left(name)])
    return f"{size} done", None
