"""Reads the logs of running steps incrementally."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from offsite.events import EVENT_MARK
from offsite_operator.cluster.client import Api, ApiError
from offsite_operator.observe.step_log import StepReport, heard

Pod = Mapping[str, Any]
_PIECE = 4 << 20
"""Bytes of a log that are read at once, if a line, or the lines of a second, are not more."""
_LARGEST_PIECE = 16 << 20
"""The operator has memory for a few of these."""
_LOOKED_AT = 512 << 10
"""Bytes of a line: an event has fewer."""
_TOO_LONG = f"a line of it, or one second of it, is longer than {_LARGEST_PIECE >> 20} MiB"
_ENDED = ("Succeeded", "Failed")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class _Page:
    told: StepReport = field(default_factory=StepReport)
    since: str = ""
    """The time of the last line that was read."""


class LogCursor:
    """Remembers where it was, so that a log is read once. Losing it costs a second reading."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pages: dict[str, _Page] = {}
        self._lock = threading.Lock()

    def told(self, pods: Sequence[Pod], ended: bool) -> StepReport | None:
        """Continue reading the logs of an attempt's drivers; the newest one with events counts.

        Args:
            pods: the oldest first.
            ended: whether the attempt has.

        Returns:
            None: nothing can be read yet.
        """
        tales = [tale for pod in pods if (tale := self._of(pod, ended)) is not None]
        if not tales:
            return StepReport(ended=True) if ended and not pods else None
        spoken = [tale for tale in tales if tale.last or tale.progress or tale.metrics]
        return (spoken or tales)[-1]

    def forget(self, pods: Sequence[Pod]) -> None:
        """Forget every pod but some."""
        there = {pod["metadata"]["uid"] for pod in pods}
        with self._lock:
            self._pages = {uid: page for uid, page in self._pages.items() if uid in there}

    def _of(self, pod: Pod, ended: bool) -> StepReport | None:
        uid = pod["metadata"]["uid"]
        # a submitter may hang when its RayJob has ended
        ended = ended or pod.get("status", {}).get("phase") in _ENDED
        page = self._pages.get(uid, _Page())
        if page.told.ended:
            return page.told
        try:
            page = self._read(pod, page)
        except ApiError as error:
            if not ended:
                return None  # it has not started, or the server is busy: there is a next time
            if error.code not in (400, 404):
                return replace(page.told, unread=str(error))
        if ended and not page.told.unread:  # it had, before its log was read
            page = replace(page, told=replace(page.told, ended=True))
        with self._lock:
            self._pages[uid] = page
        return page.told if ended else replace(page.told, unread="")

    def _read(self, pod: Pod, page: _Page) -> _Page:
        """Read on to the end, or to where a piece of any size brings nothing new."""
        name, most = pod["metadata"]["name"], _PIECE
        mark = (pod["metadata"].get("annotations") or {}).get(EVENT_MARK, "")
        while True:
            content = self._api.log(name, page.since, most)
            lines = list(_lines(content, page.since))
            if lines:
                told = heard(page.told, ((line.instant, line.text) for line in lines), mark)
                page = _Page(told, lines[-1].at)
            if len(content) < most:
                return replace(page, told=replace(page.told, unread=""))
            # a server knows no part of a second: what was read of it comes again
            most = _PIECE if lines else 2 * most
            if most > _LARGEST_PIECE:
                return replace(page, told=replace(page.told, unread=_TOO_LONG))


class _Line(NamedTuple):
    at: str
    """When it was written, as the log has it."""
    instant: datetime
    text: str


def _lines(content: bytes, since: str) -> Iterator[_Line]:
    """Split a log into lines, from the first one that was not read; whole lines only."""
    # at nothing else that ends a line to Python: a step may have printed that inside of one
    for line in content.split(b"\n")[:-1]:
        at, _, text = line[:_LOOKED_AT].decode(errors="replace").partition(" ")
        if at > since and (instant := _instant(at)) is not None:
            yield _Line(at, instant, text)


def _instant(at: str) -> datetime | None:
    """Read the time of a line; None: it has none, so it is no line of the container runtime's."""
    if not _TIME.fullmatch(at):
        return None
    try:
        return datetime.fromisoformat(at).replace(microsecond=0)
    except ValueError:  # of no calendar
        return None
