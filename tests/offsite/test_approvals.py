"""Nothing leaves that needs an approval and has none: egress reports and verdicts."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from offsite.api import Limits
from offsite.bundle import ADAPTER as ADAPTER_FILE
from offsite.bundle import MANIFEST
from offsite.errors import ApprovalError, AwaitingApproval, InputError, NotSentError
from offsite.inspection import SIGNS
from offsite.resources import EgressReport, digest_of_report
from offsite.steps.approvals import FolderApprovals, GivenApproval
from offsite.steps.egress import ranges
from offsite.steps.workspace import FIGURES
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    TINY,
    Parties,
    distill,
    new_parties,
    ring_of,
    seal,
    tune,
)
from offsite_testing.pods import UID, Pods

NOBODY = 65534
"""A user who has no rights here."""
ASKING = TINY.model_copy(update={"require_approval": "All"})
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another user")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    """A lab has sent an emulator, and a hospital has tuned an adapter in it."""
    pods = Pods(new_parties(tmp_path_factory.mktemp("approvals")))
    pods.run_all(EMULATOR, distill(None))
    for step in ("Open", "Work"):
        pods.run(step, ADAPTER, tune(), limits=ASKING)
    return pods


@pytest.fixture
def pods(sent: Pods, tmp_path: Path) -> Pods:
    """The parties after the emulator was sent; the hospital requires approvals."""
    root = tmp_path / "parties"
    shutil.copytree(sent.parties.root, root, ignore=lambda *_: ["scratch"])
    parties = Parties(root)
    parties.limit(HOSPITAL, ASKING)
    return Pods(parties)


def reported(pods: Pods) -> dict[str, Any]:
    """Give the last egress report."""
    found: dict[str, Any] = [e for e in pods.events if e["event"] == "egress"][-1]["report"]
    return found


def test_a_step_reports_exactly_what_the_next_one_sends(pods: Pods) -> None:
    pods.run("Report", ADAPTER, tune(), limits=ASKING)
    with pytest.raises(NotSentError):
        pods.parties.envelope(ADAPTER)
    report = reported(pods)
    assert report["digest"] == digest_of_report(report)
    pods.run("Publish", ADAPTER, tune(), limits=ASKING, approved=report["digest"])
    assert reported(pods) == report
    folder, envelope = pods.parties.opened(ADAPTER), pods.parties.envelope(ADAPTER)
    assert report["answers"] == envelope.header.parent
    assert report["recipientKeys"] == ring_of(LAB).public().fingerprint
    assert (report["kind"], report["sender"], report["recipient"]) == ("adapter", HOSPITAL, LAB)
    assert report["job"] == UID[ADAPTER]
    tensors = load_file(folder / ADAPTER_FILE)
    assert sum(each["count"] for each in report["tensors"]) == len(tensors)
    total = sum(each.nbytes for each in tensors.values())
    assert sum(each["sizeBytes"] for each in report["tensors"]) == total
    facts = {each["name"]: each["value"] for each in report["facts"]}
    assert (facts["method"], facts["scope"]) == ("LoRA", "All")
    figures = {each["name"] for each in report["figures"]}
    assert {"emulator_zero_shot.perplexity", "emulator_tuned.perplexity"} <= figures
    inspected = {"inspection_crossed.signs", *(f"inspection_{sign}.worst" for sign in SIGNS)}
    assert inspected <= figures


def test_an_emulators_report_says_what_it_discloses_and_enters_nothing(sent: Pods) -> None:
    pods, spec = Pods(sent.parties), distill(None, grant={"maxUses": 3, "expiresAfter": "720h"})
    ledger = pods.private(LAB) / "disclosed"
    before = sorted(ledger.iterdir())
    for step in ("Open", "Work", "Report"):
        pods.run(step, EMULATOR, spec, uid="again")
    facts = {each["name"]: each["value"] for each in reported(pods)["facts"]}
    assert (facts["model.blocks"], facts["disclosed.ends"]) == ("6", "0,5")
    assert len(facts["disclosed.middle"].split(",")) == 2
    assert (facts["grant.maxUses"], facts["grant.expiresAfter"]) == ("3", "720h")
    assert sorted(ledger.iterdir()) == before
    kinds = {each["name"] for each in reported(pods)["tensors"]}
    assert "model.layers.{0-3}.mlp.up_proj.weight" in kinds


def another_result(folder: Path) -> None:
    path = folder / "result" / ADAPTER_FILE
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    seal(folder / "result")


def other_figures(folder: Path) -> None:
    path = folder / "notes" / FIGURES
    path.write_text(path.read_text().replace("perplexity", "accuracy"))


@pytest.mark.parametrize("change", [another_result, other_figures])
def test_what_changes_after_the_report_is_not_sent(
    pods: Pods, change: Callable[[Path], None]
) -> None:
    """A training pod that was given up goes on, and writes into its folder."""
    pods.run("Report", ADAPTER, tune(), limits=ASKING)
    approved = reported(pods)["digest"]
    change(pods.private(HOSPITAL) / "work" / UID[ADAPTER])
    with pytest.raises(ApprovalError, match="changed after the report"):
        pods.run("Publish", ADAPTER, tune(), limits=ASKING, approved=approved)
    with pytest.raises(NotSentError):
        pods.parties.envelope(ADAPTER)
    # reported again, it may be approved
    pods.run("Report", ADAPTER, tune(), limits=ASKING)
    assert reported(pods)["digest"] != approved
    pods.run("Publish", ADAPTER, tune(), limits=ASKING, approved=reported(pods)["digest"])
    assert pods.parties.envelope(ADAPTER)


def test_newer_keys_of_the_recipient_need_another_approval(pods: Pods) -> None:
    pods.run("Report", ADAPTER, tune(), limits=ASKING)
    approved = reported(pods)["digest"]
    newer = json.dumps(ring_of(LAB).rotated(timedelta(days=1)).public().wire())
    with pytest.raises(ApprovalError):
        pods.run("Publish", ADAPTER, tune(), limits=ASKING, approved=approved, public=newer)


def test_a_task_without_an_approval_sends_nothing(pods: Pods) -> None:
    with pytest.raises(ApprovalError, match="the task names none"):
        pods.run("Publish", ADAPTER, tune(), limits=ASKING)


@pytest.mark.parametrize(
    ("required", "stages"),
    [("None", []), ("Adapters", ["Tune"]), ("All", ["Distill", "Tune"])],
)
def test_a_limit_says_whose_results_need_an_approval(required: Any, stages: list[str]) -> None:
    limits = Limits(require_approval=required)
    found = [stage for stage in ("Distill", "Tune", "PlugIn") if limits.requires_approval(stage)]
    assert found == stages


def as_another_user(act: Callable[[], object]) -> int:
    """Do something in a process of another user; gives its exit code."""
    if (child := os.fork()) == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            act()
            os._exit(0)
        except InputError as error:
            os._exit(error.exit_code)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def shared() -> Any:
    """A folder that every user of this machine reaches."""
    folder = Path(f"/tmp/offsite-approvals-{os.getpid()}")
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def run_here(pods: Pods, folder: Path) -> None:
    """Run the hospital's job on this machine, with a shared folder of verdicts."""
    parties = pods.parties

    class Sharing(Parties):
        def party(self, name: str) -> Any:
            return replace(super().party(name), approvals=FolderApprovals(folder))

    Sharing(parties.root).run(ADAPTER, tune())


