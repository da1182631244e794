"""Lines of logs as events, events of Kubernetes as those of a job, decisions on a spec."""

import json
from typing import Any, get_args

import pytest

from offsite.errors import InputError
from offsite.events import Log, new_mark
from offsite.resources import Step
from offsite_cli.cluster.events import is_about, last_seen
from offsite_cli.cluster.job_status import parse_time
from offsite_cli.cluster.lifecycle import cancel_patch, resume_patch, retry_patch, suspend_patch
from offsite_cli.cluster.logs import parse_line
from offsite_cli.event_lines import format_event
from offsite_operator.labels import child_name

MARK = new_mark()
UID = "0a1b2c3d-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "done"}, "done"),
        ({"event": "log", "message": "x"}, "x"),
        ({"event": "failed", "reason": "DataError", "message": "x"}, "failed (DataError): x"),
        (
            {"event": "progress", "phase": "tune", "step": 1, "totalSteps": 2, "loss": 1.5},
            "tune: 1/2  loss 1.500  0 s left",
        ),
        (
            {"event": "metric", "setting": "plug_in", "name": "perplexity", "value": None},
            "plug_in: perplexity not a finite number",
        ),
    ],
)
def test_an_event_is_said_in_a_line(event: dict[str, Any], said: str) -> None:
    assert format_event(parse_line(f"offsite-event {MARK} {json.dumps(event)}", MARK)) == said


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a line", "a line"),
        (f"offsite-event {MARK} {{torn", "{torn"),
        (f'offsite-event {MARK} {{"event": "newer"}}', '{"event": "newer"}'),
        ('offsite-event {"event": "done"}', 'offsite-event {"event": "done"}'),
        ("", ""),
    ],
    ids=["log", "torn", "newer", "unmarked", "empty"],  # each process draws its own mark
)
def test_every_other_line_is_a_log(line: str, shown: str) -> None:
    assert parse_line(line, MARK) == Log(message=shown)


@pytest.mark.parametrize(
    ("about", "concerned"),
    [
        ({"uid": UID, "name": "adapter"}, True),
        ({"uid": "else", "name": "adapter-0a1b2c-1-w"}, True),
        ({"uid": "else", "name": "adapter-0a1b2c-12-p-x7k2p"}, True),
        ({"uid": "else", "name": "er-0a1b2c-1-w-abcde-head-fghij"}, True),
        ({"uid": "else", "name": "adapter-0a1b2c-1-n-x7k2p"}, True),
        ({"uid": "else", "name": "adapter-0a1b2c-9f8e7d6c-h"}, True),
        ({"uid": "a pod's", "name": "whatever-it-is-called"}, True),
        ({"uid": "else", "name": "adapter"}, False),
        ({"uid": "else", "name": "adapter-ffffff-1-w"}, False),
        ({"uid": "else", "name": "adapter-0a1b2c3-1-w"}, False),
        ({}, False),
    ],
)
def test_an_event_is_of_the_job_or_of_its_children(about: dict[str, str], concerned: bool) -> None:
    job = {"metadata": {"name": "adapter", "uid": UID}}
    assert is_about({"involvedObject": about}, job, {"a pod's"}) is concerned


@pytest.mark.parametrize("step", get_args(Step))
def test_an_event_is_of_every_child_that_the_operator_names(step: Step) -> None:
    for mark in ("1", "9f8e7d6c"):
        about = {"name": f"{child_name('adapter', UID, mark, step)}-x7k2p"}
        assert is_about({"involvedObject": about}, {"metadata": {"uid": UID}}, ())


def test_an_event_is_as_old_as_its_last_time() -> None:
    first, last = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    metadata = {"creationTimestamp": first}
    assert last_seen(
        {"metadata": metadata, "lastTimestamp": None, "eventTime": last}
    ) == parse_time(last)
    assert last_seen({"metadata": metadata, "series": {"lastObservedTime": last}}) == parse_time(
        last
    )
    assert last_seen({"metadata": metadata}) == parse_time(first)


def job(state: str, *, heeded: int = 0, **spec: Any) -> dict[str, Any]:
    """Make a job in a state."""
    status = {"state": state, "observedGeneration": 1, "retries": heeded}
    return {"metadata": {"name": "x", "generation": 1}, "spec": spec, "status": status}


def test_a_job_is_retried_when_it_has_ended_badly() -> None:
    assert retry_patch(job("Failed")) == {"retries": 1}
    assert retry_patch(job("Failed", retries=2, heeded=2)) == {"retries": 3}
    assert retry_patch(job("Cancelled", cancel=True)) == {"retries": 1, "cancel": False}
    assert isinstance(retry_patch(job("Failed", retries=1)), str)
    for state in ("Complete", "Running", "Pending"):
        with pytest.raises(InputError, match=rf"\bx is {state.lower()}"):
            retry_patch(job(state))


def test_what_has_ended_is_left_alone() -> None:
    assert cancel_patch(job("Running")) == {"cancel": True}
    assert isinstance(cancel_patch(job("Complete")), str)
    assert isinstance(cancel_patch(job("Running", cancel=True)), str)
    assert suspend_patch(job("Pending")) == {"suspend": True}
    assert isinstance(suspend_patch(job("Suspended", suspend=True)), str)
    with pytest.raises(InputError, match=r"\bx .*Failed"):
        suspend_patch(job("Failed"))
    assert resume_patch(job("Suspended", suspend=True)) == {"suspend": False}
    assert isinstance(resume_patch(job("Running")), str)
