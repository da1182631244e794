"""The whole way of two organizations: the commands of docs/tutorial.md, word for word."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.binaries import helm
from cluster.images import MINIO, OPERATOR, ROOT, RUNTIME
from cluster.namespaces import Namespace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

SPACES = ("exchange", "lab", "hospital")
PAGE = ROOT / "docs/tutorial.md"
PRIVATE = "## 7. With differential privacy"


@pytest.fixture(scope="module")
def spaces(
    cluster: Cluster, reported: Callable[[Namespace], None]
) -> Iterator[dict[str, Namespace]]:
    """The namespaces that the tutorial makes, which are deleted when the tests are done."""
    there = cluster.kubectl("get", "namespace", *SPACES, "--ignore-not-found", "--output=name")
    assert not there, f"these may be somebody's; the tutorial would make them: {there}"
    cluster.spaces.extend(SPACES)
    found = {name: Namespace(cluster, name) for name in SPACES}
    for space in found.values():
        reported(space)
    yield found
    cluster.kubectl("delete", "namespace", *SPACES, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run."""
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def done(
    cluster: Cluster,
    kuberay: None,
    spaces: dict[str, Namespace],
    folder: Path,
) -> dict[str, Any]:
    """The jobs when the commands have been run; gives each with its status, by name."""
    (folder / "charts").symlink_to(ROOT / "charts")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "helm").symlink_to(helm())
    (programs / "kubectl").symlink_to(cluster.kubectl_path)
    run(PAGE.read_text().partition(PRIVATE)[0], folder, cluster)
    owners = {"coding-emulator": "lab", "coding-adapter": "hospital", "coding-model": "lab"}
    return {name: spaces[owner].get(f"offsitejob/{name}") for name, owner in owners.items()}


@pytest.fixture(scope="module")
def private(
    done: dict[str, Any], spaces: dict[str, Namespace], folder: Path, cluster: Cluster
) -> dict[str, Any]:
    """The job of the section on differential privacy, which goes on from where the others end."""
    run(PAGE.read_text().partition(PRIVATE)[2], folder, cluster)
    made: dict[str, Any] = spaces["hospital"].get("offsitejob/private-adapter")
    return made


def run(page: str, folder: Path, cluster: Cluster) -> None:
    """Run the commands of a page as a user would who has the three programs on the PATH."""
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    script = f"set -euo pipefail\ntrap 'kill $(jobs -p) || true' EXIT\n{commands}"
    images = {"OPERATOR_IMAGE": OPERATOR, "RUNTIME_IMAGE": RUNTIME, "MINIO_IMAGE": MINIO}
    environ = {
        **cluster.environ,
        **{name: cluster.image(image) for name, image in images.items()},
        "PATH": f"{folder / 'bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "KUBECONFIG": str(cluster.kubeconfig),
    }
    told = folder / "told.txt"
    with told.open("w") as file:
        ended = subprocess.run(
            ["bash", "-x", "-c", script], cwd=folder, env=environ, stdout=file, stderr=file
        )
    assert ended.returncode == 0, told.read_text()[-20_000:]


def figures(job: dict[str, Any]) -> dict[str, float]:
    return {m["setting"]: float(m["value"]) for m in job["status"]["metrics"]}


def test_every_job_is_complete(done: dict[str, Any]) -> None:
    for name, job in done.items():
        assert job["status"]["state"] == "Complete", name
        assert job["status"]["artifact"]["digest"].startswith("sha256:")
        assert job["status"]["engine"] == "RayJob"


def test_the_figures_are_what_offsite_tuning_promises(done: dict[str, Any]) -> None:
    lab, hospital = figures(done["coding-model"]), figures(done["coding-adapter"])
    assert lab["plug_in"] < lab["full_zero_shot"]
    assert lab["plug_in"] < hospital["emulator_tuned"]
    metrics = [m for job in done.values() for m in job["status"]["metrics"]]
    texts = {m["text"] for m in metrics if m["name"] == "perplexity"}
    assert len(texts) == 1


@pytest.mark.long
def test_the_private_adapter_states_its_privacy(
    done: dict[str, Any], private: dict[str, Any]
) -> None:
    privacy = private["status"]["privacy"]
    assert 0 < privacy["epsilon"] <= 8
    assert (privacy["unit"], privacy["steps"]) == ("row", 20)
    assert "privacy" not in done["coding-adapter"]["status"]


def test_what_trains_holds_no_keys(done: dict[str, Any], spaces: dict[str, Namespace]) -> None:
    for name, job in done.items():
        space = spaces[job["metadata"]["namespace"]]
        ray = space.get(f"rayjob/{job['metadata']['name']}-{job['metadata']['uid'][:6]}-1-w")
        head = ray["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        secrets = {v["secret"]["secretName"] for v in head["volumes"] if "secret" in v}
        assert secrets <= {"offsite-private"}, name
        assert head["automountServiceAccountToken"] is False
        # KubeRay's CRD knows it, and did not drop it
        assert ray["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
