"""Who may submit and approve what, as the API server has it, and what an operator does then."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cluster.access import Cluster, Manifest
from cluster.helm import rendered
from cluster.jobs import condition, has, is_in, offsite_job
from cluster.namespaces import Namespace
from cluster.processes import wait_for
from cluster.site import Site, operating
from offsite.resources import AUTHOR, EgressReport
from offsite_testing.charts import organization
from offsite_testing.world import DIGEST, DISTILL, SETTINGS, TUNE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ALICE, BOB, EVE = "alice", "bob", "eve"
"""Alice and Bob submit jobs and approve them, Eve submits only."""
CREATE = ("create", "--validate=false", "--output=name", "--filename=-")


def rights(space: Namespace) -> None:
    """Bind the roles of the chart in a namespace."""
    users = {"edit": (ALICE, BOB, EVE), "approve": (ALICE, BOB)}
    kind = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io"}
    access = {role: [kind | {"name": name} for name in who] for role, who in users.items()}
    made = rendered("offsite", organization(access=access), namespace=space.name)
    roles = ("offsite-edit", "offsite-approver")
    space.apply(*(each for each in made if each["metadata"]["name"] in roles))


@pytest.fixture(scope="module")
def space(crds: Cluster, new_module_space: Callable[[str], Namespace]) -> Namespace:
    """A namespace with the roles of a release, in which the policies are in force."""
    made = new_module_space("approvals")
    rights(made)
    # every job is a parameter of a policy, which finds none in an empty namespace
    create(made, ALICE, job("of-alice", ALICE))
    create(made, BOB, job("of-bob", BOB))

    def in_force() -> bool:
        tried = {
            "is the author": refusal(made, ALICE, approval("of-alice", ALICE)),
            "spec.approver must be": refusal(made, ALICE, approval("of-bob", BOB)),
            "the annotation": refusal(made, EVE, job("forged", ALICE)),
        }
        return all(why in said for why, said in tried.items())

    wait_for(in_force, seconds=120)
    return made


def job(name: str, author: str | None = None) -> Manifest:
    made = offsite_job(name, TUNE)
    annotations = {AUTHOR: author} if author else {}
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


def approval(name: str, approver: str, verdict: str = "Approved", digest: str = DIGEST) -> Manifest:
    return {
        "apiVersion": "offsite-tuning.dev/v1alpha1",
        "kind": "OffsiteApproval",
        "metadata": {"generateName": f"{name}-"},
        "spec": {"job": name, "digest": digest, "verdict": verdict, "approver": approver},
    }


def create(space: Namespace, user: str, made: Manifest, *options: str) -> str:
    """Create an object as a user; the administrator may speak for everybody."""
    return space.kubectl(f"--as={user}", *CREATE, *options, given=json.dumps(made)).strip()


def refusal(space: Namespace, user: str, made: Manifest) -> str:
    """Try to create an object as a user; gives the API server's answer, empty if it is taken."""
    try:
        create(space, user, made, "--dry-run=server")
    except RuntimeError as error:
        return str(error)
    return ""


def test_nobody_submits_a_job_in_the_name_of_another(space: Namespace) -> None:
    assert "must be your user name, eve" in refusal(space, EVE, job("forged", ALICE))
    assert refusal(space, EVE, job("own", EVE)) == ""
    assert refusal(space, EVE, job("nameless")) == ""


@pytest.mark.parametrize("author", ["eve", "bob", None])
def test_nobody_changes_who_the_author_is(space: Namespace, author: str | None) -> None:
    patch = json.dumps({"metadata": {"annotations": {AUTHOR: author}}})
    options = ("patch", "offsitejob", "of-alice", "--type=merge", f"--patch={patch}")
    for user in (EVE, ALICE):
        with pytest.raises(RuntimeError, match="cannot be changed"):
            space.kubectl(f"--as={user}", *options)


def test_a_job_without_an_author_never_gets_one(space: Namespace) -> None:
    create(space, EVE, job("without"))
    options = ("annotate", "offsitejob", "without", f"{AUTHOR}=bob")
    with pytest.raises(RuntimeError, match="cannot be changed"):
        space.kubectl("--as=eve", *options)


def test_the_rest_of_a_job_changes_as_before(space: Namespace) -> None:
    patch = json.dumps({"spec": {"suspend": True}, "metadata": {"annotations": {"note": "x"}}})
    space.kubectl("--as=eve", "patch", "offsitejob", "of-alice", "--type=merge", f"--patch={patch}")


def test_another_user_with_the_role_approves(space: Namespace) -> None:
    assert refusal(space, BOB, approval("of-alice", BOB)) == ""
    assert refusal(space, ALICE, approval("of-bob", ALICE)) == ""
    assert refusal(space, BOB, approval("of-alice", BOB, "Rejected")) == ""


