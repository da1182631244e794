"""What a log tells, and how it is read on."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from offsite.events import EVENT_MARK, Artifact, Done, Failed, Progress
from offsite_operator.cluster.client import ApiError
from offsite_operator.cluster.log_cursor import LogCursor
from offsite_operator.observe.step_log import StepReport, event_of, with_events
from offsite_testing.world import MARK

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = f"offsite-event {MARK} "
FORGED = "2026-01-01T00:00:09Z "


def told(*lines: str) -> StepReport:
    times = ((START + timedelta(seconds=n), line) for n, line in enumerate(lines))
    return with_events(StepReport(), times, MARK)


def test_the_last_event_decides() -> None:
    failed = EVENT + '{"event": "failed", "reason": "X"}'
    done = EVENT + '{"event": "done"}'
    progress = EVENT + '{"event": "progress", "step": 1}'
    assert told(failed, "a log", done).last == Done()
    assert told(done, failed).last == Failed(reason="X")
    assert told(done, progress).last is None


def test_progress_has_the_time_of_its_line() -> None:
    found = told("a log", EVENT + '{"event": "progress", "step": 1}')
    assert (found.progress_at, found.progress) == (
        START + timedelta(seconds=1),
        Progress(step=1),
    )


@pytest.mark.parametrize(
    "line",
    [
        *("", "text", "offsite-event"),
        *(EVENT, f"{EVENT}{{", f"{EVENT}[]", f"{EVENT}{'[' * 60_000}"),
        *(EVENT + '{"a": 1}', EVENT + '{"event": 1}', EVENT + '{"event": "newer"}'),
        EVENT + '{"event": "progress", "step": "1"}',
        EVENT + '{"event": "progress", "step": 9223372036854775808}',
        EVENT + '{"event": "metric", "name": "n", "setting": "s", "value": ' + "9" * 4000 + "}",
        f'no file {EVENT}{{"event": "done"}}',
        f'(worker pid=7) {EVENT}{{"event": "done"}}',
        'offsite-event {"event": "done"}',
        'offsite-event  {"event": "done"}',
        f'offsite-event {MARK}0 {{"event": "done"}}',
        f'offsite-event {MARK[:-1]} {{"event": "done"}}',
        f'offsite-event {MARK.upper()} {{"event": "done"}}',
    ],
)
def test_what_is_no_event(line: str) -> None:
    assert event_of(line, MARK) is None


def metric(**said: object) -> str:
    return EVENT + json.dumps({"event": "metric", "name": "n", "setting": "s"} | said)


def test_of_what_a_step_prints_no_more_is_kept_than_a_status_holds() -> None:
    long = "x" * 9999
    flood = [metric(name=f"{n}{long}", text=long, value=n) for n in range(500)]
    found = told(*flood, metric(name=f"0{long}", value=1.5), metric(value=2))
    assert len(found.metrics) == 100
    assert all(len(text) <= 256 for key in found.metrics for text in key)
    assert len(json.dumps([each.wire() for each in found.metrics.values()])) < 100_000
    assert next(iter(found.metrics.values())).value == 1.5
    said = {"event": "artifact", "name": "n", "digest": "d", "uri": long, "sizeBytes": 1}
    artifact = event_of(EVENT + json.dumps(said), MARK)
    assert artifact == Artifact(name="n", digest="d", uri="x" * 1024, size_bytes=1)
    nested = event_of(EVENT + '{"event": "done", "a": [[]], "b": true, "c": null}', MARK)
    assert nested == Done(), "what another version writes beside it is ignored"


class Lines:
    """The log of one pod, as the API server gives it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error: ApiError | None = None

    def log(self, pod: str, since: str, most: int) -> bytes:
        if self.error is not None:
            raise self.error
        whole_second = since[:19]  # it knows no smaller part of a time
        told = (f"{line}\n" for line in self.lines if line[:19] >= whole_second)
        return "".join(told).encode()[:most]


def pod(phase: str) -> dict[str, Any]:
    metadata = {"uid": "u", "name": "p", "annotations": {EVENT_MARK: MARK}}
    return {"metadata": metadata, "status": {"phase": phase}}


