"""What becomes of a job when it is stopped, killed, starved or given up: installed as users do."""

from collections.abc import Callable
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.minio import running_minio
from cluster.namespaces import Namespace
from cluster.organizations import MODEL, TEXT, Organization, settle
from cluster.parties import introduce
from offsite.resources import JobStatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

NEEDS = {"cpusPerWorker": 1, "memoryPerWorker": "1Gi"}


def distill(*, steps: int = 0, engine: str = "Job", **more: Any) -> dict[str, Any]:
    """Describe a job that makes an emulator, and trains it if it has steps."""
    made: dict[str, Any] = {
        "model": MODEL,
        "ends": {"bottom": 1, "top": 1},
        "emulator": {"blocks": 2, "heal": False},
    }
    if steps:
        made["training"] = {"corpus": TEXT, "steps": steps, "batchSize": 2, "blockSize": 16}
    runtime = {"engine": engine}
    spec = {"stage": "Distill", "peer": "hospital", "distill": made, "resources": NEEDS}
    return spec | {"runtime": runtime} | more


@pytest.fixture(scope="module")
def lab(
    crds: Cluster,
    kuberay: None,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """An organization whose peer is away; its exchange is up."""
    folder = tmp_path_factory.mktemp("lab")
    with running_minio(new_module_space("minio")) as minio:
        spaces = {name: new_module_space(name) for name in ("lab", "hospital")}
        party, peer = introduce(minio, spaces, folder)
        settle(party, peer, minio, folder)
        yield Organization(party)


def done(status: JobStatus) -> bool:
    return status.state == "Complete"


def test_a_job_completes(lab: Organization) -> None:
    lab.submit("plain", distill())
    assert lab.reaches("plain", done).attempts == 1
