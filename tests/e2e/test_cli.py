"""The command line on a real API server; the operator's part is played by patching statuses."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster
from cluster.images import OPERATOR
from cluster.namespaces import Namespace
from cluster.pods import container, pod_spec
from cluster.processes import BOUND
from offsite import events
from offsite.events import EVENT_MARK, as_line, new_mark
from offsite.resources import ArtifactStatus, Condition, JobStatus, MetricStatus, ProgressStatus
from offsite_cli.cluster.events import is_about

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
TUNE = ROOT / "tests/e2e/tune.yaml"
NAME = "coding-adapter"
MARK = new_mark()
DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Cli:
    """The command, run by a user with a kubeconfig."""

    kubeconfig: Path
    namespace: str
    environ: dict[str, str] = field(repr=False)

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        command = [sys.executable, "-m", "offsite_cli", *arguments, *self._place]
        return subprocess.run(
            command, input=given, capture_output=True, text=True, env=self.environ, timeout=120
        )

    def ok(self, *arguments: str, given: str | None = None) -> str:
        """Run what is to succeed; give its result."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start it, and end it if it has not ended by itself."""
        command = [*BOUND, sys.executable, "-m", "offsite_cli", *arguments, *self._place]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=self.environ
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def _place(self) -> list[str]:
        return [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]


@pytest.fixture
def cli(cluster: Cluster, namespace: Namespace, crds: Cluster) -> Cli:
    """The command, as the administrator."""
    own = cluster.node is not None  # then no proxy stands before it
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return Cli(cluster.kubeconfig, namespace.name, environ if own else dict(os.environ))


def told(kind: Any, reason: str, message: str = "", *, holds: bool = True) -> Condition:
    """Make a condition."""
    status: Any = "True" if holds else "False"
    now = datetime.now(UTC)
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time=now
    )


def report(space: Namespace, state: Any, *conditions: Condition, **more: Any) -> None:
    """Write a job's status, as the operator does."""
    job = space.get("offsitejob", NAME)
    status = JobStatus(
        state=state,
        conditions=list(conditions),
        observed_generation=job["metadata"]["generation"],
        retries=job["spec"]["retries"],
        **more,
    )
    patch = json.dumps({"status": status.wire()})
    options = ("--subresource=status", "--type=merge", f"--patch={patch}")
    space.kubectl("patch", "offsitejob", NAME, *options)


def test_a_job_is_submitted_once_and_seen(cli: Cli, namespace: Namespace) -> None:
    assert cli.ok("submit", "-f", str(TUNE)) == f"{NAME} submitted\n"
    again = cli.run("submit", "tune", "-f", str(TUNE))
    assert (again.returncode, again.stdout) == (0, "")
    assert f"{NAME} already exists with the same spec: Pending" in again.stderr
    other = TUNE.read_text().replace("rank: 16", "rank: 8")
    differs = cli.run("submit", "-f", "-", given=other)
    assert differs.returncode == 2
    assert "tune.adapter.rank: 16 in the cluster, 8 here" in differs.stderr
    assert cli.ok("list", "-o", "name") == f"offsitejob.offsite-tuning.dev/{NAME}\n"
    assert "NotSeen" in cli.ok("list", "-o", "wide")
    assert cli.ok("list", "--all-namespaces").startswith("NAMESPACE")
    found = json.loads(cli.ok("get", NAME, "-o", "json"))
    assert found["spec"] == namespace.get("offsitejob", NAME)["spec"]
    (listed,) = json.loads(cli.ok("list", "-o", "json"))["items"]
    assert listed["metadata"]["uid"] == found["metadata"]["uid"]


def test_flags_and_file_make_the_same_job(cli: Cli) -> None:
    flags = (
        f"{NAME} --peer lab --seed 1 --bundle coding-emulator --method LoRA --scope All --rank 16"
        " --train s3://hospital/train.jsonl --validation s3://hospital/validation.jsonl"
        " --epochs 3 --steps 600 --learning-rate 1e-3 --batch-size 8 --block-size 512"
        " --evaluate s3://hospital/shared.jsonl"
    )
    cli.ok("submit", "tune", *flags.split())
    assert "with the same spec" in cli.run("submit", "-f", str(TUNE)).stderr