@as_root
def test_another_user_of_the_machine_approves(pods: Pods, shared: Path) -> None:
    with pytest.raises(AwaitingApproval, match="offsite approve adapter sha256:") as waits:
        run_here(pods, shared)
    assert waits.value.exit_code == 5
    report = FolderApprovals(shared).report(ADAPTER)
    given = FolderApprovals(shared)
    with pytest.raises(ApprovalError, match="another user of this machine"):
        given.give(ADAPTER, report.digest, "Approved", "")
    another = "sha256:" + "0" * 64
    assert as_another_user(lambda: given.give(ADAPTER, another, "Approved", "")) == 2
    with pytest.raises(AwaitingApproval):
        run_here(pods, shared)
    assert as_another_user(lambda: given.give(ADAPTER, report.digest, "Approved", "")) == 0
    assert as_another_user(lambda: given.give(ADAPTER, report.digest, "Rejected", "")) == 2
    run_here(pods, shared)
    assert pods.parties.envelope(ADAPTER).header.parent == report.answers


@as_root
def test_a_rejected_result_stays_here(pods: Pods, shared: Path) -> None:
    with pytest.raises(AwaitingApproval):
        run_here(pods, shared)
    given = FolderApprovals(shared)
    digest = given.report(ADAPTER).digest
    assert as_another_user(lambda: given.give(ADAPTER, digest, "Rejected", "too few rows")) == 0
    with pytest.raises(ApprovalError, match=r"nobody rejected adapter .*: too few rows"):
        run_here(pods, shared)
    with pytest.raises(NotSentError):
        pods.parties.envelope(ADAPTER)


