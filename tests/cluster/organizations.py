"""An organization on a cluster as its administrators set it up: keys, store, chart, model, text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cluster.helm import install
from cluster.images import OPERATOR, RUNTIME
from cluster.jobs import Happened, change_job, offsite_job, reaches, status_of
from cluster.minio import MinioPod
from cluster.namespaces import Namespace
from cluster.parties import BUCKET, EXCHANGE, IDENTITY, READER, Party
from cluster.pods import container, pod
from cluster.watching import NAME, WHOLE, watched
from offsite.resources import JobStatus
from offsite.wire import canonical
from offsite_testing.charts import Values, organization
from offsite_testing.images import image_folder
from offsite_testing.models import WORDS, save_tiny

CLAIM = "given"
MODEL, TEXT = f"pvc://{CLAIM}/own/model", f"pvc://{CLAIM}/own/text.txt"
ROWS = f"pvc://{CLAIM}/own/rows.jsonl"
"""What it has: a tiny model, a text, and rows of patients, two of each."""
VISION, IMAGES = f"pvc://{CLAIM}/own/vision", f"pvc://{CLAIM}/own/images"
"""A tiny model without a head, and images: `train/`, `validation/`, and `public/` without labels.
"""
NONE = "localhost/none:1"
"""An image that jobs may run, and nobody has."""
OPERATORS = "--selector=app.kubernetes.io/name=offsite"
"""Of a namespace's pods its operator's."""
_GROUP = "offsite-tuning.dev"
_CHILDREN = ("jobs", "rayjobs.ray.io", "rayclusters.ray.io", "pods", "configmaps", "services")


@dataclass(frozen=True)
class Organization:
    """A party whose operator takes jobs in its namespace."""

    party: Party

    @property
    def space(self) -> Namespace:
        """Where its jobs run."""
        return self.party.space

    def submit(self, name: str, spec: dict[str, Any]) -> None:
        """Create an OffsiteJob."""
        self.submit_all({name: spec})

    def submit_all(self, specs: Mapping[str, dict[str, Any]]) -> None:
        """Create OffsiteJobs, by their names, in one call."""
        self.space.apply(*(offsite_job(name, spec) for name, spec in specs.items()))

    def change(self, name: str, **spec: Any) -> None:
        """Change the spec of an OffsiteJob."""
        change_job(self.space, name, spec)

    def status(self, name: str) -> JobStatus:
        """Read what became of an OffsiteJob."""
        return status_of(self.space, name)

    def reaches(self, name: str, happened: Happened, seconds: float = 300.0) -> JobStatus:
        """Watch an OffsiteJob until it has a status; see `cluster.jobs.reaches`."""
        return reaches(self.space, name, happened, seconds)

    def pods(self, name: str, step: str, ray: str = "") -> list[Any]:
        """List the pods of a step of a job, the oldest first.

        Args:
            ray: `head` or `submitter`: only those.
        """
        sort = "--sort-by=.metadata.creationTimestamp"
        found: list[Any] = self.space.get("pods", _labels(name, step, ray), sort)["items"]
        return found

    def begun(self, name: str, step: str) -> str:
        """Wait for the first pod of a step of a job; give its UID. Call it before the step begins.

        Raises:
            RuntimeError: it takes too long.
        """
        with watched(self.space, "pods", NAME, ".metadata.uid", _labels(name, step)) as pods:
            return pods.first()[1]

    def running(self, name: str, step: str, ray: str = "", seconds: float = 300.0) -> str:
        """Wait for a pod of a step of a job whose containers run, and go on; give its name.

        Raises:
            RuntimeError: it takes too long; the message has the job's last status.
        """
        with watched(self.space, "pods", NAME, WHOLE, _labels(name, step, ray)) as pods:
            try:
                return pods.first(_runs, seconds)[0]
            except RuntimeError as error:
                last = self.status(name).wire()
                raise RuntimeError(f"no pod of {step} of {name} runs: {error}: {last}") from error

    def busy(self, name: str) -> list[str]:
        """Name what of a job still runs, or takes up room."""
        pods = self.space.get("pods", f"--selector={_GROUP}/job={name}")["items"]
        running = [
            f"pod/{each['metadata']['name']}"
            for each in pods
            if each["status"]["phase"] not in ("Succeeded", "Failed")
        ]
        return [*running, *(each for each in self.left(name) if "raycluster" in each)]

    def left(self, name: str) -> list[str]:
        """Name what there is of a job, beside itself."""
        told = self.space.kubectl("get", ",".join(_CHILDREN), "--output=name")
        return [line for line in told.split() if line.partition("/")[2].startswith(f"{name}-")]


def _labels(name: str, step: str, ray: str = "") -> str:
    """Select the pods of a step of a job, or only that one of Ray's."""
    part = f",{_GROUP}/ray={ray}" if ray else ""
    return f"--selector={_GROUP}/job={name},{_GROUP}/step={step}{part}"


