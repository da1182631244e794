"""Records of runs in a home: kept while a stage runs, after it failed, and when it goes on."""

import json
import stat
from pathlib import Path

import pytest

import offsite
from offsite.config import load_job, parse_job
from offsite.errors import InputError, InterruptedStage, OffsiteError
from offsite.events import Event, Log, Metric, Monitor, Progress, Started
from offsite.runs import Run, Runs, begin, new_id, recorded
from offsite_testing.core import silent
from offsite_testing.events import Wire, recording
from offsite_testing.parties import EMULATOR, HEAD, HOSPITAL, LAB, distill, new_parties

DIGEST = f"sha256:{'0' * 64}"


def blank(job: str = EMULATOR) -> Run:
    made = parse_job({**HEAD, "metadata": {"name": job}, "spec": distill()}, source="job")
    return begin(made, new_id(job), party=LAB, peer=HOSPITAL, fingerprints={})


def no_problem(message: str) -> None:
    raise AssertionError(message)


def only(home: Path) -> Run:
    (run,) = Runs(home).all(no_problem)
    return run


def measured(step: int) -> list[Event]:
    perplexity = Metric(name="perplexity", setting="plug_in", value=float(step))
    return [Progress(phase="tune", step=step, loss=1.0), perplexity]


def attempt(home: Path, *events: Event, inputs: str = "one", error: Exception | None = None) -> Run:
    """Record one attempt; give its record."""
    record = blank()
    try:
        with recorded(Runs(home), record, silent()) as monitor:
            for event in (Started(fingerprint=inputs, inputs={"model": DIGEST}), *events):
                monitor.emit(event)
            if error is not None:
                raise error
    except OffsiteError:
        pass
    return Runs(home).all(no_problem)[-1]


def test_a_stage_keeps_its_record(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    home = offsite.Home(parties.home(LAB) / "home", exchange=parties.exchange)
    job = load_job(parties.write(EMULATOR, distill()))
    events: list[Wire] = []
    home.run(job, Monitor(recording(events)), base=parties.home(LAB))
    run = only(home.path)
    assert (run.outcome, run.party, run.peer, run.attempts) == ("Complete", LAB, HOSPITAL, 1)
    assert run.fingerprints[LAB] == home.fingerprint
    assert run.artifact is not None
    assert run.artifact.digest == parties.envelope(EMULATOR).digest
    assert run.egress is not None
    assert run.inputs.keys() == {"model", "corpus", "calibration", "evaluate"}
    assert [step for step, _ in run.curves["distill"]][-1] == 4
    assert {each.setting for each in run.metrics} == {
        event["setting"] for event in events if event["event"] == "metric"
    }
    (path,) = (home.path / "runs/distill").iterdir()
    assert path.name == f"{run.id}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # a finished job that runs again is the same run, and keeps what was measured
    home.run(job, silent(), base=parties.home(LAB))
    again = only(home.path)
    assert (again.id, again.attempts, again.outcome) == (run.id, 2, "Complete")
    assert (again.metrics, again.curves, again.artifact) == (run.metrics, run.curves, run.artifact)


@pytest.mark.parametrize("peer", ["lab", "nobody"])
def test_a_failed_stage_keeps_its_record(tmp_path: Path, peer: str) -> None:
    parties = new_parties(tmp_path)
    home = offsite.Home(parties.home(HOSPITAL) / "home", exchange=parties.exchange)
    section = {"bundle": EMULATOR, "data": {"train": "a.jsonl", "validation": "a.jsonl"}}
    path = parties.write("adapter", {"stage": "Tune", "peer": peer, "tune": section})
    with pytest.raises(InputError) as caught:
        home.run(load_job(path), silent(), base=parties.home(HOSPITAL))
    run = only(home.path)
    assert (run.outcome, run.peer) == ("Failed", peer)
    assert run.error is not None
    assert (run.error.reason, run.error.message) == (type(caught.value).__name__, str(caught.value))
    assert run.inputs_digest is None


def test_an_attempt_continues_the_record_of_the_last_one(tmp_path: Path) -> None:
    first = attempt(tmp_path, *measured(1), error=InterruptedStage("stopped"))
    assert (first.outcome, first.attempts) == ("Interrupted", 1)
    then = attempt(tmp_path, *measured(2))
    assert only(tmp_path) == then
    assert (then.id, then.attempts, then.started) == (first.id, 2, first.started)
    assert then.curves["tune"] == ((1, 1.0), (2, 1.0))


def test_other_inputs_are_another_run(tmp_path: Path) -> None:
    first = attempt(tmp_path, *measured(1))
    then = attempt(tmp_path, *measured(1), inputs="two")
    assert first.id != then.id
    assert {run.id for run in Runs(tmp_path).all(no_problem)} == {first.id, then.id}


def test_record_of_a_killed_process_shows_how_far_it_came(tmp_path: Path) -> None:
    with recorded(Runs(tmp_path), blank(), silent()) as monitor:
        for event in (Started(fingerprint="one", inputs={}), *measured(3)):
            monitor.emit(event)
        run = only(tmp_path)  # as if the process ended here
    assert (run.outcome, run.ended) == ("Unfinished", None)
    assert run.curves["tune"] == ((3, 1.0),)
    assert run.metrics[0].value == 3.0


def test_record_that_cannot_be_written_fails_no_stage(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    told: list[Event] = []
    with recorded(Runs(tmp_path), blank(), Monitor(told.append)) as monitor:
        monitor.emit(Started(fingerprint="one", inputs={}))
    complaint = told[0]
    assert isinstance(complaint, Log)
    assert "the record of this run was not written" in complaint.message


def test_damaged_records_are_skipped(tmp_path: Path) -> None:
    kept = attempt(tmp_path, *measured(1))
    (tmp_path / "runs/distill/other.json").write_text(json.dumps({"version": 2}))
    told: list[str] = []
    assert Runs(tmp_path).all(told.append) == [kept]
    assert "other.json" in told[0]


def test_runs_are_found_by_id_by_job_and_by_path(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    older, newer = attempt(tmp_path), attempt(tmp_path, inputs="two")
    path = tmp_path / "runs/distill" / f"{older.id}.json"
    for name, found in ((older.id, older), (EMULATOR, newer), (str(path), older)):
        assert runs.find(name, no_problem) == found
    for name in ("other", "../keys/ring", str(tmp_path / "none.json")):
        with pytest.raises(InputError):
            runs.find(name, no_problem)
