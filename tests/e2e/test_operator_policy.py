"""What the API server takes from who has an operator's token: what the operator itself makes."""

import json
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.namespaces import Namespace
from cluster.site import as_operator, prepare
from offsite.sealing import Ring
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.settings import Private
from offsite_testing.world import (
    DIGEST,
    DISTILL,
    MARK,
    PLUG_IN,
    SETTINGS,
    TUNE,
    UID,
    ready_peer,
    spec_of,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Change = Callable[[dict[str, Any]], object]
ON_CLAIM = SETTINGS.model_copy(update={"private": Private(uri="pvc://home/offsite")})
ON_CLAIMS = DISTILL | {"distill": DISTILL["distill"] | {"model": "pvc://datasets/model"}}
STEPS = [
    ("Open", "Job", TUNE),
    ("Open", "Job", DISTILL),
    ("Work", "Job", TUNE),
    ("Work", "RayJob", TUNE),
    ("Work", "RayJob", DISTILL),
    ("Report", "Job", TUNE),
    ("Report", "Job", ON_CLAIMS),
    ("Publish", "Job", TUNE),
    ("Publish", "Job", ON_CLAIMS),
    ("Work", "Job", ON_CLAIMS),
    ("Publish", "Job", PLUG_IN),
    ("ReadNotice", "Job", TUNE),
    ("Notify", "Job", TUNE),
]


def made(step: Any, engine: Any = "Job", content: Any = TUNE, **changes: Any) -> Any:
    """Give what the operator makes for a step: the child's manifest, and its task's."""
    workers = {"resources": {"workers": 3, "gpusPerWorker": 1}} if engine == "RayJob" else {}
    runtime = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "queue": "gpus"}
    plan = ChildPlan(
        job="tune-1",
        uid=UID,
        spec=spec_of(content, runtime=runtime, **workers),
        settings=changes.pop("settings", SETTINGS),
        peer=ready_peer(),
        step=step,
        attempt=1,
        round=0,
        engine=engine,
        mark=MARK,
        envelope=DIGEST,
        sequence=3,
        reason="DataError" if step == "Notify" else None,
        notice=DIGEST if step == "ReadNotice" else None,
        seconds=600,
    )
    return new_child(replace(plan, **changes))


@pytest.fixture(scope="module")
def thieves(
    crds: Cluster,
    kuberay: None,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Namespace]:
    """Reach two organizations with tokens of their operators: one is on S3, one on a claim."""
    found = {}
    for name, settings in (("s3", SETTINGS), ("claim", ON_CLAIM)):
        space, folder = new_module_space(name), tmp_path_factory.mktemp(name)
        prepare(space, Ring.new("lab"), settings)
        found[name] = stolen(space, folder)
    return found


def stolen(space: Namespace, folder: Path) -> Namespace:
    """Reach a namespace with a token of its operator, and nothing else."""
    client = as_operator(space, folder).configuration
    cluster = {"server": client.host, "certificate-authority": client.ssl_ca_cert}
    named = {"cluster": "it", "user": "thief"}
    user = {"token": client.api_key["authorization"]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "thief", "user": user}],
        "contexts": [{"name": "it", "context": named}],
        "current-context": "it",
    }
    path = folder / "stolen.kubeconfig"
    path.write_text(json.dumps(config))
    return replace(space, cluster=replace(space.cluster, kubeconfig=path))


DRY = ("--dry-run=server", "--validate=false", "--output=name", "--filename=-")


