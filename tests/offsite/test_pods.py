"""The steps of a stage as pods run them, which share the private store and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from offsite.api import Limits
from offsite.bundle import MANIFEST, PROVENANCE
from offsite.bundle.provenance import check_plugged_in
from offsite.errors import (
    BundleError,
    InputError,
    ModelError,
    NotAllowedError,
    NotSentError,
    StorageError,
)
from offsite.events import MARK, Event, Monitor, Progress, new_mark, parse_line
from offsite.inspection import SIGNS
from offsite.runs import Run
from offsite.stages.pod import run_work
from offsite.steps.recording import RunRecords, records_named
from offsite.steps.run import run_open
from offsite.store import FolderStore
from offsite.store.artifact_store import FolderArtifactStore
from offsite.task import Jobs, Task, write_task
from offsite.wire import now
from offsite_testing.events import Wire
from offsite_testing.foreign import HOSTILE, assert_harmless
from offsite_testing.models import WORDS
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    TINY,
    Parties,
    distill,
    new_parties,
    plug_in,
    ring_of,
    tune,
)
from offsite_testing.pods import JOBS, UID, Pods
from offsite_testing.ray_head import running_ray

pytestmark = pytest.mark.timeout(900)  # Ray takes its time on a busy machine


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    """All three stages, each step in a pod of its own."""
    pods = Pods(new_parties(tmp_path_factory.mktemp("pods")))
    for name, spec in JOBS.items():
        pods.run_all(name, spec)
    return pods


def test_pods_make_what_one_process_makes(done: Pods, tmp_path: Path) -> None:
    alone = new_parties(tmp_path / "alone")
    alone.run_all()
    for name in (EMULATOR, ADAPTER):
        assert done.parties.digest(name) == alone.digest(name)
    plugged, wanted = done.parties.home(LAB) / "export", alone.home(LAB) / "home/models" / PLUGGED
    provenance = check_plugged_in(plugged, [ring_of(LAB).public()])
    assert provenance.origin.adapter == done.parties.envelope(ADAPTER).digest
    assert listing_of(plugged) == listing_of(wanted)


def listing_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != PROVENANCE}


def test_what_was_handed_on_is_taken_away_when_it_is_published(done: Pods) -> None:
    assert not any((done.private(LAB) / "work").iterdir())
    assert not any((done.private(HOSPITAL) / "work").iterdir())
    [record] = (done.private(LAB) / "records").iterdir()
    emulator = done.parties.envelope(EMULATOR)
    assert f"sha256:{record.stem}" == emulator.digest
    assert emulator.header.job == UID[EMULATOR]


@pytest.mark.parametrize("name", JOBS)
def test_a_published_result_is_found_after_a_lost_report(done: Pods, name: str) -> None:
    """The pod was killed when all was done, but for saying so."""

    def artifacts() -> list[Wire]:
        return [e for e in done.events if e["event"] == "artifact" and e["name"] == name]

    told, before = artifacts(), report_of(done, HOSPITAL if name == ADAPTER else LAB, UID[name])
    done.run("Publish", name, JOBS[name])
    assert artifacts() == [*told, told[0]]
    assert report_of(done, HOSPITAL if name == ADAPTER else LAB, UID[name]) == before


def report_of(pods: Pods, party: str, uid: str) -> Run:
    """Read the record of a job that has published."""
    found = RunRecords(FolderArtifactStore(pods.private(party)), uid).report()
    assert found is not None
    return found


@pytest.mark.parametrize("name", JOBS)
def test_the_last_step_keeps_the_record_of_the_run(done: Pods, name: str) -> None:
    party = HOSPITAL if name == ADAPTER else LAB
    run = report_of(done, party, UID[name])
    assert (run.job, run.party, run.outcome, run.attempts) == (name, party, "Complete", 1)
    prints = {each: ring_of(each).public().fingerprint for each in (LAB, HOSPITAL)}
    assert run.fingerprints == prints
    assert run.ended is not None
    assert run.versions.keys() >= {"offsite", "torch", "transformers"}
    assert run.metrics
    assert run.artifact is not None
    assert (run.egress is None) == (name == PLUGGED)
    assert ("tune" in run.curves) == (name == ADAPTER)
    assert (run.bundle is None) == (name == EMULATOR)
    told = [e["run"] for e in done.events if e["event"] == "record" and e["run"]["job"] == name]
    assert Run.model_validate_json(json.dumps(told[0])) == run
    assert [each.id for each in records_named(FolderArtifactStore(done.private(party)), name)] == [
        UID[name]
    ]


def test_the_last_step_deletes_what_jobs_left_that_are_gone(
    done: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, jobs = done.private(LAB) / "work", (UID[EMULATOR], "uid-known")
    for uid in ("uid-known", "uid-gone"):
        (work / uid / "notes").mkdir(parents=True)
        (work / uid / "notes" / "attempt").write_text(uid)
    done.run("Publish", EMULATOR, distill(), jobs=Jobs(uids=jobs, listed=now()))
    assert {path.name for path in work.iterdir()} == {"uid-known", "uid-gone"}
    # a file's time of change cannot be set back
    monkeypatch.setattr("offsite.steps.handover._LEFT", -timedelta(hours=1))
    done.run("Publish", EMULATOR, distill())
    assert {path.name for path in work.iterdir()} == {"uid-known", "uid-gone"}
    # a job that was submitted while this pod waited for its node
    done.run("Publish", EMULATOR, distill(), jobs=Jobs(uids=jobs, listed=now() - timedelta(days=3)))
    assert {path.name for path in work.iterdir()} == {"uid-known", "uid-gone"}
    done.run("Publish", EMULATOR, distill(), jobs=Jobs(uids=jobs, listed=now()))
    assert {path.name for path in work.iterdir()} == {"uid-known"}
    shutil.rmtree(work / "uid-known")


@pytest.fixture
def pods(done: Pods, tmp_path: Path) -> Pods:
    """The parties when all is done, for one test to go on with."""
    shutil.copytree(done.parties.root, tmp_path / "copy", ignore=lambda *_: ["scratch"])
    return Pods(Parties(tmp_path / "copy"))


def test_a_step_that_is_run_again_does_no_harm(pods: Pods) -> None:
    before = pods.parties.envelope(EMULATOR).digest
    pods.run("Open", EMULATOR, distill())
    pods.run("Work", EMULATOR, distill())
    pods.run("Publish", EMULATOR, distill())
    assert pods.parties.envelope(EMULATOR).digest == before
    artifacts = [e["digest"] for e in pods.events if e["event"] == "artifact"]
    assert artifacts == [before]


def test_an_attempt_goes_on_from_the_last_checkpoint(pods: Pods) -> None:
    """The pod is gone, and its scratch with it; what it kept in the private store is not."""

    class Killed(BaseException):
        pass

    def kill_when_trained(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "evaluate emulator_tuned":
            raise Killed

    spec = tune(steps=6)
    task = pods.task("Work", ADAPTER, spec, uid="another")
    pods.run("Open", ADAPTER, spec, uid="another")
    with pytest.raises(Killed):
        run_work(pods.pod(task), Monitor(kill_when_trained))
    pods.run("Work", ADAPTER, spec, uid="another")
    assert not [e for e in pods.events if e.get("phase") == "tune"]
    made = pods.private(HOSPITAL) / "work/another/result/adapter.safetensors"
    assert made.read_bytes() == (pods.parties.opened(ADAPTER) / made.name).read_bytes()


def test_a_record_believes_the_training_only_what_the_training_alone_knows(pods: Pods) -> None:
    """The image that trains may be the author's own, and write any record."""
    for step in ("Open", "Work"):
        pods.run(step, ADAPTER, tune(), uid="another")
    records = RunRecords(FolderArtifactStore(pods.private(HOSPITAL)), "another")
    part = records.part()
    assert part is not None
    published = report_of(pods, HOSPITAL, UID[ADAPTER])
    forged = {
        "job": "other",
        "peer": "clinic",
        "fingerprints": {"lab": "forged"},
        "egress": published.egress,
        "artifact": published.artifact,
        "inputs": {**part.inputs, "bundle": "sha256:" + "1" * 64},
        "curves": {"tune": tuple((step, 1.0) for step in range(2000))},
    }
    records.keep(part.model_copy(update=forged))
    pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2)
    run = report_of(pods, HOSPITAL, "another")
    assert (run.job, run.peer) == (ADAPTER, LAB)
    assert run.fingerprints == published.fingerprints
    assert run.bundle == pods.parties.envelope(EMULATOR).digest
    assert run.artifact is not None
    assert run.artifact.digest == pods.parties.envelope(ADAPTER).digest
    assert run.metrics == part.metrics
    assert len(run.curves["tune"]) <= 500
    records.artifacts.write("work/another/run.json", b"no record")
    assert records.part() is None


