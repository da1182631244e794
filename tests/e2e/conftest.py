"""The cluster of the e2e tests, and what a failure reports of it."""

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from cluster import kuberay as ray
from cluster.access import KUBECONFIG, Cluster, reached_cluster
from cluster.addons import GPU
from cluster.minio import MinioPod, running_minio
from cluster.namespaces import Namespace, new_namespace
from cluster.overcommit import overcommit
from cluster.parties import Party, introduce
from cluster.reports import report
from cluster.scene import install_crds
from cluster.sharing import machine as machine_of

_SPACES = pytest.StashKey[list[Namespace]]()


def is_alone(node: pytest.Item | pytest.Collector) -> bool:
    """Whether tests look at all that runs on the machine."""
    return node.get_closest_marker("alone") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest: with several processes none is left with it at the end."""

    def order(item: pytest.Item) -> tuple[bool, float]:
        limit = item.get_closest_marker("timeout")
        return not is_alone(item), -limit.args[0] if limit else 0

    if all(item.get_closest_marker("e2e") for item in items):
        items.sort(key=order)


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Path:
    """A folder for all processes of this test run."""
    folder = tmp_path_factory.getbasetemp().parent / f"offsite-e2e-{testrun_uid}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def machine(request: pytest.FixtureRequest, together: Path) -> Iterator[None]:
    """Leave the machine to the tests of a module that want it for themselves."""
    alone, lock = is_alone(request.node), machine_of(together)
    with lock.write_lock() if alone else lock.read_lock():
        yield


@pytest.fixture(scope="session")
def cluster(together: Path) -> Iterator[Cluster]:
    """A node of the tests' own, which `make cluster-down` finds, or the cluster that is named."""
    with reached_cluster(f"e2e-{secrets.token_hex(3)}", together) as found:
        if found.node is not None:
            overcommit(found, "offsite-tuning.dev/job")
        yield found


@pytest.fixture(scope="session")
def crds(cluster: Cluster, together: Path) -> Cluster:
    """A cluster that has the kinds OffsiteJob and OffsitePeer, as the tutorial installs them."""
    with FileLock(together / "lock"):
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
    """Make namespaces, each of a kind; all are gone when the test is done."""
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


@pytest.fixture
def namespace(new_space: Callable[[str], Namespace]) -> Namespace:
    """A restricted namespace of the test's own."""
    return new_space("test")


@pytest.fixture(scope="session")
def kuberay(cluster: Cluster, together: Path) -> None:
    """KubeRay, in the whole cluster."""
    with FileLock(together / "lock"):
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
