"""What becomes of a job when it is stopped, starved or given up: installed as users do."""

import json
import math
import re
import sys
from typing import Any
from urllib.parse import urlparse

import pytest

from cluster.helm import in_space, install
from cluster.images import OPERATOR
from cluster.jobs import condition, has, is_in, seen, tells
from cluster.killing import kill
from cluster.organizations import CLAIM, MODEL, TEXT, Organization
from cluster.overcommit import overcommitted
from cluster.processes import run, wait_for
from cluster.stages import NEEDS, distill
from cluster.trainings import LONG, first_step, training
from cluster.watching import NAME, watched
from offsite.resources import JobStatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

RAY = "offsite-tuning.dev/ray"
KINDS = "deployments,serviceaccounts,roles,rolebindings,jobs,rayjobs"
OPERATED = {
    "deployment.apps/offsite-operator",
    "role.rbac.authorization.k8s.io/offsite-stop",
    "serviceaccount/offsite-stop",
    "rolebinding.rbac.authorization.k8s.io/offsite-stop",
    "job.batch/offsite-stop",
}
"""What an uninstall leaves nothing of."""
AT_ONCE = "RES_OPTIONS=timeout:1 attempts:1 ndots:1"
"""For the resolver: one question, which is answered at once or not at all."""
LOOK = """
import pathlib, socket, sys, urllib.parse
url, address = urllib.parse.urlparse(sys.argv[1]), sys.argv[2]
places = ("/etc/offsite/identity", "/etc/offsite/exchange", "/var/run/secrets")
seen = [place for place in places if pathlib.Path(place).exists()]
try:
    socket.gethostbyname(url.hostname)
    seen.append("names")
except OSError:
    pass
try:
    socket.create_connection((address, url.port), timeout=3)
    seen.append(address)
except OSError:
    pass
print(*(seen or ["nothing"]))
"""

SEE = """
import json, pathlib
root = pathlib.Path("/private/offsite/work")
uid = next(root.iterdir())
(uid / "up").symlink_to("../..")
shown = ("/private", "/private/offsite", "/private/offsite/work", "/mnt/claims/given")
told = {each: sorted(p.name for p in pathlib.Path(each).iterdir()) for each in shown}
told["written"] = []
own = pathlib.Path("/mnt/claims/given/own")
for place in (uid, uid / "up", *root.parents, own, own / "model", own.parent):
    try:
        (place / "probe").write_text("x")
        told["written"].append(str(place))
        (place / "probe").unlink()
    except OSError:
        pass
print(json.dumps(told))
"""


def test_a_job_completes_and_leaves_no_pod_that_runs(lab: Organization) -> None:
    lab.submit("plain", distill())
    status = lab.reaches("plain", is_in("Complete"))
    assert (status.attempts, status.engine) == (1, "Job")
    assert status.artifact is not None
    assert status.artifact.name == "plain"


def test_a_pod_tries_both_stores_for_the_administrator(lab: Organization) -> None:
    cluster = lab.space.cluster
    place = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={lab.space.name}")
    command = [sys.executable, "-m", "offsite_cli", "doctor", "--deep", *place]
    told = run(command, environment=cluster.environ)
    for store in ("exchange", "private"):
        assert re.search(rf"^ok    {store} store: .* was written, read, listed", told, re.MULTILINE)
    assert not re.search(r"^fail|but not the operator", told, re.MULTILINE)
    wait_for(lambda: "offsite-check" not in lab.space.kubectl("get", "jobs", "--output=name"))


def test_a_suspended_job_goes_on_from_its_checkpoint(lab: Organization) -> None:
    lab.submit("paused", distill(steps=LONG))
    lab.reaches("paused", training)
    lab.change("paused", suspend=True)
    lab.reaches("paused", is_in("Suspended"))
    wait_for(lambda: lab.pods("paused", "work") == [], 120)
    lab.change("paused", suspend=False)
    pod = lab.running("paused", "work")
    assert first_step(lab, pod) > 1
    assert lab.reaches("paused", is_in("Complete"), 600).attempts == 1


