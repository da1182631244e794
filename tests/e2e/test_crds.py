"""The resources in a real API server: what it takes, refuses, fills in, keeps and explains."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.namespaces import Namespace
from offsite.config import load_job, parse_job
from offsite.resources import (
    ArtifactStatus,
    Condition,
    JobStatus,
    MetricStatus,
    OffsitePeer,
    PeerCondition,
    PeerStatus,
    ProgressStatus,
)
from offsite_testing.jobs import BAD, EXAMPLES, FILES, Bad, read

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PEER: dict[str, Any] = {
    "apiVersion": "offsite-tuning.dev/v1alpha1",
    "kind": "OffsitePeer",
    "metadata": {"name": "clinic"},
    "spec": {
        "id": "hospital",
        "public": (ROOT / "tests/vectors/v1/hospital.pub").read_text(encoding="utf-8"),
    },
}


@pytest.fixture(scope="module")
def space(crds: Cluster, new_module_space: Callable[[str], Namespace]) -> Namespace:
    """A namespace of a cluster that has the resources."""
    return new_module_space("crds")


@pytest.fixture
def new_job(space: Namespace) -> Iterator[Callable[..., str]]:
    """Make a job of an example, with other fields of its spec; it is gone afterwards."""
    made = list[str]()

    def make(**more: Any) -> str:
        job = read(EXAMPLES / "tune.yaml")
        job["metadata"]["name"] = f"job-{len(made)}"
        space.kubectl(
            "create", "--filename=-", given=json.dumps({**job, "spec": job["spec"] | more})
        )
        made.append(job["metadata"]["name"])
        return made[-1]

    yield make
    space.kubectl("delete", "offsitejob", *made)


def change(space: Namespace, job: str, spec: dict[str, Any], kind: str = "offsitejob") -> None:
    """Change a resource's spec."""
    space.kubectl("patch", kind, job, "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def tell(space: Namespace, name: str, status: dict[str, Any], kind: str = "offsitejob") -> None:
    """Write a resource's status."""
    patch = f"--patch={json.dumps({'status': status})}"
    space.kubectl("patch", kind, name, "--subresource=status", "--type=merge", patch)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_example_means_the_same_here_and_there(space: Namespace, file: Path) -> None:
    options = ("--dry-run=server", "--output=json", f"--filename={file}")
    there = json.loads(space.kubectl("apply", *options))
    given = {key: there[key] for key in ("apiVersion", "kind", "spec")}
    name = {"name": there["metadata"]["name"]}
    assert parse_job({**given, "metadata": name}, source="there") == load_job(file)
    assert there["spec"]["runtime"]["engine"]  # the server filled it in, or it was there


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_bad_job_is_refused(space: Namespace, bad: Bad) -> None:
    with pytest.raises(RuntimeError) as refused:
        space.kubectl("create", "--filename=-", given=json.dumps(bad.job()))
    (told,) = [
        line for line in str(refused.value).splitlines() if (bad.server or bad.message) in line
    ]
    place = re.search(r'(?:^\* |invalid: |field ")([\w.\[\]]+)', told)
    assert place is not None
    named = place[1].replace("[", ".").rstrip("]")
    assert bad.path.startswith(named) or named.startswith(f"{bad.path}.")


@pytest.mark.parametrize(
    "spec",
    [
        {"stage": "Distill"},
        {"peer": "other"},
        {"seed": 2},
        {"tune": {"training": {"epochs": 4}}},
        {"tune": {"adapter": {"rank": None}}},
        {"resources": {"gpusPerWorker": 1}},
        {"runtime": {"nodeSelector": {"zone": "a"}}},
        {"backoffLimit": 3},
        {"activeDeadlineSeconds": 60},
    ],
    ids=str,
)
def test_what_is_fixed_cannot_be_changed(
    space: Namespace, new_job: Callable[..., str], spec: dict[str, Any]
) -> None:
    field = next(iter(spec))
    said = rf"spec\.{field}: .*{field} is immutable; create another job with another name"
    with pytest.raises(RuntimeError, match=said):
        change(space, new_job(), spec)


def test_deadline_cannot_be_taken_away(space: Namespace, new_job: Callable[..., str]) -> None:
    job = new_job(activeDeadlineSeconds=60)
    with pytest.raises(RuntimeError, match="activeDeadlineSeconds is immutable"):
        change(space, job, {"activeDeadlineSeconds": None})


def test_four_fields_may_be_changed(space: Namespace, new_job: Callable[..., str]) -> None:
    job = new_job()
    there = {"suspend": True, "cancel": True, "retries": 2, "ttlSecondsAfterFinished": 0}
    change(space, job, there)
    back = {"suspend": False, "cancel": False, "retries": 3, "ttlSecondsAfterFinished": None}
    change(space, job, back)
    spec = space.get("offsitejob", job)["spec"]
    assert {name: spec.get(name) for name in back} == back
    with pytest.raises(RuntimeError, match="retries can only increase; set a higher number"):
        change(space, job, {"retries": 2})


STATUS = JobStatus(
    conditions=[
        Condition(
            type=kind,
            status="True",
            reason=reason,
            message=f"{kind}.",
            last_transition_time=NOON,
            observed_generation=1,
        )
        for kind, reason in (("Accepted", "Accepted"), ("Complete", "Published"))
    ],
    observed_generation=1,
    state="Complete",
    step="Publish",
    progress=ProgressStatus(
        phase="tune",
        step=3,
        total_steps=4,
        percent=75.5,
        eta_seconds=0.5,
        loss=1.25,
        updated_at=NOON,
    ),
    metrics=[
        MetricStatus(name="perplexity", setting="emulator_tuned", value="9.7", text="sha256:1"),
        MetricStatus(name="perplexity", setting="emulator_zero_shot"),
    ],
    artifact=ArtifactStatus(
        name="a", digest="sha256:feed", uri="s3://exchange/a", size_bytes=2**40
    ),
    attempts=2,
    first_attempt=1,
    retries=0,
    engine="Job",
    job_name="a-123456-1-w",
    envelope=f"sha256:{'a' * 64}",
    sequence=1,
    start_time=NOON,
    lost_time=NOON,
    completion_time=NOON,
)


def test_status_is_a_thing_of_its_own(space: Namespace, new_job: Callable[..., str]) -> None:
    job = new_job()
    space.kubectl("patch", "oj", job, "--type=merge", '--patch={"status":{"state":"Complete"}}')
    assert "status" not in space.get("oj", job)
    tell(space, job, STATUS.wire())
    told = space.get("offsitejob", job)
    assert told["metadata"]["generation"] == 1
    assert told["status"] == STATUS.wire()
    assert JobStatus.model_validate(told["status"]) == STATUS
    space.wait("condition=Complete", f"offsitejob/{job}", seconds=5)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": "Done"}, "status.state: Unsupported value"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions.*Unsupported value"),
        ({"progress": {"percent": 101}}, "should be less than or equal to 100"),
    ],
    ids=str,
)
def test_wrong_status_is_refused(
    space: Namespace, new_job: Callable[..., str], status: dict[str, Any], said: str
) -> None:
    with pytest.raises(RuntimeError, match=said):
        tell(space, new_job(), status)


