"""What the CLI makes of a job's resource: state, reason, exit code, rows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from offsite.events import Metric
from offsite_cli.cluster.job_status import (
    exit_code_of,
    explanation_of,
    format_duration,
    is_settled,
)
from offsite_cli.cluster.printing import describe, table_row, wide_row
from offsite_cli.cluster.watch import job_events
from offsite_cli.event_lines import format_event
from offsite_cli.tables import align

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TRAINING = {"type": "Running", "status": "True", "reason": "Training", "message": "step 3"}
ACCEPTED = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "taken up"}


def job(**status: Any) -> dict[str, Any]:
    """Make a job's resource with a status, whose last condition is the one that decides."""
    if status.get("conditions"):
        status = {"reason": status["conditions"][-1]["reason"], **status}
    metadata = {"name": "adapter", "generation": 1, "creationTimestamp": "2026-01-01T23:00:00Z"}
    spec = {"stage": "Tune", "peer": "lab"}
    return {"metadata": metadata, "spec": spec, "status": {"observedGeneration": 1, **status}}


def failed(reason: str, state: str = "Failed") -> dict[str, Any]:
    """Make a job that failed for a reason."""
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": "so it is"}
    return job(state=state, conditions=[ACCEPTED, condition])


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({}, "NotSeen"),
        ({"state": "Pending", "conditions": [ACCEPTED]}, "Accepted"),
        ({"state": "Running", "conditions": [ACCEPTED, TRAINING]}, "Training"),
        (
            {
                "state": "Pending",
                "conditions": [{**ACCEPTED, "status": "False", "reason": "PeerNotFound"}],
            },
            "PeerNotFound",
        ),
        (
            {
                "state": "Pending",
                "conditions": [
                    ACCEPTED,
                    {**TRAINING, "status": "False", "reason": "WaitingForPod"},
                ],
            },
            "WaitingForPod",
        ),
        (
            {
                "state": "Suspended",
                "conditions": [
                    ACCEPTED,
                    {**TRAINING, "status": "False"},
                    {"type": "Suspended", "status": "True", "reason": "Asked"},
                ],
            },
            "Asked",
        ),
        ({"state": "Ahead", "conditions": [{"type": "New", "reason": "Newer"}]}, "Newer"),
    ],
)
def test_a_state_is_explained_by_its_condition(status: dict[str, Any], reason: str) -> None:
    assert explanation_of(job(**status)).reason == reason


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("DataError", 2),
        ("BundleError", 2),
        ("ImagePullFailed", 2),
        ("InvalidPod", 2),
        ("NotAllowed", 4),
        ("EgressDisabled", 4),
        ("UnreachableError", 4),
        ("BackoffLimitExceeded", 1),
        ("DeadlineExceeded", 1),
        ("StorageError", 1),
        ("ZeroDivisionError", 1),
    ],
)
def test_a_failure_has_the_exit_code_of_its_reason(reason: str, code: int) -> None:
    assert exit_code_of(failed(reason)) == code


def test_a_complete_job_is_no_failure_and_a_cancelled_one_is() -> None:
    assert exit_code_of(job(state="Complete", conditions=[ACCEPTED])) == 0
    assert exit_code_of(failed("Cancelled", "Cancelled")) == 1


def test_a_job_has_ended_only_when_its_newest_spec_was_heeded() -> None:
    ended = failed("StorageError")
    assert is_settled(ended)
    newer = {**ended, "metadata": {**ended["metadata"], "generation": 2}}
    assert not is_settled(newer)
    retried = {**ended, "spec": {**ended["spec"], "retries": 1}}
    assert not is_settled(retried)
    heeded = {**retried, "status": {**ended["status"], "retries": 1}}
    assert is_settled(heeded)
    assert not is_settled(job(state="Running", conditions=[TRAINING]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (59, "59s"),
        (60, "1m"),
        (125, "2m5s"),
        (600, "10m"),
        (3725, "1h2m"),
        (86400, "1d"),
        (90000, "1d1h"),
        (1e6, "11d"),
    ],
)
def test_a_span_is_said_as_kubectl_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_rows_say_progress_and_why() -> None:
    progress = {"phase": "tune", "step": 3, "totalSteps": 10, "percent": 30.0, "etaSeconds": 70}
    running = job(state="Running", conditions=[TRAINING], progress=progress, attempts=2)
    assert table_row(running, NOW) == ["adapter", "Tune", "Running", "30%", "lab", "1h"]
    assert wide_row(running, NOW)[6:] == ["2", "-", "-", "Training", "step 3"]
    text = "\n".join(describe(running, NOW))
    assert "tune 3/10, 30%, 1m10s left" in text
    assert "Running (Training)" in text