def test_a_cancelled_job_stops_and_keeps_its_record(lab: Organization) -> None:
    lab.submit("cancelled", distill(steps=LONG))
    lab.reaches("cancelled", training)
    lab.change("cancelled", cancel=True)
    status = lab.reaches("cancelled", is_in("Cancelled"))
    assert condition(status, "Failed").startswith("Cancelled")
    # the step before had ended by itself, and its log is part of the record
    wait_for(
        lambda: all(
            each.startswith("configmap/") or "-1-o" in each for each in lab.left("cancelled")
        ),
        120,
    )
    assert lab.busy("cancelled") == []


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_a_deleted_job_leaves_nothing(lab: Organization, engine: str) -> None:
    name = f"deleted-{engine.lower()}"
    lab.submit(name, distill(steps=LONG, engine=engine))
    lab.running(name, "work")
    if engine == "RayJob":
        wait_for(lambda: any("raycluster" in each for each in lab.left(name)), 120)
    lab.space.kubectl("delete", "offsitejob", name, "--timeout=60s")
    wait_for(lambda: lab.left(name) == [], 240)


def test_jobs_under_a_quota_all_complete(lab: Organization) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "room"}}
    lab.space.apply(quota | {"spec": {"hard": {"pods": "3"}}})  # one is the operator
    lab.space.wait("jsonpath={.status.hard}", "resourcequota/room")
    try:
        names = [f"crowd-{number}" for number in range(4)]
        lab.submit_all(dict.fromkeys(names, distill()))
        with watched(lab.space, "offsitejobs", NAME, ".status") as jobs:
            jobs.first(seen(tells("quota has no room")), 120)
        for name in names:
            lab.reaches(name, is_in("Complete"), 900)
    finally:
        lab.space.kubectl("delete", "resourcequota", "room")


def test_engines_and_workers_agree(lab: Organization) -> None:
    """One pod without Ray makes the same figures as two pods on Ray, each with half a block."""
    spec = distill(steps=8)
    spec["distill"]["evaluate"] = TEXT
    workers = {"resources": NEEDS | {"workers": 2, "sharding": "FSDP"}}
    lab.submit("one-worker", spec)
    with overcommitted(lab.space, RAY):
        lab.submit("two-workers", spec | workers | {"runtime": {"engine": "RayJob"}})
        two = lab.reaches("two-workers", is_in("Complete"), 900)
    one = lab.reaches("one-worker", is_in("Complete"))
    assert (one.engine, two.engine) == ("Job", "RayJob")
    assert _figures(two) == pytest.approx(_figures(one), rel=0.01)
    assert "ray-worker" in lab.space.kubectl(
        "get", "events", "--output=jsonpath={.items[*].message}"
    )


def _figures(status: JobStatus) -> dict[str, float]:
    return {metric.setting: float(metric.value or math.inf) for metric in status.metrics}


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("greedy", {"resources": NEEDS | {"gpusPerWorker": 64}}, "not enough nvidia.com/gpu"),
        (
            "unpulled",
            {"runtime": {"engine": "Job", "image": "localhost/none:1"}},
            "cannot pull the image",
        ),
        ("huge", {"resources": NEEDS | {"memoryPerWorker": "900Gi"}}, "no node has room"),
    ],
)
def test_a_job_that_cannot_start_says_why(
    lab: Organization, name: str, changes: dict[str, Any], why: str
) -> None:
    lab.submit(name, distill() | changes)
    lab.reaches(name, tells(why), 120)
    assert why in lab.space.events(name)
    lab.space.kubectl("delete", "offsitejob", name)


def test_a_missing_secret_is_said_and_waited_for(lab: Organization) -> None:
    secret = lab.space.get("secret/offsite-exchange")
    lab.space.kubectl("delete", "secret", "offsite-exchange")
    try:
        lab.submit("keyless", distill())
        lab.reaches("keyless", tells('secret "offsite-exchange" not found'))
    finally:
        lab.space.apply({**secret, "metadata": {"name": "offsite-exchange"}})
    assert lab.reaches("keyless", is_in("Complete")).attempts == 1


def test_a_model_that_is_not_there_fails_at_once(lab: Organization) -> None:
    job = distill()
    job["distill"]["model"] = f"{MODEL}-of-somebody"
    lab.submit("nowhere", job)
    status = lab.reaches("nowhere", is_in("Failed"))
    assert status.attempts == 1
    assert "ModelError" in condition(status, "Failed")
    assert "model-of-somebody" in condition(status, "Failed")


def test_a_head_that_keeps_ending_is_given_up(lab: Organization) -> None:
    image = lab.space.cluster.image(OPERATOR)  # it has no Ray
    lab.submit("rayless", distill() | {"runtime": {"engine": "RayJob", "image": image}})
    lab.reaches("rayless", tells("keeps exiting"))
    status = lab.reaches("rayless", has("PodCrashes", "Failed"))
    assert "exit code 127" in condition(status, "Failed")
    wait_for(lambda: lab.busy("rayless") == [], 120)