@pytest.mark.parametrize(
    ("user", "name", "approver", "why"),
    [
        (ALICE, "of-alice", ALICE, "alice is the author of of-alice"),
        (ALICE, "of-bob", BOB, "must be your user name, alice"),
        (BOB, "of-bob", BOB, "bob is the author of of-bob"),
        (EVE, "of-alice", EVE, "cannot create resource"),
        (EVE, "of-alice", BOB, "cannot create resource"),
        ("system:serviceaccount:x:offsite-operator", "of-alice", BOB, "cannot create resource"),
    ],
    ids=["own", "own as another", "own the other way", "no role", "no role as another", "operator"],
)
def test_nobody_else_approves(
    space: Namespace, user: str, name: str, approver: str, why: str
) -> None:
    assert why in refusal(space, user, approval(name, approver))


@pytest.mark.parametrize(
    "spec",
    [
        {"digest": "sha256:" + "0" * 64},
        {"verdict": "Rejected"},
        {"approver": "alice"},
        {"job": "of-bob"},
        {"message": "another"},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_an_approval_never_changes(space: Namespace, spec: dict[str, str]) -> None:
    name = create(space, BOB, approval("of-alice", BOB))
    patch = f"--patch={json.dumps({'spec': spec})}"
    try:
        with pytest.raises(RuntimeError, match="an approval cannot be changed"):
            space.kubectl("patch", name, "--type=merge", patch)  # as the administrator
    finally:
        space.kubectl("--as=bob", "delete", name)


@pytest.mark.parametrize(
    "spec", [{"verdict": "Maybe"}, {"digest": "sha256:1"}, {"approver": ""}, {"job": "A B"}]
)
def test_an_approval_that_says_nothing_is_refused(space: Namespace, spec: dict[str, str]) -> None:
    made = approval("of-alice", BOB)
    assert refusal(space, BOB, {**made, "spec": {**made["spec"], **spec}})


@pytest.fixture
def site(crds: Cluster, namespace: Namespace, tmp_path: Path) -> Iterator[Site]:
    """An operator that requires approvals; its images do not exist."""
    bounds = SETTINGS.bounds.model_dump(mode="json", by_alias=True) | {"requireApproval": "All"}
    with operating(namespace, tmp_path, "localhost/none:1") as start:
        here = start(bounds=bounds)
        rights(namespace)
        yield here


def reported(here: Site, name: str) -> EgressReport:
    """Have a job of Alice's reach its report, as if its steps had run."""
    found = EgressReport.of(
        kind="emulator",
        bundle=name,
        job=here.space.get(f"offsitejob/{name}")["metadata"]["uid"],
        sender="hospital",
        recipient="lab",
        recipient_keys="abcd",
        manifest=DIGEST,
        size_bytes=1,
        files=[{"name": "model.safetensors", "sha256": "0" * 64, "size_bytes": 1}],
        tensors=[{"name": "a", "dtype": "F32", "shape": [], "count": 1, "size_bytes": 4}],
    )
    status = {"step": "Report", "attempts": 1, "egress": found.wire()}
    patch = f"--patch={json.dumps({'status': status})}"
    options = ("--subresource=status", "--type=merge", patch)

    def told() -> bool:
        with suppress(RuntimeError):  # the operator writes, too
            here.space.kubectl("patch", "offsitejob", name, *options)
        return here.status(name).state == "AwaitingApproval"

    wait_for(told, seconds=120)
    return found


def submit(here: Site, name: str, author: str | None = ALICE) -> None:
    made: dict[str, Any] = offsite_job(name, DISTILL | {"runtime": {"engine": "Job"}})
    made["metadata"]["annotations"] = {AUTHOR: author} if author else {}
    create(here.space, author or EVE, made)


def test_an_operator_waits_for_the_approval_and_records_who_gave_it(site: Site) -> None:
    submit(site, "waits")
    report = reported(site, "waits")
    assert f"offsite approve waits {report.digest}" in condition(site.status("waits"))
    row = site.space.kubectl("get", "offsitejob", "waits", "--no-headers")
    assert "AwaitingApproval" in row
    # the word of another digest changes nothing
    create(site.space, BOB, approval("waits", BOB, digest="sha256:" + "0" * 64))
    create(site.space, BOB, approval("waits", BOB, digest=report.digest))
    status = site.reaches("waits", lambda status: status.step == "Publish")
    assert status.approval is not None
    assert (status.approval.approver, status.approval.digest) == (BOB, report.digest)
    assert "Approved: bob approved" in site.space.events("waits")
    task = site.space.get(f"configmap/{status.job_name}")["data"]["task.json"]
    assert json.loads(task)["approved"] == report.digest


def test_a_rejection_ends_the_job(site: Site) -> None:
    submit(site, "rejected")
    report = reported(site, "rejected")
    create(site.space, BOB, approval("rejected", BOB, "Rejected", report.digest))
    status = site.reaches("rejected", is_in("Failed"))
    assert "ApprovalRejected: bob rejected" in condition(status, "Failed")


def test_a_job_without_an_author_is_not_accepted(site: Site) -> None:
    submit(site, "nameless", None)
    site.reaches("nameless", has("NotAllowed", "Failed"))
