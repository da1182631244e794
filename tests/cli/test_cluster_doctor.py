"""What doctor makes of what it sees."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import offsite
from offsite.events import EVENT_MARK, Check, as_line, new_mark
from offsite_cli.cluster.doctor.approvals import check_approvals
from offsite_cli.cluster.doctor.cluster import (
    clock_finding,
    crd_finding,
    gpu_finding,
    kuberay_finding,
)
from offsite_cli.cluster.doctor.finding import Finding, exit_code
from offsite_cli.cluster.doctor.namespace import allowed_peers_findings, peer_finding
from offsite_cli.cluster.doctor.release import (
    SecretNeed,
    operator_finding,
    secret_finding,
    secrets_in_settings,
    secrets_mounted_by,
)
from offsite_cli.cluster.doctor.stores import (
    findings_from_jobs,
    findings_from_log,
    job_from_cronjob,
)
from offsite_cli.cluster.errors import ClusterForbidden


class Verifying:
    """An API server with a release that requires approvals."""

    namespace = "lab"

    def __init__(self, required: str | None, answer: Exception | None) -> None:
        self.required, self.answer = required, answer
        self.asked: list[tuple[str, str]] = []

    def path(self, *parts: str) -> str:
        return "/".join(parts)

    def get(self, path: str) -> Any:
        bounds = {"requireApproval": self.required} if self.required else {}
        return {"data": {"settings.json": json.dumps({"bounds": bounds})}}

    def create(self, path: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        self.asked.append((path.rpartition("/")[2], query["dryRun"]))
        if self.answer is not None:
            raise self.answer
        return body


@pytest.mark.parametrize(
    ("required", "answer", "verdicts"),
    [
        (None, None, []),
        ("None", None, []),
        ("All", None, ["fail", "fail"]),
        ("All", ClusterForbidden("ValidatingAdmissionPolicy 'x' denied request"), ["ok", "ok"]),
        ("All", ClusterForbidden("cannot create resource"), ["warn", "warn"]),
    ],
)
def test_false_names_are_tried_where_approvals_are_required(
    required: str | None, answer: Exception | None, verdicts: list[str]
) -> None:
    api: Any = Verifying(required, answer)
    assert [each.verdict for each in check_approvals(api)] == verdicts
    tried = [("offsitejobs", "All"), ("offsiteapprovals", "All")]
    assert api.asked == (tried if verdicts else [])


def deployment(image: str, ready: int) -> dict[str, Any]:
    """Make a Deployment."""
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    return {"spec": spec, "status": {"readyReplicas": ready} if ready else {}}


def node(gpus: str | None) -> dict[str, Any]:
    """Make a node."""
    return {"status": {"allocatable": {"cpu": "4", **({"nvidia.com/gpu": gpus} if gpus else {})}}}


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (-29, "ok"), (30, "warn"), (-299, "warn"), (301, "fail")]
)
def test_a_clock_that_is_off(seconds: float, verdict: str) -> None:
    assert clock_finding(seconds).verdict == verdict


def test_which_clock_is_ahead() -> None:
    assert "40 s ahead of" in clock_finding(40).message
    assert "40 s behind" in clock_finding(-40).message


@pytest.mark.parametrize(
    ("version", "verdict"), [(offsite.__version__, "ok"), ("9.9.9", "warn"), (None, "warn")]
)
def test_crds_of_another_version(version: str | None, verdict: str) -> None:
    assert crd_finding("offsitejobs", version).verdict == verdict


def test_gpus_are_counted() -> None:
    found = gpu_finding([node("4"), node(None), node("2")], "nvidia.com/gpu")
    assert (found.verdict, found.message) == ("ok", "6 on 2 nodes (nvidia.com/gpu)")
    assert gpu_finding([node(None)], "nvidia.com/gpu").verdict == "warn"
    assert gpu_finding([node("4")], "amd.com/gpu").verdict == "warn"


def test_operators_are_ready_or_not() -> None:
    assert operator_finding(deployment("offsite-operator:1", 1)).verdict == "ok"
    assert operator_finding(deployment("offsite-operator:1", 0)).verdict == "fail"
    assert kuberay_finding([deployment("registry/kuberay:v1.7.0", 1)]).message.endswith(":v1.7.0")
    assert kuberay_finding([deployment("kuberay:v1", 0)]).verdict == "fail"
    assert kuberay_finding([]).verdict == "warn"


def test_the_job_that_tries_the_stores_has_a_name_and_a_mark_of_its_own() -> None:
    # as the API server gives a template that has no metadata
    inner = {"metadata": {}, "spec": {"backoffLimit": 0, "template": {"metadata": {}}}}
    made = job_from_cronjob({"spec": {"jobTemplate": inner}}, "offsite-check-1")
    assert made["metadata"] == {"name": "offsite-check-1"}
    marks = [
        job_from_cronjob({"spec": {"jobTemplate": inner}}, "x")["spec"]["template"]["metadata"][
            "annotations"
        ]
        for _ in range(2)
    ]
    assert len({each[EVENT_MARK] for each in marks}) == 2
    assert inner["spec"]["template"] == {"metadata": {}}


def test_secrets_are_those_that_the_settings_name() -> None:
    settings = {
        "identity": {"secret": "keys", "passphrase": True},
        "exchange": {"secret": "account", "uri": "s3://exchange"},
        "private": {"uri": "pvc://data/models"},
    }
    assert secrets_in_settings(settings) == [
        SecretNeed("identity", "keys", ("ring.json", "public.json", "passphrase")),
        SecretNeed("exchange", "account", ("credentials.json",)),
    ]
    in_s3 = {"private": {"secret": "store", "ca": True}}
    assert secrets_in_settings(in_s3) == [
        SecretNeed("private", "store", ("credentials.json", "ca.crt"))
    ]


@pytest.mark.parametrize(
    ("image", "verdict", "words"),
    [
        ("operator:v1.6.1", "ok", "v1.6.1"),
        ("operator:v1.5.1", "ok", "v1.5.1"),
        ("operator:1.10.0-rc.1", "ok", "1.10.0"),
        ("operator:v1.5.0", "warn", "v1.5.0"),
        ("operator:nightly", "warn", "operator:nightly"),
        ("operator@sha256:00", "warn", "operator@sha256:00"),
    ],
)
def test_kuberay_is_new_enough_for_tokens(image: str, verdict: str, words: str) -> None:
    found = kuberay_finding([deployment(f"registry:5000/kuberay/{image}", 1)])
    assert found.verdict == verdict
    assert words in found.message
    assert ("1.5.1 or newer" in found.remedy) is (verdict == "warn")


def test_the_secret_of_the_operators_own_account_is_found() -> None:
    operator = deployment("offsite-operator:1", 1)
    items = [{"key": "credentials.json", "path": "reader/credentials.json"}]
    sources = [
        {"configMap": {"name": "offsite-settings"}},
        {"secret": {"name": "reader", "items": items}},
    ]
    volumes = [{"name": "known", "projected": {"sources": sources}}, {"name": "tmp"}]
    operator["spec"]["template"]["spec"]["volumes"] = volumes
    (need,) = secrets_mounted_by(operator)
    assert (need.name, need.keys) == ("reader", ("credentials.json",))
    assert need.value == "exchange.readerSecret"


@pytest.mark.parametrize(
    ("fields", "verdict", "message"),
    [
        (
            [{"f:data": {".": {}, "f:ring.json": {}, "f:public.json": {}}}],
            "ok",
            "has ring.json, public.json (not read)",
        ),
        (
            [{"f:data": {"f:ring.json": {}}}, {"f:data": {"f:public.json": {}}}],
            "ok",
            "has ring.json, public.json (not read)",
        ),
        ([{"f:stringData": {"f:ring.json": {}}}], "fail", "lacks public.json; it has ring.json"),
        ([{"f:type": {}}], "fail", "lacks ring.json, public.json; it has no keys"),
        ([], "ok", "exists; its keys are not recorded"),
    ],
)
def test_secrets_have_their_keys(fields: list[Any], verdict: str, message: str) -> None:
    need = SecretNeed("identity", "keys", ("ring.json", "public.json"))
    metadata = {"managedFields": [{"manager": "kubectl", "fieldsV1": each} for each in fields]}
    found = secret_finding(need, {"metadata": metadata})
    assert found.verdict == verdict
    assert found.message == f"keys (identity) {message}"


@pytest.mark.parametrize(
    ("allowed", "names", "told"),
    [
        (["lab", "clinic-*"], ["lab", "clinic-2"], []),
        ([], ["lab"], ["jobs may not name lab: bounds.peers has no entries"]),
        (["l*"], ["lab", "clinic"], ["jobs may not name clinic: bounds.peers has l*"]),
        (["lab"], [], ["bounds.peers names lab, but there is no such OffsitePeer"]),
    ],
)
def test_peers_that_jobs_may_name(allowed: list[str], names: list[str], told: list[str]) -> None:
    found = list(allowed_peers_findings({"bounds": {"peers": allowed}}, names))
    assert [each.message for each in found] == told
    assert all(each.verdict == "warn" and each.remedy for each in found)


@pytest.mark.parametrize(
    ("conditions", "verdict", "words"),
    [
        ([], "fail", "no operator has seen lab yet"),
        ([{"type": "Ready", "status": "True"}], "ok", "abcd efgh"),
        (
            [{"type": "Ready", "status": "False", "reason": "Changed", "message": "not signed"}],
            "fail",
            "(Changed): not signed",
        ),
    ],
)
def test_peers_are_ready_or_not(conditions: list[Any], verdict: str, words: str) -> None:
    status = {"conditions": conditions, "fingerprint": "abcd efgh"}
    found = peer_finding({"metadata": {"name": "lab"}, "status": status})
    assert found.verdict == verdict
    assert words in found.message


def job(name: str, kind: str, reason: str, message: str = "", hour: int = 0) -> dict[str, Any]:
    """Make a job whose last condition is of a kind: Accepted waits, the others ended at an hour."""
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    state = "Pending" if kind == "Accepted" else kind
    status = {"state": state, "reason": reason, "conditions": [condition]}
    ended = {} if kind == "Accepted" else {"completionTime": f"2026-01-01T{hour:02}:00:00Z"}
    return {"metadata": {"name": name}, "status": {**status, **ended}}


DONE = job("done", "Complete", "Complete", hour=2)
AWAY = job("away", "Accepted", "ExchangeUnreachable", "https://exchange:9000 does not answer")
WAITS = job("waits", "Accepted", "WaitingForBundle")
LOST = job("lost", "Failed", "BackoffLimitExceeded", "3 attempts; UnreachableError: s3://x", 3)
REFUSED = job("refused", "Failed", "NotAllowedError", "s3://models/x: the key is wrong", 1)


UNTESTED = ("skip", "only the operator and the pods reach them, and no job here has used them yet")


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        ([], [UNTESTED]),
        ([{"metadata": {"name": "unseen"}}], [UNTESTED]),
        ([job("bad", "Failed", "DataError", hour=4)], [UNTESTED]),
        ([job("no", "Failed", "NotAllowed", hour=4)], [UNTESTED]),
        ([DONE, REFUSED], [("ok", "done used both successfully, 2h ago")]),
        (
            [DONE, LOST],
            [("warn", "a store failed lost, 1h ago: 3 attempts; UnreachableError: s3://x")],
        ),
        ([REFUSED], [("warn", "a store failed refused, 3h ago: s3://models/x: the key is wrong")]),
        ([WAITS], [("ok", "the operator reads the exchange; waits waits for a bundle")]),
        (
            [WAITS, AWAY, DONE],
            [
                (
                    "fail",
                    "the operator cannot read the exchange: https://exchange:9000 does not answer",
                ),
                ("ok", "done used both successfully, 2h ago"),
            ],
        ),
    ],
)
def test_jobs_tell_of_the_stores(jobs: list[Any], found: list[tuple[str, str]]) -> None:
    findings = findings_from_jobs(jobs, datetime(2026, 1, 1, 4, tzinfo=UTC))
    assert [(each.verdict, each.message) for each in findings] == found


def test_a_pod_tells_of_both_stores() -> None:
    mark = new_mark()
    log = [
        "a line",
        as_line(Check(store="private", verdict="ok", message="forged"), ""),
        as_line(Check(store="exchange", verdict="ok", message="x"), mark),
        as_line(Check(store="private", verdict="fail", message="y"), mark),
    ]
    assert list(findings_from_log(log, mark)) == [
        Finding("exchange store", "ok", "x"),
        Finding("private store", "fail", "y"),
    ]


@pytest.mark.parametrize(
    ("log", "said"), [([], "empty log"), (["No module named x"], "No module named x")]
)
def test_a_pod_that_tells_nothing_is_a_failure(log: list[str], said: str) -> None:
    (found,) = findings_from_log(log, new_mark())
    assert found.verdict == "fail"
    assert said in found.message


def test_only_a_failure_fails() -> None:
    fine = [Finding("a", "ok", "x"), Finding("b", "warn", "x", "y"), Finding("c", "skip", "x")]
    assert exit_code(fine) == 0
    assert exit_code([*fine, Finding("d", "fail", "x")]) == 1
    assert fine[1].line == "warn  b: x → y"