def test_what_fails_is_given_up_and_tried_again_when_asked(lab: Organization) -> None:
    lab.submit("retried", distill(steps=LONG, backoffLimit=0))
    lab.reaches("retried", training)
    kill(lab.space, lab.running("retried", "work"), "offsite run")
    status = lab.reaches("retried", is_in("Failed"))
    assert condition(status, "Failed").startswith("BackoffLimitExceeded: Work failed 1 times")
    lab.change("retried", retries=1)
    assert lab.reaches("retried", is_in("Complete"), 600).attempts == 2


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_pods_that_train_hold_no_keys_reach_no_exchange_and_resolve_no_names(
    lab: Organization, engine: str
) -> None:
    name = f"blind-{engine.lower()}"
    lab.submit(name, distill(steps=100 * LONG, engine=engine))
    lab.reaches(name, training, 400)
    exchange, address = exchange_of(lab)
    for each in lab.pods(name, "work"):
        volumes = each["spec"]["volumes"]
        assert not [v for v in volumes if "secret" in v or "projected" in v]
        assert each["spec"]["automountServiceAccountToken"] is False
        look = ("env", AT_ONCE, "python", "-c", LOOK, exchange, address)
        # the submitter alone has to find something by its name
        seen = "names\n" if each["metadata"]["labels"].get(RAY) == "submitter" else "nothing\n"
        assert lab.space.kubectl("exec", each["metadata"]["name"], "--", *look) == seen
    lab.change(name, cancel=True)


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_pods_that_train_see_their_own_folder_and_write_nothing_that_they_read(
    lab: Organization, engine: str
) -> None:
    name = f"narrow-{engine.lower()}"
    lab.submit(name, distill(steps=100 * LONG, engine=engine))
    lab.reaches(name, training, 400)
    pod = lab.running(name, "work", ray="head" if engine == "RayJob" else "")
    uid = lab.space.get(f"offsitejob/{name}")["metadata"]["uid"]
    told = json.loads(lab.space.kubectl("exec", pod, "--", "python", "-c", SEE))
    assert told == {
        "/private": ["offsite"],
        "/private/offsite": ["work"],
        "/private/offsite/work": [uid],
        f"/mnt/claims/{CLAIM}": ["own"],
        "written": [f"/private/offsite/work/{uid}"],
    }
    lab.change(name, cancel=True)


def test_an_uninstall_stops_what_trains_and_never_sets_it_free(lab: Organization) -> None:
    values = json.loads(in_space(lab.space, "get", "values", "offsite", "--output=json"))
    lab.submit("outlived", distill(steps=100 * LONG))
    lab.reaches("outlived", training)
    pod, before = lab.running("outlived", "work"), isolation(lab)
    look = ("exec", pod, "--", "env", AT_ONCE, "python", "-c", LOOK, *exchange_of(lab))
    in_space(lab.space, "uninstall", "offsite", "--wait", "--no-hooks")
    assert lab.space.kubectl(*look) == "nothing\n"
    install(lab.space, "offsite", "offsite", values, "--wait")
    assert isolation(lab) == before, "the policy that stayed is the release's again"
    in_space(lab.space, "uninstall", "offsite", "--wait")
    assert lab.busy("outlived") == []
    assert isolation(lab) == before
    assert OPERATED.isdisjoint(lab.space.kubectl("get", KINDS, "--output=name").split())
    lab.change("outlived", suspend=True)
    install(lab.space, "offsite", "offsite", values, "--wait")
    lab.reaches("outlived", is_in("Suspended"))


def isolation(lab: Organization) -> str:
    """Tell the NetworkPolicy by which nothing of a step goes out or in from any other one."""
    return str(lab.space.get("networkpolicy/offsite-deny-steps")["metadata"]["uid"])


def exchange_of(lab: Organization) -> tuple[str, str]:
    """Find the exchange: its URL by name, and the address of its Service."""
    settings = lab.space.get("configmap/offsite-settings")["data"]["settings.json"]
    url = str(json.loads(settings)["exchange"]["endpoint"])
    service, space = str(urlparse(url).hostname).split(".")[:2]
    found = lab.space.cluster.get(f"service/{service}", f"--namespace={space}")
    return url, str(found["spec"]["clusterIP"])
