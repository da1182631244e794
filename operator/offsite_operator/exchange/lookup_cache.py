"""Looks up bundles in threads of its own: returns the cached result, or requeues the job later.

The exchange is trusted with nothing, so neither with anybody's time. One question is asked at a
time about each peer; a peer whose bundles take for ever to list delays its own jobs alone.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from offsite.api import JobSpec
from offsite_operator.exchange.inbox import Lookup
from offsite_operator.observe.model import Incoming, Peer, Unreachable

log = logging.getLogger(__name__)
_FRESH = 10.0
"""Seconds for which an answer may decide something."""
_LONGEST = 60.0
"""Seconds that one question may take, however much trickles in meanwhile."""
_KEPT = 600.0
"""Seconds for which a question is remembered that nobody asks any more."""


class _About(NamedTuple):
    stage: str
    alias: str
    bundle: str | None


@dataclass
class _Question:
    spec: JobSpec
    peer: Peer
    """With its ledger: what may be opened depends on what was accepted before."""
    asked: float
    """When it was last asked for."""
    queued: bool = False
    answer: Incoming | None = None
    answered: float = 0.0
    answered_by: Peer | None = None
    """The peer, as it was for the answer."""
    waiting: set[str] = field(default_factory=set)
    """Jobs that have to hear the answer, whatever it is."""
    resting: set[str] = field(default_factory=set)
    """Jobs that have to hear it if it is another one."""


@dataclass
class _Lane:
    """What is to be asked about one peer, one after another."""

    line: deque[_About] = field(default_factory=deque)
    since: float | None = None
    """Since when the question is being asked that is; None: nobody asks."""


@dataclass
class LookupCache:
    """Asks, and remembers what was answered. Safe to use from several threads."""

    inbox: Lookup
    wake: Callable[[str], None]
    """Has a job looked at, by its name."""
    longest: float = _LONGEST
    _questions: dict[_About, _Question] = field(default_factory=dict)
    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, job: str, spec: JobSpec, peer: Peer) -> Incoming | None:
        """Find what a job may open, without waiting; None: it is woken when that is known."""
        with self._lock:
            about, question = self._question(spec, peer)
            fresh = time.monotonic() - question.answered < _FRESH
            if question.answer is not None and fresh and question.answered_by == peer:
                return question.answer
            question.waiting.add(job)
            self._ask(about, question, first=True)
            return self._overdue(about.alias)

    def recall(self, job: str, spec: JobSpec, peer: Peer) -> Incoming | None:
        """Get the last answer, which may be old, and have it asked again.

        The job is woken when the answer is another one now.
        """
        with self._lock:
            about, question = self._question(spec, peer)
            question.resting.add(job)
            self._ask(about, question, first=False)
            return self._overdue(about.alias) or question.answer

    def tidy(self) -> None:
        """Forget what nobody asks any more."""
        with self._lock:
            end = time.monotonic() - _KEPT
            old = [about for about, q in self._questions.items() if q.asked < end and not q.queued]
            for about in old:
                del self._questions[about]

    def _question(self, spec: JobSpec, peer: Peer) -> tuple[_About, _Question]:
        about, at = _About(spec.stage, peer.alias, spec.bundle), time.monotonic()
        question = self._questions.setdefault(about, _Question(spec, peer, at))
        question.peer, question.asked = peer, at
        return about, question

    def _ask(self, about: _About, question: _Question, *, first: bool) -> None:
        lane = self._lanes.setdefault(about.alias, _Lane())
        if not question.queued:
            question.queued = True
            (lane.line.appendleft if first else lane.line.append)(about)
        elif first and about in lane.line and lane.line[0] != about:
            lane.line.remove(about)
            lane.line.appendleft(about)
        if lane.since is None:
            lane.since = time.monotonic()
            threading.Thread(target=self._serve, args=(lane,), name="exchange", daemon=True).start()

    def _overdue(self, alias: str) -> Unreachable | None:
        since = self._lanes[alias].since
        if since is None or time.monotonic() - since < self.longest:
            return None
        return Unreachable(
            f"the exchange has not answered for {self.longest:.0f} s what {alias} sent; it is "
            "slow, or holds very many objects of that name: ask who runs it"
        )

    def _serve(self, lane: _Lane) -> None:
        while (taken := self._next(lane)) is not None:
            question, peer = taken
            begun = time.monotonic()
            answer = self._answer(question.spec, peer)
            for job in self._told(question, answer, peer, late=time.monotonic() - begun):
                self.wake(job)

    def _next(self, lane: _Lane) -> tuple[_Question, Peer] | None:
        with self._lock:
            if not lane.line:
                lane.since = None
                return None
            lane.since = time.monotonic()
            question = self._questions[lane.line.popleft()]
            question.queued = False
            return question, question.peer

    def _answer(self, spec: JobSpec, peer: Peer) -> Incoming:
        try:
            return self.inbox.look(spec, peer)
        except Exception:  # a bug in one answer must not end the asking of others
            log.exception("a bug in asking what %s sent", peer.alias)
            return Unreachable(f"cannot look up what {peer.alias} sent; see the operator's log")

    def _told(self, question: _Question, answer: Incoming, peer: Peer, late: float) -> set[str]:
        """Note an answer; gives the jobs that have to hear it."""
        with self._lock:
            another = answer != question.answer
            # what took too long may be of a time long past
            if late < self.longest:
                question.answer, question.answered_by = answer, peer
                question.answered = time.monotonic()
            heard = question.waiting | (question.resting if another else set())
            question.waiting, question.resting = set(), set()
            return heard