def test_what_the_server_refuses_is_told_by_field(cli: Cli) -> None:
    text = TUNE.read_text().replace(f"name: {NAME}", f"name: {NAME}\n  labels: {{'a b': c}}")
    refused = cli.run("submit", "-f", "-", given=text)
    assert refused.returncode == 2
    assert "metadata.labels: Invalid value" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_pending_job_says_why(cli: Cli, namespace: Namespace) -> None:
    cli.ok("submit", "-f", str(TUNE))
    accepted = told("Accepted", "Accepted")
    report(namespace, "Pending", accepted, told("Running", "WaitingForPod", "no GPU", holds=False))
    assert "WaitingForPod   no GPU" in cli.ok("list", "-o", "wide")
    assert "no GPU" in cli.ok("get", NAME)
    report(namespace, "Pending", told("Accepted", "PeerNotFound", "no peer lab", holds=False))
    assert "PeerNotFound   no peer lab" in cli.ok("get", NAME, "-o", "wide")


def test_watch_tells_the_story_and_ends_with_the_job(cli: Cli, namespace: Namespace) -> None:
    cli.ok("submit", "-f", str(TUNE))
    accepted, running = told("Accepted", "Accepted"), told("Running", "Training")
    progress = ProgressStatus(
        phase="tune", step=3, total_steps=10, percent=30, eta_seconds=7, loss=1.5
    )
    metric = MetricStatus(name="perplexity", setting="emulator_tuned", value="6.9")
    artifact = ArtifactStatus(name=NAME, digest=DIGEST, uri="s3://exchange/x", size_bytes=2_000_000)
    with cli.running("watch", NAME, "--timeout", "2m") as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert "NotSeen" in watch.stderr.readline()
        report(namespace, "Running", accepted, running, progress=progress)
        assert "Running (Training)" in watch.stderr.readline()
        complete = told("Complete", "Published")
        report(namespace, "Complete", accepted, complete, metrics=[metric], artifact=artifact)
        results = watch.stdout.read()
        assert watch.wait() == 0
    assert "emulator_tuned: perplexity 6.9" in results
    assert f"{NAME}: 2.0 MB at s3://exchange/x ({DIGEST})" in results
    assert cli.ok("get", NAME).count("100%") <= 1
    assert "Complete   100%" in cli.ok("list")


def test_watch_gives_every_change_as_a_line_of_json(cli: Cli, namespace: Namespace) -> None:
    cli.ok("submit", "-f", str(TUNE))
    with cli.running("watch", NAME, "-o", "json") as watch:
        assert watch.stdout is not None
        assert "status" not in json.loads(watch.stdout.readline())
        report(namespace, "Complete", told("Complete", "Published"))
        assert json.loads(watch.stdout.readline())["status"]["state"] == "Complete"
        assert watch.wait() == 0


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ("Failed", "DataError", 2),
        ("Failed", "BackoffLimitExceeded", 1),
        ("Failed", "NotAllowed", 4),
        ("Cancelled", "Cancelled", 1),
    ],
)
def test_watch_ends_with_the_code_of_the_failure(
    cli: Cli, namespace: Namespace, state: str, reason: str, code: int
) -> None:
    cli.ok("submit", "-f", str(TUNE))
    report(namespace, state, told("Failed", reason, "since it is so"))
    watched = cli.run("watch", NAME)
    assert watched.returncode == code
    assert f"{reason}: since it is so" in watched.stderr


def test_watch_gives_up_and_notices_that_a_job_is_deleted(cli: Cli) -> None:
    assert cli.run("submit", "-f", str(TUNE), "--watch", "--timeout", "1s").returncode == 3
    with cli.running("watch", NAME) as watch:
        assert watch.stderr is not None
        assert "NotSeen" in watch.stderr.readline()
        cli.ok("delete", NAME)
        assert "deleted" in watch.stderr.read()
        assert watch.wait() == 2


