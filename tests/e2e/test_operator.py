"""The operator on a real API server, as an account with no rights but those of its Role.

What the pods of a step do is another test's: here they run, wait, or cannot be made.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.images import OPERATOR
from cluster.jobs import condition, has, is_in, offsite_job, tells
from cluster.namespaces import Namespace
from cluster.processes import wait_for
from cluster.site import Site, operating
from offsite_testing.world import DISTILL, SETTINGS, TUNE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def site(crds: Cluster, namespace: Namespace, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start an operator in a namespace, by what its settings have otherwise."""
    with operating(namespace, tmp_path, crds.image(OPERATOR)) as start:
        yield start


def test_waits_for_what_the_peer_has_not_sent(site: Callable[..., Site]) -> None:
    here = site()
    here.submit("early", TUNE)
    status = here.reaches("early", has("WaitingForBundle", "Accepted"))
    assert status.state == "Pending"
    assert "no bundle named question" in condition(status, "Accepted")
    assert "WaitingForBundle" in here.space.events("early")
    here.change("early", cancel=True)
    here.reaches("early", is_in("Cancelled"))


@pytest.mark.parametrize(
    ("changes", "kind", "reason", "why"),
    [
        ({"peer": "nobody"}, "Failed", "NotAllowed", "spec.peer"),
        ({"peer": "clinic"}, "Accepted", "PeerNotFound", "there is no OffsitePeer clinic"),
        ({"runtime": {"image": "evil/miner"}}, "Failed", "NotAllowed", "runtime.image"),
    ],
    ids=["peer", "no-peer", "image"],
)
def test_says_why_a_job_may_not_run(
    site: Callable[..., Site], changes: dict[str, Any], kind: str, reason: str, why: str
) -> None:
    bounds = SETTINGS.bounds.model_dump(mode="json", by_alias=True)
    here = site(bounds=bounds | {"peers": ["lab", "clinic"]})
    here.submit("refused", TUNE, **changes)
    assert why in condition(here.reaches("refused", has(reason, kind)), kind)
    assert reason in here.space.events("refused")
    assert here.children("refused") == []


def test_a_hub_that_may_not_be_reached_is_told(site: Callable[..., Site]) -> None:
    here = site()
    section = DISTILL["distill"] | {"model": "hf://org/model"}
    here.submit("hub", DISTILL, distill=section)
    here.reaches("hub", has("EgressDisabled", "Failed"))


def test_an_image_that_is_not_there_fails(site: Callable[..., Site]) -> None:
    here = site(images={"operator": "localhost/none:1", "runtime": "localhost/none:1"})
    here.submit("pull", DISTILL, runtime={"engine": "Job"})
    here.reaches("pull", tells("cannot pull the image"))
    here.reaches("pull", has("ImagePullFailed", "Failed"))
    wait_for(lambda: here.space.get("pods")["items"] == [], seconds=120)


@pytest.fixture
def waiting(site: Callable[..., Site]) -> Site:
    """A job whose pod waits for a Secret that nobody made."""
    here = site(identity={"secret": "later"})
    here.submit("keyless", DISTILL, runtime={"engine": "Job"})
    assert here.reaches("keyless", tells('secret "later" not found')).state == "Pending"
    return here


def test_a_suspended_job_goes_on_as_the_same_attempt(waiting: Site) -> None:
    (before,) = waiting.children("keyless")
    waiting.change("keyless", suspend=True)
    waiting.reaches("keyless", is_in("Suspended"))
    wait_for(lambda: waiting.children("keyless") == [])
    assert waiting.space.get("pods")["items"] == []
    waiting.change("keyless", suspend=False)
    wait_for(lambda: len(waiting.children("keyless")) == 1)
    (after,) = waiting.children("keyless")
    assert after["metadata"]["name"] == before["metadata"]["name"]
    assert waiting.reaches("keyless", is_in("Pending")).attempts == 1


def test_a_cancelled_job_keeps_its_record_alone(waiting: Site) -> None:
    waiting.change("keyless", cancel=True)
    waiting.reaches("keyless", is_in("Cancelled"))
    wait_for(lambda: waiting.children("keyless") == [])


def test_a_deleted_job_leaves_nothing(waiting: Site) -> None:
    waiting.space.kubectl("delete", "oj", "keyless", "--timeout=60s")
    for kind in ("jobs", "pods", "configmaps"):
        wait_for(lambda kind=kind: _ours(waiting.space, kind) == [])  # type: ignore[misc]


