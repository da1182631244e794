"""The test cluster itself: real, and by itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.access import own
from cluster.addons import GPU, GPUS
from cluster.archive import image_of
from cluster.binaries import pause
from cluster.jobs import condition, has
from cluster.lifecycle import running_node
from cluster.namespaces import new_namespace
from cluster.node import Node
from cluster.pods import container, pod
from cluster.processes import wait_for
from cluster.scene import install_crds
from cluster.site import operating
from offsite_testing.world import TUNE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.testbed,
    pytest.mark.usefixtures("own_nodes", "beside"),
    pytest.mark.timeout(600),
]

TESTS = Path(__file__).parents[1]
UNIFIED = 'mount --bind cgroup /proc/$$/cgroup && exec "$0" "$@"'


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with running_node("first") as running:
        yield running


@pytest.fixture(scope="module")
def other(node: Node) -> Iterator[Node]:
    with running_node("second") as running:
        yield running


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
        status = here.reaches("rayless", has("NoKubeRay", "Accepted"))
        assert "engine: Job" in condition(status, "Accepted")
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