def refused(thief: Namespace, manifests: list[dict[str, Any]], policy: str) -> set[str]:
    """Create objects, as far as the API server's word on each; name those that a policy refuses."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    cluster = thief.cluster
    where = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={thief.name}")
    options = ("--dry-run=server", "--validate=false", "--filename=-")
    command = [cluster.kubectl_path, *where, "create", *options]
    ended = subprocess.run(
        command, env=cluster.environ, input=listed, capture_output=True, text=True
    )
    print(ended.stdout, ended.stderr)  # what a failure shows
    told = rf"\"(\S+)\" is (?:forbidden|invalid: ): ValidatingAdmissionPolicy '{policy}'"
    return set(re.findall(told, ended.stderr))


@pytest.mark.parametrize("where", ["s3", "claim"])
def test_what_the_operator_makes_is_taken(thieves: dict[str, Namespace], where: str) -> None:
    settings = {"s3": SETTINGS, "claim": ON_CLAIM}[where]
    found = [made(*step, settings=settings, attempt=n) for n, step in enumerate(STEPS, 1)]
    both = [manifest for each in found for manifest in (each.task, each.child)]
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": both})
    assert len(thieves[where].kubectl("create", *DRY, given=given).split()) == len(both)


def pod(manifest: dict[str, Any]) -> Any:
    """Get the pod of a Job, or the head of a RayJob."""
    spec = manifest["spec"]
    return (
        spec["template"]
        if manifest["kind"] == "Job"
        else spec["rayClusterSpec"]["headGroupSpec"]["template"]
    )


def main(manifest: dict[str, Any]) -> Any:
    """Get the container of a pod."""
    return pod(manifest)["spec"]["containers"][0]


def lender(manifest: dict[str, Any]) -> Any:
    """Get the container that begins before it."""
    return pod(manifest)["spec"]["initContainers"][0]


def mount(secret: str, name: str = "identity", path: str = "/etc/offsite/identity") -> Change:
    """Have a Secret mounted."""

    def change(manifest: dict[str, Any]) -> None:
        volume = {"name": name, "secret": {"secretName": secret}}
        pod(manifest)["spec"]["volumes"].append(volume)
        main(manifest)["volumeMounts"].append({"name": name, "mountPath": path})

    return change


def put(*path: Any, value: Any) -> Change:
    """Put something into a pod, by the keys that lead there."""

    def change(manifest: dict[str, Any]) -> None:
        place = pod(manifest)
        for key in path[:-1]:
            place = place.setdefault(key, {}) if isinstance(key, str) else place[key]
        place[path[-1]] = value

    return change


def spec(*path: str, value: Any) -> Change:
    """Put something into the spec of a Job or RayJob."""

    def change(manifest: dict[str, Any]) -> None:
        place = manifest["spec"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def label(key: str, value: str = "true") -> Change:
    return put("metadata", "labels", f"offsite-tuning.dev/{key}", value=value)


def env(name: str, value: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        given = {"value": value} if isinstance(value, str) else {"valueFrom": value}
        main(manifest)["env"].append({"name": name, **given})

    return change


def source(name: str, **found: Any) -> Change:
    """Have a volume come from somewhere else."""

    def change(manifest: dict[str, Any]) -> None:
        volumes = pod(manifest)["spec"]["volumes"]
        (volume,) = (each for each in volumes if each["name"] == name)
        volume.clear()
        volume.update(name=name, **found)

    return change


def path(name: str, place: str) -> Change:
    """Have a volume mounted somewhere else."""

    def change(manifest: dict[str, Any]) -> None:
        (found,) = (each for each in main(manifest)["volumeMounts"] if each["name"] == name)
        found["mountPath"] = place

    return change


def beside(kind: str = "containers", **more: Any) -> Change:
    """Add another container."""

    def change(manifest: dict[str, Any]) -> None:
        other = deepcopy(main(manifest)) | {"name": "other", "image": "evil/miner:1"}
        pod(manifest)["spec"].setdefault(kind, []).append(other | more)

    return change


C, L = ("spec", "containers", 0), ("spec", "initContainers", 0)
KEY = {"secretKeyRef": {"name": "keys", "key": "ring.json"}}
SHELL = ["sh", "-c", "cat /etc/offsite/identity/ring.json"]
ATTACKS: dict[str, tuple[str, str, Change]] = {
    # the keys into a pod that an author's code runs in
    "identity-in-work": ("Work", "Job", mount("keys")),
    "identity-on-ray": ("Work", "RayJob", mount("keys")),
    "identity-as-account": ("Work", "Job", source("private", secret={"secretName": "keys"})),
    "identity-as-task": ("Work", "Job", source("task", secret={"secretName": "keys"})),
    "identity-as-scratch": ("Work", "Job", source("tmp", secret={"secretName": "keys"})),
    "identity-projected": (
        "Work",
        "Job",
        source("tmp", projected={"sources": [{"secret": {"name": "keys"}}]}),
    ),
    "identity-in-the-environment": ("Work", "Job", env("KEY", KEY)),
    "identity-in-a-known-variable": ("Work", "Job", env("HOME", KEY)),
    "identity-as-all-variables": (
        "Work",
        "RayJob",
        put(*C, "envFrom", value=[{"secretRef": {"name": "keys"}}]),
    ),
    "account-in-work": ("Work", "Job", mount("account", "exchange", "/etc/offsite/exchange")),
    "any-secret": ("Open", "Job", mount("sh.helm.release.v1.offsite.v1", "other", "/mnt/claims/x")),
    "any-secret-as-identity": ("Notify", "Job", source("identity", secret={"secretName": "other"})),
    "step-of-another-label": ("Work", "Job", label("step", "publish")),
    # other code into a pod that has the keys
    "image": ("Open", "Job", put(*C, "image", value="evil/miner:1")),
    "image-of-authors": ("Publish", "Job", put(*C, "image", value="r/runtime:1")),
    "command": ("Open", "Job", put(*C, "command", value=SHELL)),
    "arguments": ("Open", "Job", put(*C, "args", value=["--help"])),
    "no-command": ("Open", "Job", lambda each: main(each).pop("command")),
    "hook": (
        "Open",
        "Job",
        put(*C, "lifecycle", value={"postStart": {"exec": {"command": SHELL}}}),
    ),
    "probe": ("Open", "Job", put(*C, "livenessProbe", value={"exec": {"command": SHELL}})),
    "folder-of-modules": ("Open", "Job", put(*C, "workingDir", value="/private/work")),
    "path-of-modules": ("Open", "Job", env("PYTHONPATH", "/private/work")),
    "preloaded": ("Open", "Job", env("LD_PRELOAD", "/private/work/evil.so")),
    "home": ("Open", "Job", env("HOME", "/private/work")),
    "credentials": ("Open", "Job", env("OFFSITE_EXCHANGE_CREDENTIALS", "/etc/offsite/identity/x")),
    "endpoint": ("Open", "Job", env("OFFSITE_EXCHANGE_ENDPOINT", "https://evil.example")),
    "code-in-home": (
        "Open",
        "Job",
        source("tmp", persistentVolumeClaim={"claimName": "datasets"}),
    ),
    "code-over-ours": ("Open", "Job", path("tmp", "/usr/lib/python3")),
    "another-config": ("Open", "Job", source("task", configMap={"name": "evil"})),
    "another-container": ("Open", "Job", beside()),
    "one-that-begins": ("Open", "Job", beside("initContainers")),
    "a-sidecar": ("Open", "Job", beside("initContainers", restartPolicy="Always")),
    "one-more-on-ray": ("Work", "RayJob", beside()),
    # another place, account, or right
    "node": ("Open", "Job", put("spec", "nodeName", value="node")),
    "node-selector": ("Open", "Job", put("spec", "nodeSelector", value={"evil": "yes"})),
    "tolerations": ("Notify", "Job", put("spec", "tolerations", value=[{"operator": "Exists"}])),
    "host-network": ("Work", "Job", put("spec", "hostNetwork", value=True)),
    "host-processes": ("Work", "Job", put("spec", "hostPID", value=True)),
    "host-path": ("Work", "Job", source("tmp", hostPath={"path": "/var/lib/kubelet"})),
    "names": (
        "Open",
        "Job",
        put("spec", "hostAliases", value=[{"ip": "192.0.2.1", "hostnames": ["minio"]}]),
    ),
    "account-of-the-operator": (
        "Work",
        "Job",
        put("spec", "serviceAccountName", value="offsite-operator"),
    ),
    "token": ("Work", "Job", put("spec", "automountServiceAccountToken", value=True)),
    "projected-token": (
        "Work",
        "Job",
        source("tmp", projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    ),
    "privileged": (
        "Work",
        "Job",
        put(*C, "securityContext", value={"privileged": True, "capabilities": {"drop": ["ALL"]}}),
    ),
    "capability": (
        "Work",
        "RayJob",
        put(*C, "securityContext", "capabilities", value={"drop": ["ALL"], "add": ["NET_RAW"]}),
    ),
    "claim-of-others": (
        "Work",
        "Job",
        lambda each: pod(each)["spec"]["volumes"].append(
            {"name": "claim-9", "persistentVolumeClaim": {"claimName": "payroll"}}
        ),
    ),
    # the account of a private store, which lends what trains a part
    "account-in-what-trains": (
        "Work",
        "Job",
        lambda each: main(each)["volumeMounts"].append(
            {"name": "private", "mountPath": "/etc/offsite/private", "readOnly": True}
        ),
    ),
    "account-on-ray": (
        "Work",
        "RayJob",
        lambda each: main(each)["volumeMounts"].append(
            {"name": "private", "mountPath": "/etc/offsite/private", "readOnly": True}
        ),
    ),
    "session-that-is-written": (
        "Work",
        "Job",
        lambda each: next(
            mount for mount in main(each)["volumeMounts"] if mount["name"] == "session"
        ).pop("readOnly"),
    ),
    "lender-of-an-author": ("Work", "Job", put(*L, "image", value="r/runtime:1")),
    "lender-of-another-command": ("Work", "RayJob", put(*L, "command", value=SHELL)),
    "lender-that-stays": ("Work", "Job", put(*L, "restartPolicy", value="Always")),
    "lender-in-home": (
        "Work",
        "Job",
        lambda each: lender(each)["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"}),
    ),
    "lender-elsewhere": (
        "Work",
        "Job",
        lambda each: lender(each)["env"].append(
            {"name": "OFFSITE_PRIVATE_ENDPOINT", "value": "https://evil.example"}
        ),
    ),
    "two-lenders": ("Work", "Job", beside("initContainers")),
    "lender-beside-keys": (
        "Open",
        "Job",
        lambda each: pod(each)["spec"].update(
            # with what is mounted in this pod: the API server refuses others by itself
            initContainers=[
                lender(made("Work").child) | {"volumeMounts": main(each)["volumeMounts"][:1]}
            ]
        ),
    ),
    # a way out of a pod that trains
    "exchange-from-work": ("Work", "Job", label("reach-exchange")),
    "hub-from-work": ("Work", "Job", label("reach-hub")),
    "ray-from-a-job": ("Work", "Job", label("ray", "head")),
    "api-server-from-work": (
        "Work",
        "Job",
        put("metadata", "labels", "app.kubernetes.io/component", value="operator"),
    ),
    "injected": (
        "Work",
        "Job",
        put("metadata", "annotations", value={"vault.hashicorp.com/agent-inject": "true"}),
    ),
    # of RayJobs alone
    "keyed-on-ray": ("Work", "RayJob", lambda each: _relabel(each, "open")),
    "entrypoint": ("Work", "RayJob", spec("entrypoint", value="sh -c evil")),
    "another-cluster": ("Work", "RayJob", spec("clusterSelector", value={"ray.io/cluster": "x"})),
    "in-process": ("Work", "RayJob", spec("submissionMode", value="HTTPMode")),
    "no-token": (
        "Work",
        "RayJob",
        spec("rayClusterSpec", "authOptions", value={"mode": "disabled"}),
    ),
    "autoscaler": ("Work", "RayJob", spec("rayClusterSpec", "enableInTreeAutoscaling", value=True)),
    "labels-of-ray": (
        "Work",
        "RayJob",
        spec(
            "rayClusterSpec",
            "headGroupSpec",
            "labels",
            value={"offsite-tuning.dev/reach-exchange": "true"},
        ),
    ),
    "load-balancer": (
        "Work",
        "RayJob",
        spec("rayClusterSpec", "headGroupSpec", "serviceType", value="LoadBalancer"),
    ),
    "submitter": (
        "Work",
        "RayJob",
        lambda each: each["spec"]["submitterPodTemplate"]["spec"]["containers"][0].update(
            command=SHELL
        ),
    ),
    "worker": (
        "Work",
        "RayJob",
        lambda each: each["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"][
            "volumes"
        ].append({"name": "identity", "secret": {"secretName": "keys"}}),
    ),
    "nobodys": ("Open", "Job", lambda each: each["metadata"].pop("ownerReferences")),
}


def _relabel(manifest: dict[str, Any], step: str) -> None:
    manifest["metadata"]["labels"]["offsite-tuning.dev/step"] = step


def test_a_stolen_token_gets_no_other_pod(thieves: dict[str, Namespace]) -> None:
    tried = dict[str, str]()
    manifests = list[dict[str, Any]]()
    for number, (attack, (step, engine, change)) in enumerate(ATTACKS.items(), 1):
        manifest = deepcopy(made(step, engine, attempt=number).child)
        change(manifest)
        tried[manifest["metadata"]["name"]] = attack
        manifests.append(manifest)
    stopped = refused(thieves["s3"], manifests, "offsite-operator-children")
    assert [attack for name, attack in tried.items() if name not in stopped] == []


def test_a_stolen_token_has_no_claim_written_by_what_trains(thieves: dict[str, Namespace]) -> None:
    manifests = list[dict[str, Any]]()
    for number, change in enumerate(
        (
            {"mountPath": "/private/offsite", "subPath": "offsite"},
            {"mountPath": "/private"},
            {"mountPath": f"/private/offsite/work/{UID}", "subPath": "offsite"},
            {"mountPath": "/private/offsite/work/other", "subPath": "offsite/work/other"},
            {"mountPath": "/mnt/claims/datasets"},
        ),
        1,
    ):
        manifest = deepcopy(made("Work", settings=ON_CLAIM, attempt=number).child)
        mounts = main(manifest)["volumeMounts"]
        (own,) = (each for each in mounts if each["name"].startswith("claim-"))
        own.pop("subPath")
        own.update(change)
        manifests.append(manifest)
    names = {each["metadata"]["name"] for each in manifests}
    assert refused(thieves["claim"], manifests, "offsite-operator-children") == names


FORGED: list[dict[str, Any]] = [
    {"metadata": {"name": "offsite-operator-policy"}},
    {"metadata": {"name": "offsite-settings"}},
    {"data": {"task.json": "{}", "usercustomize.py": "evil"}},
    {"binaryData": {"usercustomize.py": ""}},
    {"metadata": {"ownerReferences": []}},
    {"metadata": {"labels": {}}},
]


def test_a_stolen_token_writes_nothing_but_tasks(thieves: dict[str, Namespace]) -> None:
    manifests = list[dict[str, Any]]()
    for number, change in enumerate(FORGED, 1):
        task = made("Open", attempt=number).task
        metadata = task["metadata"] | change.get("metadata", {})
        manifests.append({**task, **change, "metadata": metadata})
    names = {each["metadata"]["name"] for each in manifests}
    assert refused(thieves["s3"], manifests, "offsite-operator-tasks") == names


@pytest.mark.parametrize("name", ["offsite-operator-policy", "kube-root-ca.crt"])
def test_a_stolen_token_takes_over_no_configuration(
    thieves: dict[str, Namespace], name: str
) -> None:
    task = made("Open").task
    taken = {**task, "metadata": task["metadata"] | {"name": name}}
    apply = ("apply", "--server-side", "--force-conflicts", "--validate=false", "--filename=-")
    for forged in (taken, {**taken, "metadata": {"name": name}, "data": {"operatorImage": "evil"}}):
        with pytest.raises(RuntimeError, match=r"'offsite-operator-tasks'.* denied request"):
            thieves["s3"].kubectl(*apply, given=json.dumps(forged))


def test_nobody_else_is_affected(new_space: Callable[[str], Namespace], crds: Cluster) -> None:
    """The API server asks for a policy's parameters before it asks whom the policy concerns."""
    job = made("Work").child
    del job["metadata"]["ownerReferences"]
    assert new_space("bystander").kubectl("create", *DRY, given=json.dumps(job))


def test_an_organization_of_an_older_chart_goes_on(
    new_space: Callable[[str], Namespace], crds: Cluster, tmp_path: Path
) -> None:
    space = new_space("older")
    prepare(space, Ring.new("lab"), SETTINGS)
    space.kubectl("delete", "configmap", "offsite-operator-policy")
    thief = stolen(space, tmp_path)
    assert thief.kubectl("create", *DRY, given=json.dumps(made("Work").child))


def test_a_stolen_token_deletes_no_parameters(thieves: dict[str, Namespace]) -> None:
    with pytest.raises(RuntimeError, match="forbidden"):
        thieves["s3"].kubectl("delete", "configmap", "offsite-operator-policy", "--dry-run=server")
