"""The cluster of the e2e tests, and what a failure reports of it."""

import os
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from filelock import ReadWriteLock, Timeout

from cluster import kuberay as ray
from cluster.access import KUBECONFIG, Cluster, reached_cluster
from cluster.addons import GPU
from cluster.minio import MinioPod, running_minio
from cluster.namespaces import Namespace, new_namespace
from cluster.organizations import Organization, settle
from cluster.parties import Party, introduce
from cluster.reports import report
from cluster.scene import install_crds
from offsite_testing.gobuild import cache

_HERE = Path(__file__).parent
_LONGEST = [
    "test_tutorial",
    "test_images",
    "test_killed",
    "test_lifecycle",
    "test_workers",
    "test_operator",
    "test_notices",
    "test_vision",
    "test_smoke",
    "test_cli",
    "test_charts_installed",
]
"""The modules that take a minute or more, in the order in which they begin."""
_SPACES = pytest.StashKey[list[Namespace]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take longest: no process is left with one at the end."""
    items.sort(key=lambda item: _place(item.path))


def _place(path: Path) -> int:
    known = path.parent == _HERE and path.stem in _LONGEST
    return _LONGEST.index(path.stem) if known else len(_LONGEST)


@contextmanager
def _machine(*, alone: bool) -> Iterator[None]:
    """Start or end something on the machine beside other processes that do, or look at all of it.

    Args:
        alone: nothing is started or ended meanwhile that could be taken for a trace.
    """
    if os.environ.get(KUBECONFIG):
        yield  # nothing of it is here
        return
    cache().mkdir(parents=True, exist_ok=True)
    lock = ReadWriteLock(cache() / "machine.db")
    take = lock.acquire_write if alone else lock.acquire_read
    while True:
        # who waits in there cannot be interrupted
        with suppress(Timeout):
            take(timeout=1)
            break
    try:
        yield
    finally:
        lock.release()


@pytest.fixture
def alone() -> Iterator[None]:
    """Look at all of the machine: no other test starts or ends a node, or looks into images."""
    with _machine(alone=True):
        yield


@pytest.fixture(scope="module")
def beside() -> Iterator[None]:
    """Start and end nodes, or look into images: what looks at all of the machine waits."""
    with _machine(alone=False):
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A node of the tests' own, which `make cluster-down` finds, or the cluster that is named."""
    with ExitStack() as stack:
        with _machine(alone=False):
            found = stack.enter_context(reached_cluster(f"e2e-{secrets.token_hex(3)}"))
        yield found
        with _machine(alone=False):
            stack.close()


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Cluster:
    """A cluster that has the kinds OffsiteJob and OffsitePeer, as the tutorial installs them."""
    install_crds(cluster)
    return cluster


@pytest.fixture
def own_cluster(cluster: Cluster) -> Cluster:
    """The node of the tests' own."""
    if cluster.node is None:
        pytest.skip(f"{KUBECONFIG} names a cluster whose node is not ours to look into")
    return cluster


@pytest.fixture
def gpus(cluster: Cluster) -> None:
    """GPUs that pods may ask for."""
    if not cluster.gpus():
        pytest.skip(f"{KUBECONFIG} names a cluster of which no node has {GPU}")


@pytest.fixture
def new_space(
    request: pytest.FixtureRequest, cluster: Cluster
) -> Iterator[Callable[[str], Namespace]]:
    """Make namespaces, each of a kind; all are deleted when the test is done."""
    with _spaces_of(request.node, cluster) as make:
        yield make


@pytest.fixture(scope="module")
def new_module_space(
    request: pytest.FixtureRequest, cluster: Cluster
) -> Iterator[Callable[[str], Namespace]]:
    """Make namespaces that stay until all tests of the module are done."""
    with _spaces_of(request.node, cluster) as make:
        yield make


@contextmanager
def _spaces_of(node: pytest.Item, cluster: Cluster) -> Iterator[Callable[[str], Namespace]]:
    with ExitStack() as stack:

        def make(kind: str) -> Namespace:
            space = stack.enter_context(new_namespace(cluster, kind))
            node.stash.setdefault(_SPACES, []).append(space)
            return space

        yield make


@pytest.fixture(scope="module")
def reported(request: pytest.FixtureRequest) -> Callable[[Namespace], None]:
    """Report on a namespace that a test of the module created, if the test fails."""
    spaces: list[Namespace] = request.node.stash.setdefault(_SPACES, [])
    return spaces.append


@pytest.fixture
def namespace(new_space: Callable[[str], Namespace]) -> Namespace:
    """A restricted namespace of the test's own."""
    return new_space("test")


@pytest.fixture(scope="session")
def kuberay(cluster: Cluster) -> None:
    """KubeRay, in the whole cluster."""
    ray.install(cluster)


@pytest.fixture
def minio(new_space: Callable[[str], Namespace]) -> Iterator[MinioPod]:
    """A MinIO in a namespace of its own."""
    with running_minio(new_space("minio")) as running:
        yield running


@pytest.fixture
def party(
    minio: MinioPod, new_space: Callable[[str], Namespace], tmp_path: Path
) -> Callable[..., list[Party]]:
    """Make organizations that know each other, by their ids."""
    return lambda *ids: introduce(minio, {name: new_space(name) for name in ids}, tmp_path)


@pytest.fixture(scope="module")
def lab(
    crds: Cluster,
    kuberay: None,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Organization]:
    """An organization whose peer is away; its exchange is up."""
    folder = tmp_path_factory.mktemp("lab")
    with running_minio(new_module_space("minio")) as minio:
        spaces = {name: new_module_space(name) for name in ("lab", "hospital")}
        party, peer = introduce(minio, spaces, folder)
        settle(party, peer, minio)
        yield Organization(party)


@pytest.fixture(scope="module")
def own_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep these nodes apart from a developer's; where a cluster is named, there are none."""
    if os.environ.get(KUBECONFIG):
        pytest.skip(f"of nodes of our own; {KUBECONFIG} is set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFSITE_NODES", str(tmp_path_factory.mktemp("nodes")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failure what the cluster knows, while it still knows it."""
    made = yield
    spaces = [space for node in item.listchain() for space in node.stash.get(_SPACES, [])]
    if made.failed and call.when in ("setup", "call") and spaces:
        made.sections += report(spaces[0].cluster, spaces)  # noqa: V101 - pytest prints them
    return made


@pytest.fixture(scope="module")
def parties(
    crds: Cluster,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Organization, Organization]]:
    """Two organizations at one exchange, for all tests of the module."""
    folder = tmp_path_factory.mktemp("parties")
    with running_minio(new_module_space("minio")) as minio:
        spaces = {name: new_module_space(name) for name in ("lab", "hospital")}
        lab, hospital = introduce(minio, spaces, folder)
        for party, peer in ((lab, hospital), (hospital, lab)):
            settle(party, peer, minio)
        yield Organization(lab), Organization(hospital)
