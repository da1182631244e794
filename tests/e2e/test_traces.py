"""The test cluster is gone without a trace, however it ended: all of the machine is looked at."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cluster import cgroups
from cluster.lifecycle import running_node
from cluster.node import Node
from cluster.processes import wait_for
from offsite_testing.gobuild import cache

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.testbed,
    pytest.mark.usefixtures("own_nodes", "alone"),
    pytest.mark.timeout(1500),  # until no other process starts a node, or looks into images
]

TESTS = Path(__file__).parents[1]
PROGRAMS = ("containerd", "etcd", "kube", "program")
GROUPS = re.compile(r"/(offsite-|kubepods|k8s\.io)[^/]*$")
HELD = """
import os, signal, sys
from tempfile import TemporaryFile
from cluster.access import own
from cluster.lifecycle import running_node
from cluster.processes import wait_for
with running_node(sys.argv[1]) as node, TemporaryFile("w") as told:
    kubectl = own(node).start("proxy", "--port=0", told=told)
    wait_for(lambda: os.fstat(told.fileno()).st_size > 0)
    print(kubectl.pid, flush=True)
    signal.pause()
"""


def traces() -> dict[str, set[str]]:
    """Look at everything of this machine in which a node could leave something."""
    mounts = Path("/proc/self/mounts").read_text()  # those in the cache are of images being built
    groups = {str(path) for place in cgroups.places() for path in cgroups.tree(place)}
    return {
        "links": lines("ip", "-brief", "address"),
        "routes": lines("ip", "route", "show", "table", "all"),
        "rules": lines("iptables-save") | lines("ip6tables-save"),
        "listeners": listeners(),
        "mounts": {mount for mount in mounts.splitlines() if str(cache()) not in mount},
        "groups": {path for path in groups if GROUPS.search(path)},
        "processes": processes(),
        "files": {str(path) for place in ("/etc", "/opt") for path in Path(place).iterdir()},
        "forwarding": {Path("/proc/sys/net/ipv4/ip_forward").read_text()},
    }


def listeners() -> set[str]:
    """List the listening addresses, except the ports that kubectl forwards."""
    told = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3] for line in told.splitlines() if '("kubectl",' not in line}


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


def runs(pid: int) -> bool:
    """Whether it has not ended; what only waits to be reaped has."""
    return Path(f"/proc/{pid}/exe").exists()


def lines(*command: str) -> set[str]:
    """List the lines that a command prints, without comments and counters."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {line.partition("[")[0] for line in done.stdout.splitlines() if line[:1] != "#"}


def added(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Tell what is there now and was not before; nodes that ran before go on as they like."""
    new = {name: now - before[name] for name, now in traces().items()}
    new["listeners"] &= listeners()  # a kubectl that just begins may be told without its name
    older = set(re.findall(r"/(offsite-\w+)", "\n".join(before["groups"])))
    for name in ("groups", "processes"):
        new[name] = {line for line in new[name] if older.isdisjoint(line.split("/"))}
    return {name: more for name, more in new.items() if more}


def test_it_leaves_the_network_of_the_machine_alone() -> None:
    before = traces()
    with running_node("seen") as node:
        new, link = added(before), node.link.name
        assert {line.split()[0].split("@")[0] for line in new.pop("links")} == {link}
        assert all(link in route for route in new.pop("routes"))
        assert new.keys() == {"groups", "processes"}
    assert added(before) == {}


@pytest.mark.parametrize("component", ["containerd", "kubelet", None], ids=str)
def test_a_killed_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, component: str | None
) -> None:
    """Kill it as soon as a component was started, or once all is ready and a kubectl listens."""
    before, kubectl = traces(), list[int]()
    monkeypatch.setenv("OFFSITE_NODES", str(tmp_path / "nodes"))
    doomed = Node("doomed")
    known = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", HELD, doomed.name]
    with subprocess.Popen(command, env=known, stdout=subprocess.PIPE) as run:
        if component:
            wait_for((doomed.folder / "log" / f"{component}.log").exists)
        else:
            assert run.stdout is not None
            kubectl.append(int(run.stdout.readline()))
            assert all(map(runs, kubectl))
        run.send_signal(signal.SIGKILL)
    try:
        wait_for(lambda: not cgroups.processes(doomed.group), seconds=20)
        wait_for(lambda: not any(map(runs, kubectl)), seconds=20)
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
