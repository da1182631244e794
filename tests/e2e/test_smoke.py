"""That the cluster is a real one: what it refuses, runs, blocks, counts and keeps."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cluster.access import Cluster
from cluster.addons import GPU
from cluster.helm import in_space
from cluster.images import OPERATOR, RUNTIME
from cluster.minio import MinioPod, forwarded
from cluster.namespaces import Namespace
from cluster.parties import BUCKET, EXCHANGE, IDENTITY, Party
from cluster.pods import container, job, pod, pod_spec
from cluster.processes import wait_for
from cluster.watching import NAME, watched

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8080)"
CHART = {
    "Chart.yaml": "{apiVersion: v2, name: trivial, version: 0.1.0}\n",
    "templates/word.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {word: "{{ .Values.word }}"}
""",
}
FETCH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 8080), timeout=2).close()
    print("there")
except OSError:
    print("not there")
"""


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """The operator's image: Python without torch."""
    return cluster.image(OPERATOR)


def test_a_restricted_namespace_refuses_one_pod_and_runs_another(
    namespace: Namespace, image: str
) -> None:
    plain = container(image, "id") | {"securityContext": {}}
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        namespace.apply(pod("plain", plain))
    namespace.apply(pod("modest", container(image, "id")))
    namespace.wait("jsonpath={.status.phase}=Succeeded", "pod/modest")
    assert namespace.kubectl("logs", "modest").startswith("uid=10001")


def test_a_job_completes(namespace: Namespace, image: str) -> None:
    program = "import offsite.exchange, offsite_operator; print('ready')"
    namespace.apply(job("once", container(image, "python", "-c", program)))
    namespace.wait("condition=Complete", "job/once")
    assert namespace.kubectl("logs", "job/once") == "ready\n"


def test_a_network_policy_blocks_and_opens(namespace: Namespace, image: str) -> None:
    server = container(image, "python", "-c", SERVE)
    namespace.apply(pod("server", server), pod("client", container(image, "sleep", "3600")))
    namespace.wait("condition=Ready", "pod/server", "pod/client")
    address = namespace.get("pod/server")["status"]["podIP"]
    fetch = ("python", "-c", FETCH, address)

    def reaches() -> bool:
        told = namespace.kubectl("exec", "client", "--", *fetch)
        assert told in ("there\n", "not there\n")
        return told == "there\n"

    wait_for(reaches)
    namespace.apply(policy("closed", {}, ingress=[]))
    wait_for(lambda: not reaches())
    client = {"podSelector": {"matchLabels": {"app": "client"}}}
    namespace.apply(
        policy("open", {"matchLabels": {"app": "server"}}, ingress=[{"from": [client]}])
    )
    wait_for(reaches)


def policy(name: str, selected: dict[str, object], **rules: object) -> dict[str, object]:
    spec = {"podSelector": selected, "policyTypes": ["Ingress"], **rules}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def test_a_quota_stops_a_second_gpu_pod_and_says_why(
    gpus: None, namespace: Namespace, image: str
) -> None:
    kind = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus"}}
    namespace.apply({**kind, "spec": {"hard": {f"requests.{GPU}": "1"}}})
    namespace.wait("jsonpath={.status.hard}", "resourcequota/gpus")
    main = container(image, "sleep", "3600", gpus=1)
    namespace.apply(job("training", main, parallelism=2, completions=2))
    namespace.wait("condition=Ready", "pod", "--selector=app=training")
    wait_for(lambda: "exceeded quota: gpus" in namespace.events("training"))
    assert len(namespace.get("pods", "--selector=app=training")["items"]) == 1


def test_a_chart_is_installed_upgraded_and_gone(namespace: Namespace, tmp_path: Path) -> None:
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    helm = partial(in_space, namespace)
    for action in ("install", "upgrade"):
        helm(action, "trivial", str(tmp_path), f"--set=word={action}", "--wait")
        assert namespace.get("configmap/trivial")["data"] == {"word": action}
    assert "trivial-0.1.0" in helm("list")
    helm("uninstall", "trivial", "--wait")
    assert "trivial" not in namespace.kubectl("get", "configmaps,secrets", "--output=name")