def test_a_training_that_fails_leaves_its_part_of_the_record(pods: Pods) -> None:
    more = distill(emulator={"blocks": 3, "heal": False})
    pods.run("Open", EMULATOR, more, uid="another")
    with pytest.raises(InputError):
        pods.run("Work", EMULATOR, more, uid="another", limits=Limits(max_kept_blocks=0.4))
    part = RunRecords(FolderArtifactStore(pods.private(LAB)), "another").part()
    assert part is not None
    assert (part.outcome, part.error is None) == ("Failed", False)


def test_what_a_pod_has_sent_another_does_not_send_again(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is gone with its scratch before the envelope is there."""
    sent, put = list[str](), FolderStore.put

    def counted(store: FolderStore, key: str, content: bytes) -> None:
        sent.append(key.rpartition("/")[2])
        if "envelope" in key and failures:
            raise failures.pop()
        put(store, key, content)

    failures = [StorageError("the pod is killed")]
    monkeypatch.setattr(FolderStore, "put", counted)
    for step in ("Open", "Work"):
        pods.run(step, ADAPTER, tune(), uid="another")
    sent.clear()  # what the first step tried
    with pytest.raises(StorageError):
        pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2)
    first, journals = sent.copy(), pods.private(HOSPITAL) / "kept/another/journals"
    assert len(first) > 2
    assert len(list(journals.rglob("*-*-*-*-*"))) == len(first) - 1
    pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2)
    (again,) = sent[len(first) :]
    assert again.startswith("envelope-")
    assert not journals.exists()
    assert pods.parties.envelope(ADAPTER).header.sequence == 2


def test_a_result_from_another_envelope_is_made_again(pods: Pods) -> None:
    """A retry may open a newer one than the attempt before it."""
    for step in ("Open", "Work"):
        pods.run(step, ADAPTER, tune(), uid="another")
    before = pods.parties.envelope(EMULATOR).digest
    pods.run("Open", EMULATOR, distill(), uid="newer")
    pods.run("Work", EMULATOR, distill(), uid="newer")
    pods.run("Publish", EMULATOR, distill(), uid="newer", sequence=2)
    newer = pods.parties.envelope(EMULATOR).digest
    assert newer != before
    pods.run("Open", ADAPTER, tune(), uid="another")
    work = pods.private(HOSPITAL) / "work/another"
    assert not (work / "result").exists()
    pods.run("Open", ADAPTER, tune(), uid="another")  # the same one again takes nothing away
    pods.run("Work", ADAPTER, tune(), uid="another")
    pods.run("Open", ADAPTER, tune(), uid="another")
    assert (work / "result").exists()
    pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2)
    assert pods.parties.envelope(ADAPTER).header.parent == newer


def test_a_model_is_exported_to_the_private_store_by_default(pods: Pods) -> None:
    for step in ("Open", "Work", "Publish"):
        pods.run(step, PLUGGED, plug_in(), uid="another")
    plugged = pods.private(LAB) / "models" / PLUGGED
    (told,) = [event for event in pods.events if event["event"] == "artifact"]
    assert told["uri"] == plugged.as_uri()
    assert listing_of(plugged) == listing_of(pods.parties.home(LAB) / "export")


def test_a_place_that_is_taken_is_told_before_anything_is_made(pods: Pods) -> None:
    spec = plug_in(export={"to": "export"})
    pods.run("Open", PLUGGED, spec)  # what is there is this very job's
    with pytest.raises(InputError, match=r"export already exists"):
        pods.run("Open", PLUGGED, spec, uid="another")


def test_a_party_that_may_not_send_learns_it_before_its_emulator_is_made(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: FolderStore, key: str, content: bytes) -> None:
        raise NotAllowedError("the exchange does not know these credentials")

    monkeypatch.setattr(FolderStore, "put", refuse)
    with pytest.raises(NotAllowedError):
        pods.run("Open", EMULATOR, distill(), uid="another")
    with pytest.raises(NotAllowedError):
        pods.run("Open", ADAPTER, tune(), uid="another")
    pods.run("Open", PLUGGED, plug_in(), uid="another")  # it sends nothing


def test_an_emulator_that_cannot_be_made_is_told_before_a_pod_trains(pods: Pods) -> None:
    too_many = distill(emulator={"blocks": 5})
    with pytest.raises(ModelError, match=r"is 5; lower one of them"):
        pods.run("Open", EMULATOR, too_many, uid="another")
    adapter = pods.parties.home(LAB) / "model/adapter_config.json"
    adapter.write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"an adapter beside the model"):
        pods.run("Open", EMULATOR, distill(), uid="another")
    adapter.unlink()
    half = Limits(max_kept_blocks=0.5)
    with pytest.raises(InputError, match=r"emulator\.blocks: 3 of 4 middle blocks is more than"):
        pods.run("Open", EMULATOR, distill(emulator={"blocks": 3}), uid="another", limits=half)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_made(pods: Pods) -> None:
    place = pods.parties.home(LAB) / "corpus.txt/below/export"
    spec = plug_in(export={"to": place.as_uri()})
    with pytest.raises(InputError, match=r"cannot use .*corpus\.txt"):
        pods.run("Open", PLUGGED, spec, uid="another")


def test_the_step_that_trains_reads_no_record_of_its_party(pods: Pods) -> None:
    """What of it the step needs was handed to it."""
    pods.run("Open", PLUGGED, plug_in(), uid="another")
    shutil.rmtree(pods.private(LAB) / "records")
    pods.run("Work", PLUGGED, plug_in(), uid="another")
    assert (pods.private(LAB) / "work/another/result/config.json").is_file()


def test_only_the_envelope_that_was_entered_is_opened(pods: Pods) -> None:
    with pytest.raises(BundleError, match="has sent hospital no bundle"):
        pods.run("Open", ADAPTER, tune(), envelope="sha256:" + "1" * 64)


def test_a_sequence_that_is_taken_is_told(pods: Pods) -> None:
    pods.run("Open", ADAPTER, tune(), uid="another")
    pods.run("Work", ADAPTER, tune(), uid="another")
    with pytest.raises(InputError, match="sequence 1 of adapter for lab is taken"):
        pods.run("Publish", ADAPTER, tune(), uid="another")


def test_a_pod_tells_the_peer_and_a_pod_of_the_peers_hears_it(pods: Pods) -> None:
    nowhere = {"private": "file:///nowhere"}
    told = {"reason": "DataError", "message": "so it is", "round": 2}
    code, events, complaint = program(
        pods, pods.task("Notify", EMULATOR, distill(), **told, **nowhere)
    )
    assert (code, [event["event"] for event in events]) == (0, ["done"]), complaint
    notice = pods.parties.mailbox(HOSPITAL).inbox.notice(LAB, EMULATOR)
    assert notice is not None
    assert (notice.header.job, notice.header.sequence) == (UID[EMULATOR], 2)
    pods.run("ReadNotice", ADAPTER, tune(), notice=notice.digest, **nowhere)
    heard = pods.events[-1]
    assert (heard["event"], heard["reason"]) == ("notice", "DataError")
    assert heard["message"].startswith("lab reports that its Distill emulator failed on")
    pods.run("Notify", EMULATOR, distill(), **told, **nowhere)
    assert pods.events[-1]["message"] == "hospital was already notified"
    with pytest.raises(NotSentError, match="sha256:1111"):
        pods.run("ReadNotice", ADAPTER, tune(), notice="sha256:" + "1" * 64, **nowhere)


def test_nothing_is_published_that_was_not_made(pods: Pods) -> None:
    with pytest.raises(BundleError, match="there is no result at"):
        pods.run("Publish", EMULATOR, distill(), uid="another", sequence=2)


def test_keys_of_another_party_are_reported(pods: Pods) -> None:
    task = pods.task("Open", ADAPTER, tune(), party="clinic")
    task = task.model_copy(update={"party": HOSPITAL, "peer_id": "clinic"})
    with pytest.raises(InputError, match="the OffsitePeer lab has the keys of lab"):
        run_open(pods.pod(task), Monitor(lambda event: None))


def test_an_emulator_may_not_keep_more_than_its_owner_allows(pods: Pods) -> None:
    more = distill(emulator={"blocks": 3, "heal": False})
    pods.run("Open", EMULATOR, more, uid="another")
    with pytest.raises(InputError, match=r"3 of 4 middle blocks is more than .* keep at most 1"):
        pods.run("Work", EMULATOR, more, uid="another", limits=Limits(max_kept_blocks=0.4))
    with pytest.raises(InputError, match=r"ends.top: 2 of 6 blocks is more than .* at most 1"):
        pods.run("Work", EMULATOR, more, uid="another", limits=Limits(max_end_blocks=0.3))


def test_publish_counts_the_examples_again(pods: Pods) -> None:
    """The image that trains may be the author's own, and check nothing."""
    for step in ("Open", "Work"):
        pods.run(step, ADAPTER, tune(), uid="another")
    for floor, problem in (
        (Limits(min_steps=7, min_batch_size=2), r"training.steps is 6, .* at least 7 \(minSteps\)"),
        (Limits(min_steps=6), r"batchSize is 2, .* at least 4 \(minBatchSize\)"),
        (TINY.model_copy(update={"min_examples": 2}), "private.jsonl has 1 different examples"),
    ):
        with pytest.raises(InputError, match=problem):
            pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2, limits=floor)
    pods.run("Publish", ADAPTER, tune(), uid="another", sequence=2)


