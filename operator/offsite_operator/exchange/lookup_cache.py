"""Looks up bundles in background threads: returns the cached result, or requeues the job later.

The exchange is not trusted, so it must not block the operator. Lookups run one at a time per peer:
a peer with a slow listing delays only its own jobs.
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
"""Seconds for which a result is fresh enough for a decision."""
_LONGEST = 60.0
"""Limit for one lookup in seconds, even if data keeps arriving."""
_KEPT = 600.0
"""Seconds after which an unused entry is dropped."""


class _About(NamedTuple):
    stage: str
    alias: str
    bundle: str | None


@dataclass
class _Question:
    spec: JobSpec
    peer: Peer
    """Includes its ledger: which bundle may be opened depends on earlier ones."""
    asked: float
    """Time of the last request."""
    queued: bool = False
    answer: Incoming | None = None
    answered: float = 0.0
    answered_by: Peer | None = None
    """The peer's state that the result is based on."""
    waiting: set[str] = field(default_factory=set)
    """Jobs to requeue after the lookup."""
    resting: set[str] = field(default_factory=set)
    """Jobs to requeue if the result changes."""


@dataclass
class _Lane:
    """Queued lookups about one peer, run one after another."""

    line: deque[_About] = field(default_factory=deque)
    since: float | None = None
    """Start of the running lookup; None: none is running."""


@dataclass
class LookupCache:
    """Caches lookups. Thread-safe."""

    inbox: Lookup
    wake: Callable[[str], None]
    """Enqueues a job by name."""
    longest: float = _LONGEST
    _questions: dict[_About, _Question] = field(default_factory=dict)
    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, job: str, spec: JobSpec, peer: Peer) -> Incoming | None:
        """Return a fresh cached result; None: a lookup is queued, and the job is requeued
        afterwards.
        """
        with self._lock:
            about, question = self._question(spec, peer)
            fresh = time.monotonic() - question.answered < _FRESH
            if question.answer is not None and fresh and question.answered_by == peer:
                return question.answer
            question.waiting.add(job)
            self._ask(about, question, first=True)
            return self._overdue(about.alias)

    def recall(self, job: str, spec: JobSpec, peer: Peer) -> Incoming | None:
        """Return the last result, which may be stale, and queue a lookup.

        The job is requeued if the result changes.
        """
        with self._lock:
            about, question = self._question(spec, peer)
            question.resting.add(job)
            self._ask(about, question, first=False)
            return self._overdue(about.alias) or question.answer

    def tidy(self) -> None:
        """Drop entries that are no longer used."""
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
            f"timed out after {self.longest:.0f} s looking up bundles from {alias}; the exchange "
            "is "
            "slow, or holds very many objects of that name: ask its administrator"
        )

    def _serve(self, lane: _Lane) -> None:
        while (taken := self._next(lane)) is not None:
            question, peer = taken
            begun = time.monotonic()
            answer = self._answer(question.spec, peer)
            for job in self._store(question, answer, peer, late=time.monotonic() - begun):
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
        except Exception:  # a bug in one lookup must not stop the others
            log.exception(
                "unexpected error looking up bundles from %s; please report it", peer.alias
            )
            return Unreachable(f"cannot look up bundles from {peer.alias}; see the operator's log")

    def _store(self, question: _Question, answer: Incoming, peer: Peer, late: float) -> set[str]:
        """Store a result; returns the jobs to requeue."""
        with self._lock:
            another = answer != question.answer
            # a slow result may be outdated
            if late < self.longest:
                question.answer, question.answered_by = answer, peer
                question.answered = time.monotonic()
            jobs = question.waiting | (question.resting if another else set())
            question.waiting, question.resting = set(), set()
            return jobs