def test_minio_keeps_what_it_has_when_its_pod_is_deleted(minio: MinioPod) -> None:
    store = minio.store("kept")
    store.client().make_bucket("kept")
    store.put("a/b", b"on a volume")
    former = minio.space.get("pod/minio-0")["metadata"]["uid"]
    minio.space.kubectl("delete", "pod", "minio-0")
    minio.space.kubectl("rollout", "status", "statefulset/minio", "--timeout=120s")
    assert minio.space.get("pod/minio-0")["metadata"]["uid"] != former
    with forwarded(minio.space, "service/minio", 9000) as port:
        again = MinioPod(minio.space, f"http://127.0.0.1:{port}", minio.user, minio.password)
        assert again.store("kept").get("a/b", 99) == b"on a volume"


def test_two_parties_exchange_a_sealed_bundle(
    minio: MinioPod, party: Callable[..., list[Party]], image: str
) -> None:
    lab, hospital = party("lab", "hospital")
    run_as(hospital, minio, image, "send")
    run_as(lab, minio, image, "receive")
    assert lab.space.kubectl("logs", "job/receive") == "weights\n"


def run_as(party: Party, minio: MinioPod, image: str, name: str) -> None:
    """Send or receive as a party's pod does, with its Secrets and nothing else."""
    space = party.space
    space.kubectl("create", "configmap", name, f"--from-file={HERE / 'programs/exchange.py'}")
    environ = {
        "OFFSITE_EXCHANGE_ENDPOINT": minio.inside,
        "OFFSITE_EXCHANGE_CREDENTIALS": "/etc/offsite/exchange/credentials.json",
        "EXCHANGE": f"s3://{BUCKET}",
    }
    secrets = {"identity": IDENTITY, "exchange": EXCHANGE}
    mounts = [{"name": each, "mountPath": f"/etc/offsite/{each}"} for each in secrets]
    main = container(
        image,
        *("python", "/programs/exchange.py", name),
        env=[{"name": key, "value": value} for key, value in environ.items()],
        mounts=[*mounts, {"name": "programs", "mountPath": "/programs"}],
        memory="512Mi",
    )
    volumes = [
        {"name": "programs", "configMap": {"name": name}},
        *(
            {"name": each, "secret": {"secretName": secret, "defaultMode": 0o440}}
            for each, secret in secrets.items()
        ),
    ]
    space.apply(job(name, main, pod={"volumes": volumes, "securityContext": {"fsGroup": 10001}}))
    space.wait("condition=Complete", f"job/{name}")


def test_a_ray_job_trains(kuberay: None, namespace: Namespace, cluster: Cluster) -> None:
    namespace.kubectl("create", "configmap", "train", f"--from-file={HERE / 'programs/train.py'}")
    namespace.apply(ray_job("train", cluster.image(RUNTIME)))
    with watched(namespace, "rayjobs", NAME, ".status.jobDeploymentStatus") as jobs:
        jobs.at("train", "Complete", "Failed", seconds=400)
    assert namespace.get("rayjob/train")["status"]["jobStatus"] == "SUCCEEDED"
    told = namespace.kubectl("logs", "--selector=app=submitter", "--tail=-1")
    assert "the loss fell" in told


def ray_job(name: str, image: str) -> dict[str, object]:
    """Describe a RayJob of one head, which trains, and a submitter."""
    volumes = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
        {"name": "program", "configMap": {"name": name}},
    ]
    mounts = [
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "program", "mountPath": "/program"},
    ]
    head = container(image, name="ray-head", memory="4Gi", mounts=mounts)
    submitter = container(image, name="ray-job-submitter", memory="512Mi")
    start = {"num-cpus": "1", "object-store-memory": "100000000", "dashboard-host": "0.0.0.0"}
    spec = {
        "entrypoint": f"python /program/{name}.py",
        "shutdownAfterJobFinishes": True,
        "backoffLimit": 0,
        "submitterPodTemplate": {
            "metadata": {"labels": {"app": "submitter"}},
            "spec": pod_spec(submitter),
        },
        "rayClusterSpec": {
            "headGroupSpec": {
                "rayStartParams": start,
                "template": {"spec": pod_spec(head, volumes=volumes, restartPolicy="Always")},
            }
        },
    }
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name}, "spec": spec}
