"""A test that fails reports what the cluster knows of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.access import KUBECONFIG, Cluster
from cluster.images import OPERATOR
from cluster.namespaces import Namespace
from cluster.pods import container, pod
from cluster.reports import report

pytestmark = [pytest.mark.e2e, pytest.mark.testbed, pytest.mark.timeout(600)]

FAILING = Path(__file__).parent / "programs" / "failing.py"


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    return cluster.image(OPERATOR)


def test_a_failure_shows_its_namespace(kuberay: None, cluster: Cluster, image: str) -> None:
    """Run a failing test with pytest, on this cluster as if it were a foreign one."""
    programs = Path(cluster.kubectl_path).parent
    named = {KUBECONFIG: str(cluster.kubeconfig), "IMAGE": image}
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pytest", "-m", "e2e", "-p", "no:cacheprovider", str(FAILING)]
    done = subprocess.run(command, env=os.environ | named | path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    told = sections(done.stdout)
    assert told["events"].count("BackoffLimitExceeded") == 1
    assert "Exit Code:    1" in told["pods"]
    assert re.search(r"^Name: +broken$", told["jobs"], re.MULTILINE)
    assert re.search(r"^Name: +data$", told["persistentvolumeclaims"], re.MULTILINE)
    assert re.search(r"^Name: +waiting$", told["rayjobs,rayclusters"], re.MULTILINE)
    assert "ZeroDivisionError" in next(text for name, text in told.items() if "log of pod" in name)
    assert "RayJob" in told["log of the KubeRay operator"]
    [space] = set(re.findall(r"^-+ (test-\w+): events -+$", done.stdout, re.MULTILINE))
    assert space not in cluster.kubectl("get", "namespaces", "--output=name")


def sections(output: str) -> dict[str, str]:
    """Read what pytest shows of a failure, by the titles without the namespace's name."""
    _, *parts = re.split(r"^-+ (?:test-\w+: )?(.+?) -+$", output, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_our_own_node_tells_of_the_api_and_its_components(
    own_cluster: Cluster, namespace: Namespace, image: str
) -> None:
    namespace.apply(pod("once", container(image, "true")))
    told = dict(report(own_cluster, [namespace]))
    assert "/pods/once" in told[f"{namespace.name}: audit log"]
    assert "kube-apiserver starts" in told["log of supervisor"]


def test_a_cluster_that_does_not_answer_hides_nothing(cluster: Cluster, tmp_path: Path) -> None:
    here = cluster.kubectl("config", "view", "--minify", "--raw", "--flatten")
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(re.sub("server: .*", "server: https://127.0.0.1:1", here), "utf-8")
    gone = Cluster(nowhere, cluster.kubectl_path)
    told = dict(report(gone, [Namespace(gone, "first"), Namespace(gone, "second")]))
    assert {name for name, text in told.items() if "refused" in text} >= {
        *(f"{space}: {what}" for space in ("first", "second") for what in ("events", "pods")),
        "log of the KubeRay operator",
    }
    assert not [name for name in told if "log of" in name and "KubeRay" not in name]