def test_a_job_that_nobody_has_seen_has_a_row() -> None:
    unseen = {key: value for key, value in job().items() if key != "status"}
    assert table_row(unseen, NOW)[2:4] == ["Pending", "-"]
    assert "doctor" in wide_row(unseen, NOW)[-1]
    said = describe(unseen, NOW)
    assert [line.split(":")[0] for line in said] == ["Name", "Stage", "State", "Why"]


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ({"step": "Open"}, ["Step:    Open"]),
        ({"step": "Open", "jobName": "a-1-o"}, ["Step:    Open, as Job a-1-o"]),
        ({"step": "Work", "engine": "RayJob"}, ["Step:    Work"]),
        (
            {"step": "Work", "engine": "RayJob", "jobName": "a-1-w"},
            ["Step:    Work, as RayJob a-1-w"],
        ),
        ({"step": "Work", "jobName": "a-1-w"}, ["Step:    Work, as a-1-w"]),
    ],
)
def test_a_step_says_what_is_known_of_it(status: dict[str, Any], step: list[str]) -> None:
    assert [line for line in describe(job(**status), NOW) if line.startswith("Step")] == step


def test_columns_are_aligned() -> None:
    assert align([["A", "B", "C"], ["long", "x", ""]]) == ["A      B   C", "long   x"]


def test_only_what_is_new_is_told() -> None:
    metric = {"name": "perplexity", "setting": "emulator_tuned", "value": "6.9", "text": None}
    progress = {"phase": "tune", "step": 1, "totalSteps": 2, "etaSeconds": 1.0}
    first = job(state="Running", conditions=[TRAINING], progress=progress)
    second = job(state="Running", conditions=[TRAINING], progress=progress, metrics=[metric])
    assert [event.event for event in job_events(None, first)] == ["log", "progress"]
    (event,) = job_events(first, second)
    assert isinstance(event, Metric)
    assert event.value == 6.9
    assert list(job_events(second, second)) == []


PRIVACY = {
    "epsilon": 7.98,
    "delta": 8e-05,
    "unit": "group:patient",
    "samplingRate": 0.0065,
    "steps": 463,
    "noiseMultiplier": 0.71,
}


def test_the_privacy_of_an_adapter_is_told() -> None:
    bound = (
        "ε 7.98, δ 8e-05 for each group:patient (sampling rate 0.0065, 463 steps, noise "
        "multiplier 0.71)"
    )
    page = [line.split(maxsplit=1) for line in describe(job(privacy=PRIVACY), NOW)]
    assert ["Privacy:", bound] in page
    (event,) = job_events(job(), job(privacy=PRIVACY))
    assert format_event(event) == f"differential privacy: {bound}"
    assert list(job_events(job(privacy=PRIVACY), job(privacy=PRIVACY))) == []


@pytest.mark.parametrize("value", ["nan", "inf", None, "much"])
def test_a_figure_that_no_number_holds_is_none(value: str | None) -> None:
    interval = None if value is None else ["0.1", value]
    metric = {"name": "accuracy", "setting": "plug_in", "value": value, "interval": interval}
    (event,) = job_events(job(), job(metrics=[metric]))
    assert isinstance(event, Metric)
    assert (event.value, event.interval) == (None, None)


def test_a_metric_has_its_interval() -> None:
    metric = {"name": "accuracy", "setting": "plug_in", "value": "0.5", "interval": [".15", ".85"]}
    told = job(metrics=[metric])
    assert any("0.5   .15 to .85" in line for line in describe(told, NOW))
    (event,) = job_events(job(), told)
    assert format_event(event) == "plug_in: accuracy 0.5 (95 % interval 0.15 to 0.85)"


def test_a_metric_has_its_gain_over_another_setting() -> None:
    gain = {"over": "full_zero_shot", "gain": "0.25", "gainInterval": ["0.05", "0.45"]}
    told = job(metrics=[{"name": "accuracy", "setting": "plug_in", "value": "0.5", **gain}])
    assert any("0.25 against full_zero_shot, 0.05 to 0.45" in x for x in describe(told, NOW))
    (event,) = job_events(job(), told)
    assert isinstance(event, Metric)
    assert event.gain_interval == (0.05, 0.45)
    shown = "plug_in: accuracy 0.5; +0.25 against full_zero_shot (95 % interval 0.05 to 0.45)"
    assert format_event(event) == shown