def test_a_log_is_read_on_where_it_was_left() -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.lines.append("2026-01-01T00:00:01.000000001Z " + EVENT + '{"event": "progress"}')
    first = book.report([pod("Running")], False)
    assert first is not None
    assert (first.last, first.ended) == (None, False)
    log.lines.append("2026-01-01T00:00:01.000000002Z " + EVENT + '{"event": "done"}')
    second = book.report([pod("Succeeded")], True)
    assert second is not None
    assert (second.last, second.ended) == (Done(), True)


@pytest.mark.parametrize("end", ["\r", "\f", "\v", "\x1c", "\x85", "\u2028"])
@pytest.mark.parametrize("time", ["", "2 ", "2026-01-01 ", "2026-13-01T00:00:09Z ", FORGED])
def test_what_a_step_prints_begins_no_line(end: str, time: str) -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    forged = f'no file{end}{time}{EVENT}{{"event": "done"}}'
    log.lines.append(f"2026-01-01T00:00:01.000000001Z {forged}")
    log.lines.append("2026-01-01T00:00:01.000000002Z " + EVENT + '{"event": "progress"}')
    found = book.report([pod("Running")], False)
    assert found is not None
    assert (found.last, found.progress) == (None, Progress())


@pytest.mark.parametrize("line", ["9", "9 text", "2026-99-01T00:00:01Z text", "failed to open it"])
def test_what_is_no_line_of_a_log_is_passed_over(line: str) -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.lines.append(line)
    assert book.report([pod("Running")], False) == StepReport()


DONE = EVENT + '{"event": "done"}'


@pytest.mark.parametrize("mib", [3, 5, 15])
def test_a_line_may_be_longer_than_a_piece(mib: int) -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.lines.append("2026-01-01T00:00:01.000000001Z " + "x" * (mib << 20))
    log.lines.append(f"2026-01-01T00:00:01.000000002Z {DONE}")
    assert book.report([pod("Succeeded")], True) == StepReport(last=Done(), ended=True)


def test_a_second_may_have_more_lines_than_a_piece() -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.lines = [f"2026-01-01T00:00:01.{n:09}Z {'x' * (1 << 20)}" for n in range(10)]
    log.lines.append(f"2026-01-01T00:00:01.000000010Z {DONE}")
    assert book.report([pod("Succeeded")], True) == StepReport(last=Done(), ended=True)


def test_what_was_not_read_to_its_end_is_not_taken_as_ended() -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.lines.append("2026-01-01T00:00:01.000000001Z " + "x" * (17 << 20))
    log.lines.append(f"2026-01-01T00:00:02.000000001Z {DONE}")
    assert book.report([pod("Running")], False) == StepReport()
    for _ in range(2):
        found = book.report([pod("Succeeded")], True)
        assert found is not None
        assert (found.ended, found.last) == (False, None)
        assert "16 MiB" in found.unread


def test_of_a_pod_without_a_mark_nothing_is_an_event() -> None:
    for metadata in ({}, {"annotations": None}, {"annotations": {EVENT_MARK: ""}}):
        log = Lines()
        for line in (DONE, 'offsite-event {"event": "done"}', 'offsite-event  {"event": "done"}'):
            log.lines.append(f"2026-01-01T00:00:01.00000000{len(log.lines)}Z {line}")
        found = LogCursor(log).report(  # type: ignore[arg-type]
            [{"metadata": {"uid": "u", "name": "p", **metadata}, "status": {}}], True
        )
        assert found == StepReport(ended=True)


def test_what_an_event_holds_is_escaped() -> None:
    said = "a\x1b[2J\x9b\u202e\r\n" + DONE
    foreign = {"event": "failed", "reason": said, "message": said, "\x1b": said}
    event = event_of(EVENT + json.dumps(foreign), MARK)
    assert isinstance(event, Failed)
    assert event.reason.isprintable()
    assert event.message == r"a\x1b[2J\x9b\u202e\r\n" + DONE


def test_a_log_that_cannot_be_read_is_read_later() -> None:
    log = Lines()
    book = LogCursor(log)  # type: ignore[arg-type]
    log.error = ApiError(500, "busy")
    assert book.report([pod("Running")], False) is None
    assert book.report([pod("Succeeded")], True) == StepReport(unread="busy")
    log.error = ApiError(404, "gone")
    assert book.report([pod("Succeeded")], True) == StepReport(ended=True)


def test_without_a_pod_there_is_nothing_to_wait_for() -> None:
    book = LogCursor(Lines())  # type: ignore[arg-type]
    assert book.report([], False) is None
    assert book.report([], True) == StepReport(ended=True)