def test_a_job_that_is_being_deleted_stops_despite_a_finalizer(waiting: Site) -> None:
    space, held = waiting.space, '{"metadata":{"finalizers":["example.com/held"]}}'
    space.kubectl("patch", "oj", "keyless", "--type=merge", f"--patch={held}")
    space.kubectl("delete", "oj", "keyless", "--wait=false")
    try:
        for kind in ("jobs", "pods"):
            wait_for(lambda kind=kind: _ours(space, kind) == [])  # type: ignore[misc]
        assert space.get("oj/keyless")["metadata"]["deletionTimestamp"]
    finally:
        free = '{"metadata":{"finalizers":null}}'
        space.kubectl("patch", "oj", "keyless", "--type=merge", f"--patch={free}")
    wait_for(lambda: _ours(space, "configmaps") == [])


def test_no_more_jobs_run_at_once_than_are_allowed(site: Callable[..., Site]) -> None:
    bounds = SETTINGS.bounds.model_dump(mode="json", by_alias=True, exclude_none=True)
    here = site(bounds=bounds | {"maxRunningJobs": 2}, identity={"secret": "later"})
    names = [f"crowd-{number}" for number in range(5)]
    here.space.apply(*(offsite_job(name, DISTILL) for name in names))
    for _ in range(2):  # those that run, and then those that take their places
        begun = _begun(here, names)
        assert len(begun) == 2
        names = [name for name in names if name not in begun]
        for name in names:
            here.reaches(name, has("TooManyJobs", "Running"))
            assert here.status(name).state == "Queued"
        assert len(_ours(here.space, "jobs")) == 2
        for name in begun:
            here.change(name, cancel=True)
        for name in begun:
            here.reaches(name, is_in("Cancelled"))
        wait_for(lambda begun=begun: not set(_running(here)) & set(begun))  # type: ignore[misc]
    assert _begun(here, names, 1) == names


def _begun(here: Site, names: list[str], awaited: int = 2) -> list[str]:
    """Wait for children of some jobs; give the names of these jobs."""
    wait_for(lambda: len(set(_running(here)) & set(names)) >= awaited)
    return sorted(set(_running(here)) & set(names))


def _running(here: Site) -> list[str]:
    jobs = _ours(here.space, "jobs")
    return [each["metadata"]["labels"]["offsite-tuning.dev/job"] for each in jobs]


def _ours(space: Namespace, kind: str) -> list[Any]:
    selector = "-l=app.kubernetes.io/managed-by=offsite-operator"
    found: list[Any] = space.get(kind, selector)["items"]
    return found


def test_a_quota_that_is_used_up_is_waited_for(site: Callable[..., Site]) -> None:
    here = site()
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    here.space.apply(quota | {"spec": {"hard": {"requests.memory": "512Mi"}}})
    here.space.wait("jsonpath={.status.hard}", "resourcequota/small")
    here.submit("large", DISTILL, runtime={"engine": "Job"})
    assert here.reaches("large", tells("exceeded quota: small")).state == "Pending"


def test_what_fails_is_tried_again_and_then_given_up(site: Callable[..., Site]) -> None:
    here = site()  # its identity holds no keys
    here.submit("broken", DISTILL, runtime={"engine": "Job"}, backoffLimit=0)
    assert here.reaches("broken", is_in("Failed")).attempts == 1
    here.change("broken", retries=1)
    here.reaches("broken", lambda status: status.attempts == 2 and status.state == "Failed")
    assert len(here.children("broken")) == 2


def test_a_foreign_object_with_the_same_name_is_left_alone(site: Callable[..., Site]) -> None:
    here = site()
    here.submit("taken", DISTILL, runtime={"engine": "Job"}, suspend=True)
    here.reaches("taken", is_in("Suspended"))
    uid = here.space.get("oj/taken")["metadata"]["uid"]
    name = f"taken-{uid[:6]}-1-o"
    here.space.kubectl("create", "configmap", name, "--from-literal=of=somebody")
    here.change("taken", suspend=False)
    here.reaches("taken", has("NameTaken", "Running"))
    found = here.space.get(f"configmap/{name}")
    assert found["data"] == {"of": "somebody"}
    assert "ownerReferences" not in found["metadata"]


def test_two_operators_do_no_harm(site: Callable[..., Site]) -> None:
    here = site()
    site()
    for number in range(5):
        here.submit(f"twin-{number}", DISTILL, runtime={"engine": "Job"}, backoffLimit=0)
    for number in range(5):
        here.reaches(f"twin-{number}", is_in("Failed"))
        assert len(here.children(f"twin-{number}")) == 1