def verdict_on(report: EgressReport, folder: Path, owner: int, mode: int = 0o644) -> None:
    path = folder / f"{report.bundle}.{report.digest[7:19]}.verdict.json"
    at = "2026-01-01T00:00:00Z"
    path.write_text(json.dumps({"digest": report.digest, "verdict": "Approved", "at": at}))
    os.chown(path, owner, owner)
    path.chmod(mode)


REPORT = EgressReport.of(
    kind="adapter",
    bundle="adapter",
    job="1",
    sender="hospital",
    recipient="lab",
    recipient_keys="abcd",
    manifest="sha256:" + "1" * 64,
    size_bytes=0,
    files=[],
    tensors=[],
)


@as_root
def test_a_verdict_that_the_author_could_have_written_counts_for_nothing(tmp_path: Path) -> None:
    approvals = FolderApprovals(tmp_path)
    verdict_on(REPORT, tmp_path, os.geteuid())
    with pytest.raises(ApprovalError, match="your own verdict"):
        approvals.check(REPORT)
    verdict_on(REPORT, tmp_path, NOBODY, 0o666)
    with pytest.raises(ApprovalError, match="others than its owner"):
        approvals.check(REPORT)
    verdict_on(REPORT, tmp_path, NOBODY)
    assert approvals.check(REPORT) == "nobody"
    path = tmp_path / f"adapter.{REPORT.digest[7:19]}.verdict.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError):
        approvals.check(REPORT)


def test_a_report_that_was_changed_is_not_approved(tmp_path: Path) -> None:
    approvals = FolderApprovals(tmp_path)
    approvals.keep(REPORT)
    with pytest.raises(AwaitingApproval):
        approvals.check(REPORT)
    path = tmp_path / "adapter.report.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    FolderApprovals(tmp_path, shared=False).keep(REPORT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text().replace('"lab"', '"another"'))
    with pytest.raises(InputError, match="its digest does not match"):
        approvals.report("adapter")
    with pytest.raises(InputError, match="other has no egress report"):
        approvals.report("other")


@pytest.mark.parametrize("job", ["../other", "a/b", "..", "", "x.y"])
def test_an_approver_is_not_led_out_of_the_folder(tmp_path: Path, job: str) -> None:
    """Root approves in a folder that an author can write."""
    outside = tmp_path / "inside"
    outside.mkdir()
    with pytest.raises(InputError, match="must be a DNS label"):
        FolderApprovals(outside).give(job, REPORT.digest, "Approved", "")
    led = EgressReport.of(**REPORT.model_dump(exclude={"digest"}) | {"bundle": "../x"})
    (outside / "adapter.report.json").write_text(json.dumps(led.wire()))
    with pytest.raises(InputError, match="damaged"):
        FolderApprovals(outside).report("adapter")


def test_a_given_approval_is_of_one_digest() -> None:
    GivenApproval(REPORT.digest).check(REPORT)
    for other in (None, "sha256:" + "0" * 64):
        with pytest.raises(ApprovalError):
            GivenApproval(other).check(REPORT)


def test_every_field_of_a_report_counts() -> None:
    wire = REPORT.wire()
    for name in wire.keys() - {"digest"}:
        assert digest_of_report({**wire, name: "another"}) != REPORT.digest
    assert MANIFEST not in {each.name for each in REPORT.files}


@pytest.mark.parametrize(
    ("places", "shown"), [([3], "3"), ([0, 1, 2, 5], "0-2,5"), ([7, 9, 8], "7-9"), ([], "")]
)
def test_numbers_are_shown_as_ranges(places: list[int], shown: str) -> None:
    assert ranges(places) == shown
