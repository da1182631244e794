"""Two organizations at one exchange, each in a namespace with an operator of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cluster.access import Cluster
from cluster.helm import install
from cluster.kuberay import install as install_kuberay
from cluster.minio import MinioPod, running_minio
from cluster.namespaces import Namespace, new_namespace
from cluster.organizations import Organization, settle
from cluster.parties import introduce, keep_in

_ADOPTING = ("--wait", "--take-ownership", "--force-conflicts")


@dataclass(frozen=True)
class Scene:
    """Who is there."""

    lab: Organization
    hospital: Organization
    minio: MinioPod
    store: MinioPod | None
    """The lab's own; None: it keeps all on a claim, as the hospital does."""

    def of(self, stage: str) -> Organization:
        """Find whose stage it is."""
        return self.hospital if stage == "Tune" else self.lab


def install_crds(cluster: Cluster) -> None:
    """Install the kinds OffsiteJob and OffsitePeer, as the tutorial does."""
    # what another run left there without Helm is Helm's from now on
    install(Namespace(cluster, "default"), "offsite-crds", "offsite-crds", {}, *_ADOPTING)


@contextmanager
def set_up(cluster: Cluster, in_s3: bool = False, **more: Any) -> Iterator[Scene]:
    """Set both up, and remove their namespaces when the `with` block is done.

    Args:
        in_s3: whether the lab's private store is a MinIO of its own.
        more: of the values of their charts.
    """
    install_kuberay(cluster)
    install_crds(cluster)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))

        def space(name: str) -> Namespace:
            return stack.enter_context(new_namespace(cluster, name))

        spaces = {name: space(name) for name in ("lab", "hospital")}
        minio = stack.enter_context(running_minio(space("minio")))
        store = stack.enter_context(running_minio(space("store"))) if in_s3 else None
        lab, hospital = introduce(minio, spaces, folder)
        own = {"private": keep_in(store, lab, folder)} if store else {}
        settle(lab, hospital, minio, **more, **own)
        settle(hospital, lab, minio, **more)
        yield Scene(Organization(lab), Organization(hospital), minio, store)
