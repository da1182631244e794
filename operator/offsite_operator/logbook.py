"""What running steps have told until now, read from the logs of their pods piece by piece."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from offsite_operator.api import Api, ApiError
from offsite_operator.logs import Told, heard

Pod = Mapping[str, Any]
_PIECE = 4 << 20
"""Bytes of a log that are read at once."""
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class _Page:
    told: Told = field(default_factory=Told)
    since: str = ""
    """The time of the last line that was read."""


class LogBook:
    """Remembers where it was, so that a log is read once. Losing it costs a second reading."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pages: dict[str, _Page] = {}
        self._lock = threading.Lock()

    def told(self, pods: Sequence[Pod], ended: bool) -> Told | None:
        """Read on in the logs of an attempt's drivers; of several, the newest that told anything.

        Args:
            pods: the oldest first.
            ended: whether the attempt has.

        Returns:
            None: nothing can be read yet.
        """
        tales = [tale for pod in pods if (tale := self._of(pod, ended)) is not None]
        if not tales:
            return Told(ended=True) if ended and not pods else None
        spoken = [tale for tale in tales if tale.last or tale.progress or tale.metrics]
        return (spoken or tales)[-1]

    def forget(self, pods: Sequence[Pod]) -> None:
        """Forget every pod but some."""
        there = {pod["metadata"]["uid"] for pod in pods}
        with self._lock:
            self._pages = {uid: page for uid, page in self._pages.items() if uid in there}

    def _of(self, pod: Pod, ended: bool) -> Told | None:
        uid = pod["metadata"]["uid"]
        # a submitter may hang when its RayJob has ended
        ended = ended or pod.get("status", {}).get("phase") in _ENDED
        page = self._pages.get(uid, _Page())
        if page.told.ended:
            return page.told
        try:
            page = self._read(pod["metadata"]["name"], page)
        except ApiError as error:
            if not ended or error.code not in (400, 404):
                return None  # it has not started, or the server is busy: there is a next time
        if ended:  # it had, before its log was read
            page = replace(page, told=replace(page.told, ended=True))
        with self._lock:
            self._pages[uid] = page
        return page.told

    def _read(self, name: str, page: _Page) -> _Page:
        while True:
            content = self._api.log(name, page.since, _PIECE)
            lines = list(_lines(content, page.since))
            if not lines:
                return page
            told = heard(page.told, ((_instant(at), line) for at, line in lines))
            page = _Page(told, lines[-1][0])
            if len(content) < _PIECE:
                return page


def _lines(content: bytes, since: str) -> Iterator[tuple[str, str]]:
    """Split a log into times and lines, from the first one that was not read; whole lines only."""
    for line in content[: content.rfind(b"\n") + 1].decode(errors="replace").splitlines():
        at, _, text = line.partition(" ")
        if at > since and at[:1].isdigit():
            yield at, text


def _instant(at: str) -> datetime:
    return datetime.fromisoformat(at).replace(microsecond=0)