def test_get_shows_what_matters(space: Namespace, new_job: Callable[..., str]) -> None:
    job = new_job()
    tell(space, job, STATUS.wire())
    head, row = (line.split() for line in space.kubectl("get", "oj", job).splitlines())
    assert head == ["NAME", "STAGE", "STATE", "PROGRESS", "PEER", "AGE"]
    assert row[:-1] == [job, "Tune", "Complete", "75.5", "lab"]
    head, row = (line.split() for line in space.kubectl("get", "oj", job, "-owide").splitlines())
    assert head[6:] == ["REASON", "ARTIFACT", "EPSILON", "ATTEMPTS", "APPROVER"]
    assert row[6:] == ["Published", "sha256:feed", "2"]
    assert f"offsitejob.offsite-tuning.dev/{job}" in space.kubectl("get", "offsite", "-oname")


def test_peer_keeps_its_id_and_its_books(space: Namespace) -> None:
    space.apply(PEER)
    ready = PeerCondition(type="Ready", status="True", reason="Ready", last_transition_time=NOON)
    status = PeerStatus(conditions=[ready], fingerprint="abcd", pinned=PEER["spec"]["public"])
    tell(space, "clinic", status.wire(), "offsitepeer")
    with pytest.raises(RuntimeError, match="id is immutable; create another OffsitePeer"):
        change(space, "clinic", {"id": "other"}, "offsitepeer")
    change(space, "clinic", {"public": "new"}, "offsitepeer")
    peer = OffsitePeer.read(space.get("op", "clinic"))
    assert (peer.spec.id, peer.spec.public, peer.status) == ("hospital", "new", status)
    assert peer.metadata.generation == 2
    head, row = (line.split() for line in space.kubectl("get", "op", "-owide").splitlines())
    assert head == ["NAME", "ID", "READY", "AGE", "REASON", "FINGERPRINT"]
    assert row[:3] + row[4:] == ["clinic", "hospital", "True", "Ready", "abcd"]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("offsitejob", "One stage of an exchange between two organizations."),
        ("offsitejob.spec.tune", "Second stage, by the data owner: tune an adapter"),
        ("offsitejob.spec.tune.adapter.rank", "Rank of LoRA; absent: 16"),
        ("offsitejob.spec.runtime.tolerations", "Tolerations of the pods."),
        ("offsitejob.spec.runtime.engine", "Auto: RayJob where KubeRay is"),
        ("offsitejob.status.conditions", "Current conditions of the job."),
        ("offsitepeer.spec.public", "The public file of the organization, unchanged"),
    ],
    ids=lambda value: value.partition(" ")[0],
)
def test_kubectl_explains(space: Namespace, field: str, said: str) -> None:
    assert said in " ".join(space.kubectl("explain", field).split())