def _runs(_: str, told: str) -> bool:
    pod = json.loads(told)
    statuses = pod["status"].get("containerStatuses", [])
    goes_on = statuses and "deletionTimestamp" not in pod["metadata"]
    return bool(goes_on) and all("running" in each["state"] for each in statuses)


def settle(party: Party, peer: Party, minio: MinioPod, **more: Any) -> None:
    """Set an organization up: its claim with a model and a text, its operator, its peer.

    Args:
        more: of the values of its chart.
    """
    give(party.space)
    install(party.space, "offsite", "offsite", _values(party, peer, minio) | more, "--wait")
    public = canonical(peer.ring.public().wire()).decode()
    kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsitePeer"}
    spec = {"id": peer.id, "public": public}
    party.space.apply(kind | {"metadata": {"name": peer.id}, "spec": spec})
    party.space.wait("condition=Ready", f"offsitepeer/{peer.id}")


def give(space: Namespace) -> None:
    """Make a claim with models, a text, rows and images, the same ones each time."""
    with TemporaryDirectory() as folder:
        own = Path(folder) / "own"
        save_tiny(own / "model")
        (own / "text.txt").write_text(f"{WORDS}\n" * 200, encoding="utf-8")
        rows = ({"text": f"{WORDS} {n}", "patient": n % 50} for n in range(100))
        (own / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        save_tiny(own / "vision", "vit", num_labels=0)
        for number, (name, count) in enumerate({"train": 12, "validation": 4}.items()):
            root = own / "images" / name
            image_folder(root, {"benign": count, "malignant": count}, start=10_000 * number)
        image_folder(own / "images", {"public": 8}, start=50_000)
        _fill(space, own)


def _values(party: Party, peer: Party, minio: MinioPod) -> Values:
    cluster = party.space.cluster
    known = organization(
        images={"operator": cluster.image(OPERATOR), "runtime": cluster.image(RUNTIME)},
        identity={"secret": IDENTITY},
        exchange={
            "uri": f"s3://{BUCKET}",
            "endpoint": minio.inside,
            "secret": EXCHANGE,
            "readerSecret": READER,
            "to": [minio.space.selector],
        },
        bounds={
            "peers": [peer.id],
            "readPrefixes": [f"pvc://{CLAIM}/own/"],
            "images": [NONE, cluster.image(OPERATOR)],
            "minExamples": 1,
            "minSteps": 1,
            "minBatchSize": 1,
            "minImprovement": -1,  # noise may raise the loss of a tiny model
        },
    )
    known["private"] = {"uri": f"pvc://{CLAIM}/offsite"}
    return known | {"party": party.id, "checkpointSeconds": 1}


def _fill(space: Namespace, content: Path) -> None:
    """Copy a folder to a new claim, as an administrator does."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}}
    storage = {"resources": {"requests": {"storage": "1Gi"}}}
    mount = {"name": CLAIM, "mountPath": "/given"}
    main = container(space.cluster.image(OPERATOR), "sleep", "600", mounts=[mount])
    volume = {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}
    fill = pod("fill", main, volumes=[volume], securityContext={"fsGroup": 10001})
    space.apply({**claim, "spec": {"accessModes": ["ReadWriteOnce"], **storage}}, fill)
    space.wait("condition=Ready", "pod/fill")
    space.kubectl("cp", str(content), f"fill:/given/{content.name}")
    space.kubectl("delete", "pod", "fill")