def test_publish_checks_the_disclosure_limits_again(pods: Pods) -> None:
    """The image that trains may be the author's own, and check nothing."""
    more = distill(emulator={"blocks": 3, "heal": False})
    for bound in (Limits(max_kept_blocks=0.4), Limits(max_end_blocks=0.3)):
        for step in ("Open", "Work"):
            pods.run(step, EMULATOR, more, uid="another")
        with pytest.raises(InputError, match="is more than the share that this organization"):
            pods.run("Publish", EMULATOR, more, uid="another", sequence=2, limits=bound)
    pods.run("Open", EMULATOR, distill(), uid="another")
    pods.run("Work", EMULATOR, distill(), uid="another")
    manifest = pods.private(LAB) / "work/another/result" / MANIFEST
    content = json.loads(manifest.read_bytes())
    answers = {"kind": "adapter", "method": "LoRA", "scope": "All", "rank": 1}
    content["facts"] = {**answers, "answers": "sha256:" + "1" * 64}
    manifest.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="is an adapter, not an emulator"):
        pods.run("Publish", EMULATOR, distill(), uid="another", sequence=2)


def test_an_emulator_of_an_unknown_model_is_not_sealed(pods: Pods) -> None:
    for step in ("Open", "Work"):
        pods.run(step, EMULATOR, distill(), uid="another")
    shutil.rmtree(pods.private(LAB) / "kept/another")
    with pytest.raises(InputError, match=r"the model .*emulator was made"):
        pods.run("Publish", EMULATOR, distill(), uid="another", sequence=2)


