"""What approvers see and do: reports of jobs, and verdicts on them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offsite.errors import ApprovalError, InputError, OffsiteError
from offsite.resources import AUTHOR, EgressReport, OffsiteApproval
from offsite.steps.approvals import FolderApprovals
from offsite.wire import now
from offsite_cli.app import app
from offsite_cli.cluster import approval, identity
from offsite_cli.cluster.errors import AlreadyExists, ClusterForbidden
from offsite_cli.cluster.identity import known_user, user_name
from offsite_cli.cluster.job_status import exit_code_of
from offsite_cli.cluster.printing import describe
from offsite_cli.cluster.submit.create import with_author

REPORT = EgressReport.of(
    kind="adapter",
    bundle="coding-adapter",
    job="0f3c5a1e",
    sender="hospital",
    recipient="lab",
    recipient_keys="abcd efgh",
    answers="sha256:" + "2" * 64,
    manifest="sha256:" + "1" * 64,
    size_bytes=4096,
    files=[{"name": "adapter.safetensors", "sha256": "3" * 64, "size_bytes": 4096}],
    tensors=[
        {
            "name": "blocks.{0-3}.q_proj.a",
            "dtype": "F32",
            "shape": [16, 16],
            "count": 4,
            "size_bytes": 4096,
        }
    ],
    facts=[{"name": "privacy.epsilon", "value": "8.0"}],
    figures=[{"name": "emulator_tuned.perplexity", "value": "6.89"}],
)


def waiting(**status: Any) -> dict[str, Any]:
    found = {"state": "AwaitingApproval", "egress": REPORT.wire(), **status}
    metadata = {"name": "coding-adapter", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"stage": "Tune", "peer": "lab"}, "status": found}


class Cluster:
    """An API server with one job, and the approvals that were created."""

    namespace = "hospital"

    def __init__(self, job: dict[str, Any], user: str = "bob") -> None:
        self.job, self.user = job, user
        self.created: dict[str, dict[str, Any]] = {}

    def path(self, *parts: str) -> str:
        return "/".join(parts)

    def get(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        return self.created[name] if "offsiteapprovals" in path else self.job

    def create(self, path: str, body: dict[str, Any], **_: str) -> dict[str, Any]:
        if "selfsubjectreviews" in path:
            return {**body, "status": {"userInfo": {"username": self.user}}}
        name = body["metadata"]["name"]
        if name in self.created:
            raise AlreadyExists(f"{name} already exists")
        self.created[name] = body
        return body


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(waiting())
    monkeypatch.setattr(approval, "connect", lambda target: made)
    return made


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments])
    if isinstance(done.exception, OffsiteError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("command", "verdict"), [("approve", "Approved"), ("reject", "Rejected")])
def test_a_verdict_is_an_object_of_the_user_who_gives_it(
    cluster: Cluster, command: str, verdict: str
) -> None:
    for _ in range(2):  # the second time it is there already
        run(command, "coding-adapter", REPORT.digest, "-m", "as discussed")
    [made] = cluster.created.values()
    read = OffsiteApproval.read(made).spec
    assert (read.job, read.digest) == ("coding-adapter", REPORT.digest)
    assert (read.verdict, read.approver, read.message) == (verdict, "bob", "as discussed")


def test_somebody_elses_verdict_is_not_taken_for_ones_own(cluster: Cluster) -> None:
    run("reject", "coding-adapter", REPORT.digest)
    cluster.user = "carol"
    with pytest.raises(InputError, match="bob has ruled already: Rejected"):
        run("approve", "coding-adapter", REPORT.digest)


@pytest.mark.parametrize(
    ("job", "digest", "problem"),
    [
        (waiting(), "sha256:" + "0" * 64, "not of sha256:0000"),
        (waiting(state="Complete"), REPORT.digest, "does not wait for an approval: Complete"),
        (waiting(egress=None), REPORT.digest, "has no egress report yet"),
        (
            waiting(egress=REPORT.wire() | {"recipient": "another"}),
            REPORT.digest,
            "is not what its digest says",
        ),
    ],
)
def test_what_cannot_be_approved_is_not(
    cluster: Cluster, job: dict[str, Any], digest: str, problem: str
) -> None:
    cluster.job = job
    with pytest.raises(InputError, match=problem):
        run("approve", "coding-adapter", digest)
    assert cluster.created == {}


def test_a_report_says_all_that_leaves(cluster: Cluster) -> None:
    said = run("egress", "coding-adapter")
    for each in (
        REPORT.digest,
        "abcd efgh",
        "hospital",
        "lab",
        "adapter.safetensors",
        "8.0",
        "6.89",
    ):
        assert each in said
    assert "blocks.{0-3}.q_proj.a   F32   16 x 16   4 times   4,096 bytes" in said
    found = json.loads(run("egress", "coding-adapter", "-o", "json"))
    assert (found["report"], found["state"]) == (REPORT.wire(), "AwaitingApproval")
    cluster.job = waiting(egress=REPORT.wire() | {"sizeBytes": 1})
    with pytest.raises(InputError, match="do not approve it"):
        run("egress", "coding-adapter")


def test_the_page_of_a_job_says_who_approved_it() -> None:
    given = {"approver": "bob", "digest": REPORT.digest, "name": "by-bob"}
    page = "\n".join(describe(waiting(approval=given), now()))
    assert "offsite egress coding-adapter" in page
    assert "by bob: by-bob" in page


def test_a_rejected_job_ends_as_one_that_was_not_allowed() -> None:
    why = {"type": "Failed", "status": "True", "reason": "ApprovalRejected", "message": "no"}
    job = waiting(state="Failed", reason="ApprovalRejected", conditions=[why])
    assert exit_code_of(job) == 4


def test_a_job_is_submitted_with_its_authors_name() -> None:
    content = {"metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {}}
    named = with_author(content, "alice")
    assert named["metadata"]["annotations"] == {"a": "b", AUTHOR: "alice"}
    assert with_author(named, "bob") == named
    assert with_author(content, None) == content
    assert identity.AUTHOR == AUTHOR


def test_an_api_server_that_does_not_tell_who_one_is_is_no_obstacle_to_a_job() -> None:
    class Silent(Cluster):
        def create(self, path: str, body: dict[str, Any], **_: str) -> dict[str, Any]:
            raise ClusterForbidden("no")

    api: Any = Silent(waiting())
    assert known_user(api) is None
    nameless: Any = Cluster(waiting(), user="")
    with pytest.raises(InputError, match="who you are"):
        user_name(nameless)


def test_on_this_machine_the_same_commands_take_a_folder(tmp_path: Path) -> None:
    FolderApprovals(tmp_path).keep(REPORT)
    place = ("--approvals", str(tmp_path))
    assert REPORT.digest in run("egress", "coding-adapter", *place)
    found = json.loads(run("egress", "coding-adapter", "-o", "json", *place))
    assert found == {"report": REPORT.wire()}
    with pytest.raises(ApprovalError, match="another user of this machine"):
        run("approve", "coding-adapter", REPORT.digest, *place)
    with pytest.raises(InputError, match="another has no egress report"):
        run("egress", "another", *place)