def test_a_job_is_suspended_cancelled_and_run_once_more(cli: Cli, namespace: Namespace) -> None:
    def spec() -> Any:
        return namespace.get("offsitejob", NAME)["spec"]

    cli.ok("submit", "-f", str(TUNE))
    cli.ok("suspend", NAME)
    assert spec()["suspend"] is True
    cli.ok("resume", NAME)
    assert spec()["suspend"] is False
    assert cli.run("retry", NAME).returncode == 2
    mistyped = cli.run("cancel", "mistyped", NAME)
    assert mistyped.returncode == 2
    assert '"mistyped" not found' in mistyped.stderr
    assert mistyped.stdout == f"{NAME} is being cancelled\n"
    assert spec()["cancel"] is True
    report(namespace, "Cancelled", told("Failed", "Cancelled"))
    cli.ok("retry", NAME)
    assert (spec()["retries"], spec()["cancel"]) == (1, False)
    # the status is still of the former attempt: it is not taken for the end of this one
    assert cli.run("watch", NAME, "--timeout", "2s").returncode == 3
    cli.ok("delete", NAME)
    gone = cli.run("get", NAME)
    assert gone.returncode == 2
    assert NAME in gone.stderr


def driver(image: str, uid: str, attempt: int, *lines: str, seconds: int = 0) -> dict[str, Any]:
    """Make the pod that speaks for an attempt, and stays for a while."""
    told = "\n".join([*(f"print({line!r}, flush=True)" for line in lines), "import time"])
    told += f"\ntime.sleep({seconds})"
    name = f"{NAME}-{uid[:6]}-{attempt}-w"
    labels = {
        "offsite-tuning.dev/job-uid": uid,
        "offsite-tuning.dev/attempt": str(attempt),
        "offsite-tuning.dev/step": "work",
        "offsite-tuning.dev/driver": "true",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {EVENT_MARK: MARK}},
        "spec": pod_spec(container(image, "python", "-c", told)),
    }


def test_logs_follow_over_attempts(cluster: Cluster, cli: Cli, namespace: Namespace) -> None:
    image = cluster.image(OPERATOR)
    cli.ok("submit", "-f", str(TUNE))
    assert "NotSeen" in cli.run("logs", NAME).stderr
    uid = namespace.get("offsitejob", NAME)["metadata"]["uid"]
    progress = as_line(events.Progress(phase="tune", step=1, total_steps=2), MARK)
    namespace.apply(driver(image, uid, 1, "a line", progress))
    report(namespace, "Running", told("Running", "Training"))
    with cli.running("logs", NAME, "-f") as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == "a line\n"
        assert logs.stdout.readline().startswith("tune: 1/2")
        suspended = driver(image, uid, 2, "once more", seconds=600)
        namespace.apply(suspended)
        assert logs.stdout.readline() == "once more\n"
        namespace.kubectl("delete", "pod", suspended["metadata"]["name"], "--now")
        namespace.apply(driver(image, uid, 3, "at last"))
        assert logs.stdout.readline() == "at last\n"
        report(namespace, "Complete", told("Complete", "Published"))
        assert logs.wait() == 0
    assert cli.ok("logs", NAME, "--attempt", "3") == "at last\n"
    shown = [json.loads(line) for line in cli.ok("logs", NAME, "-o", "json").splitlines()]
    assert [event["event"] for event in shown] == ["log", "progress", "log"]
    assert [event["pod"]["attempt"] for event in shown] == [1, 1, 3]


def test_events_are_those_of_the_job_and_its_pods(cli: Cli, namespace: Namespace) -> None:
    cli.ok("submit", "-f", str(TUNE))
    job = namespace.get("offsitejob", NAME)
    hungry = driver("localhost/nothing:1", job["metadata"]["uid"], 1)
    hungry["spec"]["nodeSelector"] = {"no-node": "has-this"}
    other = {**hungry, "metadata": {"name": "another"}}
    namespace.apply(hungry, other)
    wait(lambda: "another" in namespace.kubectl("get", "events"))
    wait(lambda: hungry["metadata"]["name"] in namespace.kubectl("get", "events"))
    shown = cli.ok("events", NAME)
    assert "FailedScheduling" in shown
    assert "another" not in shown
    (first, *_) = json.loads(cli.ok("events", NAME, "-o", "json"))["items"]
    assert is_about(first, job, ())


