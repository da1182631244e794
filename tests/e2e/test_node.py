"""The test cluster itself: real, by itself, and gone without a trace."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster import cgroups
from cluster.access import KUBECONFIG, own
from cluster.addons import GPU, GPUS
from cluster.archive import image_of
from cluster.binaries import pause
from cluster.lifecycle import running_node
from cluster.namespaces import new_namespace
from cluster.node import Node
from cluster.pods import container, pod
from cluster.processes import wait_for
from cluster.scene import install_crds
from cluster.site import operating
from offsite_testing.gobuild import cache
from offsite_testing.world import TUNE

ANOTHER = bool(os.environ.get(KUBECONFIG))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(2400),  # until the other processes are done
    pytest.mark.skipif(ANOTHER, reason=f"of nodes of our own; {KUBECONFIG} is set"),
]

TESTS = Path(__file__).parents[1]
PROGRAMS = ("containerd", "etcd", "kube", "program")
GROUPS = re.compile(r"/(offsite-|kubepods|k8s\.io)[^/]*$")
UNIFIED = 'mount --bind cgroup /proc/$$/cgroup && exec "$0" "$@"'
HELD = """
import signal, sys
from cluster.lifecycle import running_node
with running_node(sys.argv[1]):
    print("up", flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module", autouse=True)
def own_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep these nodes apart from a developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFSITE_NODES", str(tmp_path_factory.mktemp("nodes")))
        yield


@pytest.fixture(scope="module")
def before() -> dict[str, set[str]]:
    return traces()


@pytest.fixture(scope="module")
def node(before: dict[str, set[str]]) -> Iterator[Node]:
    with running_node("first") as running:
        yield running


@pytest.fixture(scope="module")
def other(node: Node) -> Iterator[Node]:
    with running_node("second") as running:
        yield running


def traces() -> dict[str, set[str]]:
    """Look at everything of this machine in which a node could leave something."""
    places = [cgroups.mount_point(name) for name in cgroups.hierarchies()]
    mounts = Path("/proc/self/mounts").read_text()  # those in the cache are of images being built
    groups = [path for place in places for path in place.glob("**/*") if GROUPS.search(str(path))]
    return {
        "links": lines("ip", "-brief", "address"),
        "routes": lines("ip", "route", "show", "table", "all"),
        "rules": lines("iptables-save") | lines("ip6tables-save"),
        "listeners": lines("ss", "--listening", "--tcp", "--numeric", "--no-header"),
        "mounts": {mount for mount in mounts.splitlines() if str(cache()) not in mount},
        "groups": {str(path) for path in groups if path.is_dir()},
        "processes": processes(),
        "files": {str(path) for place in ("/etc", "/opt") for path in Path(place).iterdir()},
        "forwarding": {Path("/proc/sys/net/ipv4/ip_forward").read_text()},
    }


def processes() -> set[str]:
    """List the processes that could be of a node, but none that only waits to be reaped."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            program = path.read_text(errors="replace").partition("\0")[0].rpartition("/")[2]
            if program.startswith(PROGRAMS) and program != "kubectl":  # of any other test
                group = path.with_name("cgroup").read_text().partition("\n")[0]
                found.add(f"{path.parent.name} {program} {group}")
    return found


def lines(*command: str) -> set[str]:
    """List the lines that a command prints, without comments and counters."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line.partition("[")[0] for line in done.stdout.splitlines() if line[:1] != "#"}


def added(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Tell what is there now and was not before; nodes that ran before go on as they like."""
    new = {name: now - before[name] for name, now in traces().items()}
    older = set(re.findall(r"/(offsite-\w+)", "\n".join(before["groups"])))
    for name in ("groups", "processes"):
        new[name] = {line for line in new[name] if older.isdisjoint(line.split("/"))}
    return {name: more for name, more in new.items() if more}


def test_it_leaves_the_network_of_the_machine_alone(
    before: dict[str, set[str]], node: Node
) -> None:
    new = added(before)
    assert {line.split()[0].split("@")[0] for line in new.pop("links")} == {node.link.name}
    assert all(node.link.name in route for route in new.pop("routes"))
    assert new.keys() == {"groups", "processes"}


def test_two_stand_beside_each_other(node: Node, other: Node) -> None:
    node.kubectl("create", "namespace", "only-here")
    assert "only-here" in node.kubectl("get", "namespaces")
    assert "only-here" not in other.kubectl("get", "namespaces")
    assert {node.link, node.group}.isdisjoint({other.link, other.group})


def test_an_account_without_rights_is_refused(node: Node) -> None:
    account = "--as=system:serviceaccount:default:default"
    with pytest.raises(RuntimeError, match="Forbidden"):
        node.kubectl("get", "secrets", "--all-namespaces", account)


def test_a_kubelet_may_not_take_a_protected_label(node: Node) -> None:
    kubelet = f"--kubeconfig={node.folder / 'kubelet.kubeconfig'}"
    inside = str(node.folder / "bin" / "kubectl")
    label = "node-restriction.kubernetes.io/trusted=yes"
    with pytest.raises(RuntimeError, match="is not allowed to modify labels"):
        node.run(inside, kubelet, "label", "node", "node", label)


def test_what_was_written_is_in_the_audit_log(node: Node) -> None:
    node.kubectl("create", "namespace", "audited")
    events = [json.loads(line) for line in node.audit_log.read_text().splitlines()]
    assert ("create", "audited") in [(e["verb"], e["objectRef"].get("name")) for e in events]


def test_gpus_outlast_an_update_of_the_nodes_status(node: Node, tmp_path: Path) -> None:
    def images() -> str:
        return node.kubectl("get", "node", "node", "--output=jsonpath={.status.images}")

    # an image that is new makes the kubelet write its status
    archive = image_of(pause(), "localhost/news:1", tmp_path / "news.tar")
    node.load_image(archive)
    wait_for(lambda: "localhost/news:1" in images())
    told = json.loads(node.kubectl("get", "node", "node", "--output=json"))["status"]
    assert told["capacity"][GPU] == told["allocatable"][GPU] == str(GPUS)


def test_gpus_are_counted(node: Node) -> None:
    user = {"securityContext": {"runAsUser": 10001}}
    most, more = (container("localhost/pause:1", gpus=count) for count in (GPUS - 1, 2))
    with new_namespace(own(node), "gpus") as space:
        space.apply(pod("most", most, **user), pod("more", more, **user))
        space.wait("condition=Ready", "pod/most")
        wait_for(lambda: f"Insufficient {GPU}" in space.events("more"))


def test_what_needs_ray_waits_where_there_is_no_kuberay(node: Node, tmp_path: Path) -> None:
    cluster = own(node)
    install_crds(cluster)
    with new_namespace(cluster, "site") as space, operating(space, tmp_path, "none:1") as start:
        here = start()
        here.submit("rayless", TUNE, runtime={"engine": "RayJob"})
        wait_for(lambda: here.says("rayless", "Accepted")[0] == "NoKubeRay")
        assert "engine: Job" in here.says("rayless", "Accepted")[1]
        assert "NoKubeRay" in space.events("rayless")


@pytest.mark.parametrize(
    ("name", "found"),
    [("kubernetes.default.svc.cluster.local", True), ("offsite.example", False)],
    ids=["a service", "the world"],
)
def test_names_are_those_of_services(node: Node, name: str, found: bool) -> None:
    (node.folder / "resolv.conf").write_text("nameserver 10.96.0.10\n", encoding="ascii")
    script = "mount --bind /run/node/resolv.conf /etc/resolv.conf && getent hosts $0 || echo none"
    answer = node.run("unshare", "--mount", "sh", "-c", script, name)
    assert answer.startswith("10.96.0.1 " if found else "none")


def test_a_component_that_ended_is_started_again(node: Node) -> None:
    node.run("pkill", "--exact", "kube-scheduler")
    wait_for(lambda: node.log("supervisor").count("kube-scheduler starts") == 2)


def test_one_that_does_not_come_back_ends_the_node_and_is_named(other: Node) -> None:
    (other.folder / "bin" / "kube-scheduler").unlink()
    other.run("pkill", "--exact", "kube-scheduler")
    wait_for(lambda: other.first_process is None)
    end = "kube-scheduler does not come back, and the node ends: kube-scheduler is not on the PATH"
    assert end in other.log("supervisor")


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (("unshare", "--user", "--map-user=1000"), "needs Linux, and root: run this as root"),
        (("unshare", "--mount", "sh", "-c", UNIFIED), "needs cgroup v1, which this machine lacks"),
    ],
    ids=["no root", "cgroup v2"],
)
def test_a_machine_that_cannot_run_one_is_refused_before_the_builds(
    tmp_path: Path, shown: tuple[str, ...], why: str
) -> None:
    known = {**os.environ, "PYTHONPATH": str(TESTS), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "cgroup").write_text("0::/\n", encoding="ascii")
    command = [*shown, sys.executable, "-m", "cluster", "build"]
    refused = subprocess.run(command, env=known, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("cluster: ")
    assert why in refused.stderr
    assert not (tmp_path / "cache").exists()


def test_a_second_of_the_same_name_is_refused(node: Node) -> None:
    with pytest.raises(RuntimeError, match="there is a node first already"), running_node("first"):
        pass


@pytest.mark.parametrize("component", ["containerd", "kubelet", None], ids=str)
def test_a_killed_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, component: str | None
) -> None:
    """Kill it as soon as a component was started, or once all is ready."""
    before = traces()
    monkeypatch.setenv("OFFSITE_NODES", str(tmp_path / "nodes"))
    doomed = Node("doomed")
    known = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", HELD, doomed.name]
    with subprocess.Popen(command, env=known, stdout=subprocess.PIPE) as run:
        if component:
            wait_for((doomed.folder / "log" / f"{component}.log").exists)
        else:
            assert run.stdout is not None
            assert run.stdout.readline() == b"up\n"
        run.send_signal(signal.SIGKILL)
    try:
        wait_for(lambda: not cgroups.processes(doomed.group), seconds=20)
        # the kernel removes the link by itself, a minute or two later
        assert added(before).keys() <= {"groups", "links", "routes"}, "what namespaces cannot hold"
    finally:
        monkeypatch.setenv("OFFSITE_NODES", str(tmp_path / "elsewhere"))  # it is found all the same
        assert f"node doomed in {tmp_path / 'nodes'}\n" in cluster("down")
    assert added(before) == {}
    assert not doomed.folder.exists()


def test_a_developers_node_outlives_its_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces()
    monkeypatch.setenv("OFFSITE_NODES", str(tmp_path / "nodes"))
    dev = Node("dev")
    try:
        with calling("up") as killed:
            wait_for((dev.folder / "log" / "kubelet.log").exists)
            killed.kill()
        assert f"dev\tstarts\t{dev.kubeconfig}\n" in cluster("status")
        with calling("up") as one, calling("up") as other:  # each replaces it, or waits for that
            said = [each.communicate()[0] for each in (one, other)]
        assert all(f"KUBECONFIG={dev.kubeconfig}\n" in each for each in said)
        assert f"dev\truns\t{dev.kubeconfig}\n" in cluster("status")
        assert "coredns" in dev.kubectl("get", "pods", "--all-namespaces")
    finally:
        cluster("down")
    assert added(before) == {}
    assert not dev.registration.is_symlink()


def calling(command: str) -> subprocess.Popen[str]:
    known = {**os.environ, "PYTHONPATH": str(TESTS)}
    full = [sys.executable, "-m", "cluster", command]
    return subprocess.Popen(full, env=known, stdout=subprocess.PIPE, text=True)


def cluster(command: str) -> str:
    with calling(command) as called:
        said, _ = called.communicate()
    assert called.returncode == 0
    return said