def started(pods: Pods, task: Task, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a pod's program."""
    pod, path = pods.pod(task), pods.parties.root / "task.json"
    path.write_text(write_task(task), encoding="utf-8")
    command = [sys.executable, "-m", "offsite", "run", "--task", str(path), *options]
    environ = {**os.environ, **pod.environ, **more}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=800)


@pytest.mark.parametrize("name", [ADAPTER, PLUGGED])
def test_nothing_is_published_without_the_opened_record(pods: Pods, name: str) -> None:
    spec = {ADAPTER: tune(), PLUGGED: plug_in()}[name]
    for step in ("Open", "Work"):
        pods.run(step, name, spec, uid="another")
    kept = pods.private(HOSPITAL if name == ADAPTER else LAB) / "kept/another"
    for note in ("answered.json", "origin.json"):
        (kept / note).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"what the peer sent .* was made"):
        pods.run("Publish", name, spec, uid="another", sequence=2 if name == ADAPTER else None)


def program(pods: Pods, task: Task, *options: str, **more: str) -> tuple[int, list[Wire], str]:
    """Run a pod's program; gives its exit code, its events, and what it wrote to stderr."""
    mark = new_mark()
    done = started(pods, task, *options, **{MARK: mark}, **more)
    lines = (parse_line(line, mark) for line in done.stdout.split("\n"))
    events = [event.wire() for event in lines if event is not None]
    return done.returncode, events, done.stderr