def wait(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def kubeconfig(cluster: Cluster, path: Path, **user: str) -> Path:
    """Write a kubeconfig for another user of the same cluster."""
    raw = cluster.kubectl("config", "view", "--raw", "--output=json", "--minify")
    content = json.loads(raw)
    content["users"] = [{**content["users"][0], "user": user}]
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_who_may_not_is_told_so(
    cluster: Cluster, cli: Cli, namespace: Namespace, tmp_path: Path
) -> None:
    namespace.kubectl("create", "serviceaccount", "looker")
    namespace.kubectl("create", "role", "look", "--verb=get,list", "--resource=offsitejobs")
    account = f"--serviceaccount={namespace.name}:looker"
    namespace.kubectl("create", "rolebinding", "look", "--role=look", account)
    token = namespace.kubectl("create", "token", "looker").strip()
    looker = Cli(kubeconfig(cluster, tmp_path / "looker", token=token), namespace.name, cli.environ)
    assert looker.run("list").returncode == 0
    refused = looker.run("submit", "-f", str(TUNE))
    assert refused.returncode == 4
    assert "cannot create resource" in refused.stderr
    assert "offsite-edit" in refused.stderr
    checked = looker.run("doctor")
    assert checked.returncode == 0  # what may not be seen is no failure
    assert "warn  gpus: you may not check this" in checked.stdout
    assert "warn  rights: you may not submit jobs" in checked.stdout
    assert "ok    crds: offsitejobs is served; you may not see its version" in checked.stdout


def test_an_expired_token_and_a_dead_server_are_told(
    cluster: Cluster, cli: Cli, namespace: Namespace, tmp_path: Path
) -> None:
    stranger = kubeconfig(cluster, tmp_path / "stranger", token="expired")
    unknown = Cli(stranger, namespace.name, cli.environ).run("list")
    assert unknown.returncode == 4
    assert "log in again" in unknown.stderr
    content = json.loads(stranger.read_text())
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "dead").write_text(json.dumps(content), encoding="utf-8")
    dead = Cli(tmp_path / "dead", namespace.name, cli.environ).run("doctor")
    assert dead.returncode == 4
    assert "cannot reach the API server at https://127.0.0.1:9" in dead.stderr
    assert "Traceback" not in unknown.stderr + dead.stderr


def test_doctor_names_what_is_missing(cli: Cli, namespace: Namespace) -> None:
    settings = {"identity": {"secret": "keys"}, "exchange": {"secret": "exchange"}}
    data = {"settings.json": json.dumps(settings)}
    metadata = {"name": "offsite-settings"}
    secret = {"apiVersion": "v1", "kind": "Secret"}
    namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data},
        {**secret, "metadata": {"name": "keys"}, "stringData": {"ring.json": "{}"}},
    )
    checked = cli.run("doctor")
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    verdicts = {line.split(":")[0].split()[1]: line.split()[0] for line in lines}
    assert verdicts["api"] == verdicts["namespace"] == verdicts["rights"] == "ok"
    assert verdicts["crds"] == "ok"
    assert verdicts["operator"] == "fail"
    assert verdicts["stores"] == "skip"
    lacks = "fail  secrets: keys (identity) lacks public.json; it has ring.json"
    assert any(line.startswith(lacks) for line in lines)
    assert any(line.startswith("fail  secrets: there is no Secret exchange") for line in lines)
    found = json.loads(cli.run("doctor", "-o", "json").stdout)
    assert {each["check"] for each in found} == verdicts.keys()


def test_a_peer_goes_from_its_public_file_to_the_cluster(
    cli: Cli, namespace: Namespace, tmp_path: Path
) -> None:
    def offsite(*arguments: str) -> str:
        command = [sys.executable, "-m", "offsite_cli", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    home, public = str(tmp_path / "home"), tmp_path / "hospital.pub"
    offsite("keys", "init", "hospital", "--home", home)
    offsite("keys", "export", str(public), "--home", home)
    manifest = offsite("peers", "manifest", str(public), "--name", "clinic")
    namespace.kubectl("apply", "--filename=-", given=manifest)
    spec = namespace.get("offsitepeer", "clinic")["spec"]
    assert spec == {"id": "hospital", "public": public.read_text()}


def test_names_of_jobs_are_completed_from_the_cluster(cli: Cli) -> None:
    cli.ok("submit", "-f", str(TUNE))
    code = "from offsite_cli.app import complete; complete()"
    words = ["get", "--namespace", cli.namespace, "cod"]
    environ = {**cli.environ, "KUBECONFIG": str(cli.kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environ
    )
    assert done.stdout == f"{NAME}\n:4\n"
