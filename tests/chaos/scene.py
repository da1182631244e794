"""Two organizations at one exchange, whose jobs are struck."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.access import Cluster
from cluster.helm import install
from cluster.kuberay import install as install_kuberay
from cluster.minio import MinioPod, running_minio
from cluster.namespaces import Namespace, new_namespace
from cluster.organizations import Organization, settle
from cluster.parties import introduce
from cluster.stages import Spec, distill, plug_in, tune

BUNDLE, ADAPTER = "question", "answer"
"""What the one sent, and what the other did; jobs that are struck open these."""
_STEPS = 1500
"""Of a training, so that it can be struck in the middle."""


@dataclass(frozen=True)
class Scene:
    """Who is there."""

    lab: Organization
    hospital: Organization
    minio: MinioPod

    def of(self, stage: str) -> Organization:
        """Find whose stage it is."""
        return self.hospital if stage == "Tune" else self.lab


def job_of(stage: str, engine: str) -> Spec:
    """Describe a job of a stage."""
    more = {"engine": engine, "backoffLimit": 6}
    if stage == "Distill":
        return distill(steps=_STEPS, **more)
    return tune(BUNDLE, steps=_STEPS, **more) if stage == "Tune" else plug_in(ADAPTER, **more)


@contextmanager
def set_up(cluster: Cluster) -> Iterator[Scene]:
    """Set both up, have each send something, and remove all when the `with` block is done."""
    install_kuberay(cluster)
    default = Namespace(cluster, "default")
    install(default, "offsite-crds", "offsite-crds", {}, "--wait", "--take-ownership")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        spaces = {
            name: stack.enter_context(new_namespace(cluster, name)) for name in ("lab", "hospital")
        }
        space = stack.enter_context(new_namespace(cluster, "minio"))
        minio = stack.enter_context(running_minio(space))
        lab, hospital = introduce(minio, spaces, folder)
        for party, peer in ((lab, hospital), (hospital, lab)):
            settle(party, peer, minio, folder / f"of-{party.id}")
        scene = Scene(Organization(lab), Organization(hospital), minio)
        scene.lab.submit(BUNDLE, distill(steps=10))
        scene.lab.reaches(BUNDLE, lambda status: status.state == "Complete")
        scene.hospital.submit(ADAPTER, tune(BUNDLE, steps=10))
        scene.hospital.reaches(ADAPTER, lambda status: status.state == "Complete")
        yield scene