def test_the_program_tells_events_and_ends_with_one(pods: Pods) -> None:
    code, events, _ = program(pods, pods.task("Open", ADAPTER, tune(), uid="another"))
    assert code == 0
    assert [event["event"] for event in events][-1] == "done"
    task = pods.task("Open", ADAPTER, tune(), envelope="sha256:" + "1" * 64)
    code, events, complaint = program(pods, task)
    assert code == 2
    assert (events[-1]["event"], events[-1]["reason"]) == ("failed", "NotSentError")
    assert not events[-1]["retryable"]
    assert "Traceback" not in complaint


def test_a_token_of_a_peer_s_writes_no_line_of_the_log(pods: Pods) -> None:
    pods.run("Open", ADAPTER, tune(), uid="forged")
    path = pods.private(HOSPITAL) / "work/forged/opened/tokenizer.json"
    content = json.loads(path.read_text())
    # so that the first space is unknown, which tokenizers says with the token's text
    content |= {"pre_tokenizer": None, "normalizer": None, "post_processor": None}
    content["model"] |= {"unk_token": HOSTILE, "byte_fallback": False}
    path.write_text(json.dumps(content))
    mark = new_mark()
    done = started(pods, pods.task("Work", ADAPTER, tune(), uid="forged"), **{MARK: mark})
    assert done.returncode != 0
    events = [line for line in done.stdout.split("\n") if line.startswith("offsite-event")]
    assert all(line.startswith(f"offsite-event {mark} ") for line in events)
    assert json.loads(events[-1].split(" ", 2)[2])["event"] == "failed"
    assert_harmless(done.stdout.replace(f"offsite-event {mark}", "event"))
    assert_harmless(done.stderr)


