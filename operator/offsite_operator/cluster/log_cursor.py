"""Reads the logs of running steps incrementally."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from offsite.events import EVENT_MARK
from offsite_operator.cluster.client import Api, ApiError
from offsite_operator.observe.step_log import StepReport, with_events

Pod = Mapping[str, Any]
_PIECE = 4 << 20
"""Bytes per read, unless one line, or the lines of one second, are longer."""
_LARGEST_PIECE = 16 << 20
"""Upper limit of a read; the operator's memory has room for a few."""
_LOOKED_AT = 512 << 10
"""Bytes of a line that are parsed; events are shorter."""
_TOO_LONG = f"one line, or the lines of one second, exceed {_LARGEST_PIECE >> 20} MiB"
_ENDED = ("Succeeded", "Failed")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class _Page:
    report: StepReport = field(default_factory=StepReport)
    since: str = ""
    """Timestamp of the last line read."""


class LogCursor:
    """Remembers the position in each log. After a restart, logs are read from the beginning."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pages: dict[str, _Page] = {}
        self._lock = threading.Lock()

    def report(self, pods: Sequence[Pod], ended: bool) -> StepReport | None:
        """Continue reading the logs of an attempt's drivers; the newest one with events counts.

        Args:
            pods: Oldest first.
            ended: Whether the attempt has ended.

        Returns:
            None if nothing can be read yet.
        """
        reports = [report for pod in pods if (report := self._of(pod, ended)) is not None]
        if not reports:
            return StepReport(ended=True) if ended and not pods else None
        nonempty = [
            report for report in reports if report.last or report.progress or report.metrics
        ]
        return (nonempty or reports)[-1]

    def forget(self, pods: Sequence[Pod]) -> None:
        """Forget all pods except the given ones."""
        there = {pod["metadata"]["uid"] for pod in pods}
        with self._lock:
            self._pages = {uid: page for uid, page in self._pages.items() if uid in there}

    def _of(self, pod: Pod, ended: bool) -> StepReport | None:
        uid = pod["metadata"]["uid"]
        # a submitter may hang after its RayJob has ended
        ended = ended or pod.get("status", {}).get("phase") in _ENDED
        page = self._pages.get(uid, _Page())
        if page.report.ended:
            return page.report
        try:
            page = self._read(pod, page)
        except ApiError as error:
            if not ended:
                return None  # not started, or the server is busy; retried later
            if error.code not in (400, 404):
                return replace(page.report, unread=str(error))
        if ended and not page.report.unread:  # it ended before this read, so the log is complete
            page = replace(page, report=replace(page.report, ended=True))
        with self._lock:
            self._pages[uid] = page
        return page.report if ended else replace(page.report, unread="")

    def _read(self, pod: Pod, page: _Page) -> _Page:
        """Read to the end of the log, or until the largest read makes no progress."""
        name, most = pod["metadata"]["name"], _PIECE
        mark = (pod["metadata"].get("annotations") or {}).get(EVENT_MARK, "")
        while True:
            content = self._api.log(name, page.since, most)
            lines = list(_lines(content, page.since))
            if lines:
                report = with_events(
                    page.report, ((line.instant, line.text) for line in lines), mark
                )
                page = _Page(report, lines[-1].at)
            if len(content) < most:
                return replace(page, report=replace(page.report, unread=""))
            # `sinceTime` has a resolution of one second, so lines of the last second are read
            # again
            most = _PIECE if lines else 2 * most
            if most > _LARGEST_PIECE:
                return replace(page, report=replace(page.report, unread=_TOO_LONG))


class _Line(NamedTuple):
    at: str
    """The timestamp as written in the log."""
    instant: datetime
    text: str


def _lines(content: bytes, since: str) -> Iterator[_Line]:
    """Yield the complete lines after a timestamp."""
    # only at newlines: a step may print other characters that `splitlines` would split at
    for line in content.split(b"\n")[:-1]:
        at, _, text = line[:_LOOKED_AT].decode(errors="replace").partition(" ")
        if at > since and (instant := _instant(at)) is not None:
            yield _Line(at, instant, text)


def _instant(at: str) -> datetime | None:
    """Parse a line's timestamp; None: not a line of the container runtime."""
    if not _TIME.fullmatch(at):
        return None
    try:
        return datetime.fromisoformat(at).replace(microsecond=0)
    except ValueError:  # not a valid date
        return None
