"""The operator on a real API server, as an account with no rights but those of its Role.

What the pods of a step do is another test's: here they run, wait, or cannot be made.
"""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from cluster.access import Cluster
from cluster.images import OPERATOR
from cluster.namespaces import Namespace
from offsite.resources import JobStatus
from offsite.sealing import Ring
from offsite.sealing.parts import canonical
from offsite.store.folder import FolderStore
from offsite_operator.api import Api
from offsite_operator.incoming import Desk
from offsite_operator.metrics import Metrics
from offsite_operator.operating import operate
from offsite_operator.settings import Settings
from offsite_testing.world import DISTILL, SETTINGS, TUNE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EVERYTHING = ["get", "list", "watch", "create", "patch", "delete"]
RULES = [
    {
        "apiGroups": ["offsite-tuning.dev"],
        "resources": ["offsitejobs", "offsitepeers"],
        "verbs": ["get", "list", "watch", "patch", "delete"],
    },
    {
        "apiGroups": ["offsite-tuning.dev"],
        "resources": ["offsitejobs/status", "offsitepeers/status"],
        "verbs": ["get", "patch", "update"],
    },
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": EVERYTHING},
    {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": EVERYTHING},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "list"]},
]
"""What the operator may do. Deleting jobs is for ttlSecondsAfterFinished."""


@dataclass(frozen=True)
class Site:
    """A namespace in which an operator runs."""

    space: Namespace
    exchange: Path

    def submit(self, name: str, content: dict[str, Any], **changes: Any) -> None:
        """Create an OffsiteJob."""
        kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsiteJob"}
        self.space.apply(kind | {"metadata": {"name": name}, "spec": content | changes})

    def change(self, name: str, **changes: Any) -> None:
        """Change the spec of an OffsiteJob."""
        patch = json.dumps({"spec": changes})
        self.space.kubectl("patch", "oj", name, "--type=merge", f"--patch={patch}")

    def status(self, name: str) -> JobStatus:
        """Read what became of an OffsiteJob."""
        return JobStatus.model_validate(self.space.get(f"oj/{name}").get("status", {}))

    def says(self, name: str, kind: str) -> tuple[str, str]:
        """Read reason and message of a condition."""
        found = (c for c in self.status(name).conditions if c.type == kind)
        return next(((c.reason, c.message) for c in found), ("", ""))

    def children(self, name: str) -> list[Any]:
        """List the Jobs of an OffsiteJob."""
        found: list[Any] = self.space.get("jobs", f"-l=offsite-tuning.dev/job={name}")["items"]
        return found


@pytest.fixture
def site(crds: Cluster, namespace: Namespace, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start an operator in a namespace, by what its settings have otherwise."""
    stop, threads = threading.Event(), list[threading.Thread]()
    own, lab = Ring.new("hospital"), Ring.new("lab")

    def start(**changes: Any) -> Site:
        settings = _settings(crds.image(OPERATOR), **changes)
        desk = Desk(own.public(), FolderStore(tmp_path))
        if not threads:
            _prepare(namespace, lab)
        api = Api(_account(namespace, tmp_path), namespace.name)
        arguments = (api, settings, desk, Metrics(), stop)
        threads.append(threading.Thread(target=operate, args=arguments))
        threads[-1].start()
        return Site(namespace, tmp_path)

    try:
        yield start
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def _settings(image: str, **changes: Any) -> Settings:
    images = {"operator": image, "runtime": image}
    wire = SETTINGS.model_dump(mode="json", by_alias=True) | {"images": images, **changes}
    return Settings.model_validate_json(json.dumps(wire))


def _prepare(space: Namespace, lab: Ring) -> None:
    """What the chart and the administrator make: accounts, Secrets, the peer."""
    for account in ("offsite-operator", "offsite-step"):
        space.kubectl("create", "serviceaccount", account)
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    space.apply(role | {"metadata": {"name": "operator"}, "rules": RULES})
    subject = f"--serviceaccount={space.name}:offsite-operator"
    space.kubectl("create", "rolebinding", "operator", "--role=operator", subject)
    for name, keys in (
        ("keys", ("ring.json", "passphrase")),
        ("account", ("credentials.json",)),
        ("store", ("credentials.json", "ca.crt")),
    ):
        literals = (f"--from-literal={key}=none" for key in keys)
        space.kubectl("create", "secret", "generic", name, *literals)
    public = canonical(lab.public().wire()).decode()
    kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsitePeer"}
    space.apply(kind | {"metadata": {"name": "lab"}, "spec": {"id": "lab", "public": public}})


def _account(space: Namespace, folder: Path) -> ApiClient:
    """Reach the cluster as the operator does, with the token of its ServiceAccount."""
    view = space.cluster.kubectl("config", "view", "--raw", "--minify", "--output=json")
    reached = json.loads(view)["clusters"][0]["cluster"]
    authority = folder / "authority.crt"
    authority.write_bytes(b64decode(reached["certificate-authority-data"]))
    configuration = Configuration()
    configuration.host = reached["server"]
    configuration.ssl_ca_cert = str(authority)
    token = space.kubectl("create", "token", "offsite-operator", "--duration=1h").strip()
    configuration.api_key["authorization"] = token
    configuration.api_key_prefix["authorization"] = "Bearer"
    return ApiClient(configuration)


def wait(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_waits_for_what_the_peer_has_not_sent(site: Callable[..., Site]) -> None:
    here = site()
    here.submit("early", TUNE)
    wait(lambda: here.says("early", "Accepted")[0] == "WaitingForBundle")
    assert here.status("early").state == "Pending"
    assert "no bundle named question" in here.says("early", "Accepted")[1]
    assert "WaitingForBundle" in here.space.events("early")
    here.change("early", cancel=True)
    wait(lambda: here.status("early").state == "Cancelled")


@pytest.mark.parametrize(
    ("changes", "kind", "reason", "said"),
    [
        ({"peer": "nobody"}, "Failed", "NotAllowed", "spec.peer"),
        ({"peer": "clinic"}, "Accepted", "PeerNotFound", "there is no OffsitePeer clinic"),
        ({"runtime": {"image": "evil/miner"}}, "Failed", "NotAllowed", "runtime.image"),
        ({"runtime": {"engine": "RayJob"}}, "Accepted", "NoKubeRay", "engine: Job"),
    ],
    ids=["peer", "no-peer", "image", "no-kuberay"],
)
def test_says_why_a_job_may_not_run(
    site: Callable[..., Site], changes: dict[str, Any], kind: str, reason: str, said: str
) -> None:
    bounds = SETTINGS.bounds.model_dump(mode="json", by_alias=True)
    here = site(bounds=bounds | {"peers": ["lab", "clinic"]})
    if reason == "NoKubeRay" and _has_kuberay(here.space.cluster):
        pytest.skip("this cluster has KubeRay")
    here.submit("refused", TUNE, **changes)
    wait(lambda: here.says("refused", kind)[0] == reason)
    assert said in here.says("refused", kind)[1]
    assert reason in here.space.events("refused")
    assert here.children("refused") == []


def _has_kuberay(cluster: Cluster) -> bool:
    return "rayjobs" in cluster.kubectl("api-resources", "--api-group=ray.io")


def test_a_hub_that_may_not_be_reached_is_told(site: Callable[..., Site]) -> None:
    here = site()
    section = DISTILL["distill"] | {"model": "hf://org/model"}
    here.submit("hub", DISTILL, distill=section)
    wait(lambda: here.says("hub", "Failed")[0] == "EgressDisabled")


def test_an_image_that_is_not_there_fails(site: Callable[..., Site]) -> None:
    here = site(images={"operator": "localhost/none:1", "runtime": "localhost/none:1"})
    here.submit("pull", DISTILL, runtime={"engine": "Job"})
    wait(lambda: "cannot be pulled" in here.says("pull", "Running")[1])
    wait(lambda: here.says("pull", "Failed")[0] == "ImagePullFailed", seconds=120)
    wait(lambda: here.space.get("pods")["items"] == [], seconds=120)


@pytest.fixture
def waiting(site: Callable[..., Site]) -> Site:
    """A job whose pod waits for GPUs that no node has."""
    here = site()
    more = {"resources": {"gpusPerWorker": 64}, "runtime": {"engine": "Job"}}
    here.submit("greedy", DISTILL, **more)
    wait(lambda: "not enough nvidia.com/gpu" in here.says("greedy", "Running")[1])
    assert here.status("greedy").state == "Pending"
    return here


def test_a_suspended_job_goes_on_as_the_same_attempt(waiting: Site) -> None:
    (before,) = waiting.children("greedy")
    waiting.change("greedy", suspend=True)
    wait(lambda: waiting.status("greedy").state == "Suspended")
    wait(lambda: waiting.children("greedy") == [])
    assert waiting.space.get("pods")["items"] == []
    waiting.change("greedy", suspend=False)
    wait(lambda: len(waiting.children("greedy")) == 1)
    (after,) = waiting.children("greedy")
    assert after["metadata"]["name"] == before["metadata"]["name"]
    wait(lambda: waiting.status("greedy").state == "Pending")
    assert waiting.status("greedy").attempts == 1


def test_a_cancelled_job_keeps_its_record_alone(waiting: Site) -> None:
    waiting.change("greedy", cancel=True)
    wait(lambda: waiting.status("greedy").state == "Cancelled")
    wait(lambda: waiting.children("greedy") == [])


def test_a_deleted_job_leaves_nothing(waiting: Site) -> None:
    waiting.space.kubectl("delete", "oj", "greedy", "--timeout=60s")
    for kind in ("jobs", "pods", "configmaps"):
        wait(lambda kind=kind: _ours(waiting.space, kind) == [])  # type: ignore[misc]


def _ours(space: Namespace, kind: str) -> list[Any]:
    selector = "-l=app.kubernetes.io/managed-by=offsite-operator"
    found: list[Any] = space.get(kind, selector)["items"]
    return found


def test_a_quota_that_is_used_up_is_waited_for(site: Callable[..., Site]) -> None:
    here = site()
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    here.space.apply(quota | {"spec": {"hard": {"requests.memory": "1Gi"}}})
    here.space.wait("jsonpath={.status.hard}", "resourcequota/small")
    here.submit("large", DISTILL, runtime={"engine": "Job"})
    wait(lambda: "exceeded quota: small" in here.says("large", "Running")[1])
    assert here.status("large").state == "Pending"


def test_what_fails_is_tried_again_and_then_given_up(site: Callable[..., Site]) -> None:
    here = site()  # its runtime image has no torch
    here.submit("broken", DISTILL, runtime={"engine": "Job"}, backoffLimit=0)
    wait(lambda: here.status("broken").state == "Failed", seconds=120)
    assert here.status("broken").attempts == 1
    here.change("broken", retries=1)
    wait(lambda: here.status("broken").attempts == 2, seconds=120)
    wait(lambda: here.status("broken").state == "Failed", seconds=120)
    assert len(here.children("broken")) == 2


def test_what_somebody_else_has_under_a_name_is_left_alone(site: Callable[..., Site]) -> None:
    here = site()
    here.submit("taken", DISTILL, runtime={"engine": "Job"}, suspend=True)
    wait(lambda: here.status("taken").state == "Suspended")
    uid = here.space.get("oj/taken")["metadata"]["uid"]
    name = f"taken-{uid[:6]}-1-w"
    here.space.kubectl("create", "configmap", name, "--from-literal=of=somebody")
    here.change("taken", suspend=False)
    wait(lambda: here.says("taken", "Running")[0] == "NameTaken")
    found = here.space.get(f"configmap/{name}")
    assert found["data"] == {"of": "somebody"}
    assert "ownerReferences" not in found["metadata"]


def test_two_operators_do_no_harm(site: Callable[..., Site]) -> None:
    here = site()
    site()
    for number in range(5):
        here.submit(f"twin-{number}", DISTILL, runtime={"engine": "Job"}, backoffLimit=0)
    for number in range(5):
        wait(lambda n=number: here.status(f"twin-{n}").state == "Failed", 120)  # type: ignore[misc]
        assert len(here.children(f"twin-{number}")) == 1