def test_the_steps_that_hold_keys_need_no_torch() -> None:
    program = (
        "import sys, offsite.__main__, offsite.steps.run, offsite.steps.logging;"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.fixture(scope="module")
def ray() -> Iterator[dict[str, str]]:
    """A Ray that runs; gives what the program of a pod finds it by, in its environment.

    Its processes give back what is freed at once, so the peak of one is what it held, and no
    fragment of the heap: https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
        with running_ray() as known:
            yield known


def test_ray_makes_the_same_bytes(pods: Pods, ray: dict[str, str]) -> None:
    pods.run("Open", ADAPTER, tune(), uid="ray")
    task = pods.task("Work", ADAPTER, tune(), uid="ray")
    code, events, complaint = program(pods, task, "--ray", **ray)
    assert code == 0, complaint
    assert ray["RAY_ADDRESS"] in complaint, "it is that Ray, and none of its own"
    assert events[-1]["event"] == "done"
    assert {e["setting"] for e in events if e["event"] == "metric"} >= {"emulator_tuned"}
    made = load_file(pods.private(HOSPITAL) / "work/ray/result/adapter.safetensors")
    wanted = load_file(pods.parties.opened(ADAPTER) / "adapter.safetensors")
    assert {n: t.numpy().tobytes() for n, t in made.items()} == {
        n: t.numpy().tobytes() for n, t in wanted.items()
    }


TWO = {"workers": 2, "sharding": "FSDP"}


def test_workers_of_ray_tell_once_and_agree_with_one(
    done: Pods, pods: Pods, ray: dict[str, str]
) -> None:
    spec = {**tune(), "resources": TWO}
    pods.run("Open", ADAPTER, spec, uid="ray")
    task = pods.task("Work", ADAPTER, spec, uid="ray")
    code, events, complaint = program(pods, task, "--ray", **ray)
    assert code == 0, complaint
    assert [event["event"] for event in events].count("done") == 1
    told = [(e["setting"], e["value"]) for e in events if e["event"] == "metric"]
    wanted = {e["setting"]: e["value"] for e in done.events if e["event"] == "metric"}
    audited = ["validation_before", "validation_after", "silent_rows", "row_ratio"]
    inspected = [f"inspection_{sign}" for sign in (*SIGNS, "crossed")]
    scored = ["emulator_zero_shot", "emulator_tuned"]
    assert [name for name, _ in told] == [*inspected, *scored, *audited]
    del told[-1]  # of gradients that are nearly zero, AdamW makes much of a rounding
    assert all(value == pytest.approx(wanted[name], rel=0.01) for name, value in told)
    made = load_file(pods.private(HOSPITAL) / "work/ray/result/adapter.safetensors")
    assert made.keys() == load_file(pods.parties.opened(ADAPTER) / "adapter.safetensors").keys()


DEEP: dict[str, Any] = {
    "num_hidden_layers": 80,
    "hidden_size": 384,
    "head_dim": 96,
    "num_key_value_heads": 4,
    "intermediate_size": 1024,
}
"""141 million numbers in float32: .57 GB, of which a block is a little more than 1 %."""


def test_no_worker_of_ray_holds_the_whole_model(tmp_path: Path, ray: dict[str, str]) -> None:
    """Neither when it is healed, distilled, scored, nor saved. Its share is half of the model."""
    peaks: list[int] = []
    for name, sizes in (("tiny", {}), ("deep", DEEP)):
        pods = Pods(new_parties(tmp_path / name, **sizes))
        (pods.parties.home(LAB) / "corpus.txt").write_text(f"{WORDS}. " * 8, encoding="utf-8")
        spec = {**distill(steps=2), "resources": TWO}
        pods.run("Open", EMULATOR, spec)
        code, events, complaint = program(pods, pods.task("Work", EMULATOR, spec), "--ray", **ray)
        assert code == 0, complaint
        peaks.append(events[-1]["peakMemoryBytes"])
    files = (pods.parties.home(LAB) / "model").glob("*.safetensors")
    assert peaks[1] - peaks[0] < 0.8 * sum(path.stat().st_size for path in files)


def test_what_fails_in_a_worker_of_ray_is_told_as_it_is(pods: Pods, ray: dict[str, str]) -> None:
    task = pods.task("Work", ADAPTER, tune(), uid="nothing-opened")
    code, events, _ = program(pods, task, "--ray", **ray)
    assert code == 2
    assert (events[-1]["event"], events[-1]["reason"]) == ("failed", "BundleError")
    assert "there is no opened bundle" in events[-1]["message"]
