"""Reconciles jobs and peers, one at a time: read, decide, apply."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from offsite.api import JobSpec
from offsite.api.problems import reason
from offsite.events import new_mark
from offsite.resources import JobStatus
from offsite.wire import now
from offsite_operator.cluster.apply import RejectedChild, carry_out, write_peer
from offsite_operator.cluster.client import OFFSITE_JOBS, OFFSITE_PEERS, Api, ApiError
from offsite_operator.cluster.lister import read_all, read_one
from offsite_operator.cluster.log_cursor import LogCursor
from offsite_operator.controller.metrics import Metrics
from offsite_operator.controller.workqueue import Key, WorkQueue
from offsite_operator.decide.admission import awaits_bundle
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.peers import elder_of, review
from offsite_operator.decide.reconcile import reconcile
from offsite_operator.decide.turns import Room, room_of
from offsite_operator.exchange.lookup_cache import LookupCache
from offsite_operator.labels import Object
from offsite_operator.observe.builder import ReadLogs, observed_job, peer_of
from offsite_operator.observe.model import Incoming, Observed, Peer, Rejection
from offsite_operator.observe.snapshot import Raw
from offsite_operator.settings import Settings

log = logging.getLogger(__name__)
_MOST_STEPS = 8
"""Limit on consecutive decisions about one job; a job has fewer steps."""
_AFTER_ERROR = 10.0
_Ask = Callable[[str, JobSpec, Peer], Incoming | None]


@dataclass
class Worker:
    """Processes the keys of the work queue."""

    api: Api
    settings: Settings
    lookups: LookupCache
    metrics: Metrics
    queue: WorkQueue[Key]
    logs: LogCursor
    clock: Callable[[], datetime] = now
    jobs: frozenset[str] | None = None
    """UIDs of all jobs, as of the last resync."""
    _admitting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a job may be admitted to run."""

    def run(self) -> None:
        """Process keys until the queue is closed."""
        while (key := self.queue.take()) is not None:
            try:
                with self.metrics.seconds.time():
                    self._look(key)
            except (ApiError, RejectedChild, ValidationError) as error:
                self._give_up(key, reason(error))
            except Exception:  # a bug about one job must not stop the work on others
                log.exception("unexpected error; please report it", extra={"job": key.name})
                self._give_up(key, "see the error above")
            finally:
                self.queue.done(key)

    def resync(self) -> bool:
        """List everything, and enqueue the jobs that need a reconcile.

        Returns:
            Whether the cluster serves RayJobs.

        Raises:
            ApiError: The server refused, or does not answer.
        """
        raw = read_all(self.api)
        self.jobs = frozenset(each["metadata"]["uid"] for each in raw.jobs)
        self.logs.forget([pod for pods in raw.pods.values() for pod in pods])
        for alias in raw.peers:
            self.queue.add(Key("peer", alias))
        self.lookups.tidy()
        states: Counter[str] = Counter()
        room = room_of(raw.jobs)
        for found in raw.jobs:
            try:
                states[self._glance(raw, found, room)] += 1
            except Exception:  # a bug about one job must not stop the resync of others
                self.metrics.errors.inc()
                log.exception(
                    "unexpected error; please report it", extra={"job": found["metadata"]["name"]}
                )
        self._count(states)
        self.metrics.resynced()
        return raw.ray

    def _glance(self, raw: Raw, found: Object, room: Room) -> str:
        """Enqueue a job if it needs a reconcile; returns its state."""
        seen = self._see(raw, found, lambda pods, ended: None)
        seen = _with_lookup(seen, self.lookups.recall)
        seen = replace(seen, ahead=room.ahead(seen.job.uid))
        if _needs_a_look(seen):
            self.queue.add(Key("job", seen.job.name), urgent=False)
        return seen.job.status.state or "Pending"

    def _look(self, key: Key) -> None:
        if key.kind == "peer":
            self._look_at_peer(key.name)
        else:
            self._look_at_job(key)

    def _look_at_peer(self, alias: str) -> None:
        peers = {each["metadata"]["name"]: each for each in self.api.list(OFFSITE_PEERS)}
        if alias not in peers:
            return
        peer = peer_of(peers[alias])
        elder = elder_of(peers[alias], peers.values())
        status = review(peer, self.settings.party, self.clock(), elder)
        if status is not None:
            write_peer(self.api, peer, status)
            log.info("the peer %s: %s", alias, status.conditions[0].reason)
            self._wake_jobs_of(alias)

    def _wake_jobs_of(self, alias: str) -> None:
        for found in self.api.list(OFFSITE_JOBS):
            if found.get("spec", {}).get("peer") == alias:
                self.queue.add(Key("job", found["metadata"]["name"]))

    def _look_at_job(self, key: Key) -> None:
        rejection: Rejection | None = None
        for _ in range(_MOST_STEPS):
            raw = read_one(self.api, key.name)
            if raw is None:
                return
            seen = self._see(raw, raw.jobs[0], self.logs.report)
            seen = _with_lookup(seen, self.lookups.look)
            try:
                decision = self._decide(replace(seen, rejection=rejection))
            except RejectedChild as error:
                log.warning("%s", error, extra={"job": key.name})
                rejection = Rejection(error.code, str(error))
                continue
            rejection = None
            if decision.status is not None:
                _log(seen, decision.status.state)
            if decision.again is None:
                return
            if decision.again > 0:
                self.queue.add_later(key, decision.again)
                return
        self.queue.add_later(key, _AFTER_ERROR)

    def _decide(self, seen: Observed) -> Decision:
        """Reconcile a job once, and apply the decision."""
        with self._counted(seen) as counted:
            decision = reconcile(counted)
            self.metrics.reconciles.inc()
            carry_out(self.api, counted, decision)
        if decision.status is not None and _leaves(seen.job.status, decision.status):
            self._wake_next()
        return decision

    @contextmanager
    def _counted(self, seen: Observed) -> Iterator[Observed]:
        """Count the jobs ahead of one that may start, and block other admissions meanwhile."""
        status = seen.job.status
        bounded = self.settings.bounds.max_running_jobs is not None and status.start_time is None
        if not bounded or reconcile(seen).idle:
            yield seen
            return
        with self._admitting:
            room = room_of(self.api.list(OFFSITE_JOBS))
            yield replace(seen, ahead=room.ahead(seen.job.uid))

    def _wake_next(self) -> None:
        """Enqueue waiting jobs for which there is room now."""
        if (most := self.settings.bounds.max_running_jobs) is not None:
            for name in room_of(self.api.list(OFFSITE_JOBS)).next(most):
                self.queue.add(Key("job", name))

    def _see(self, raw: Raw, found: Object, read_logs: ReadLogs) -> Observed:
        seen = observed_job(raw, found, self.settings, self.clock(), read_logs)
        return replace(seen, jobs=self.jobs, mark=new_mark())

    def _give_up(self, key: Key, detail: str) -> None:
        """Requeue a key after an error."""
        self.metrics.errors.inc()
        log.warning(
            "reconcile failed; retrying in %.0f s: %s",
            _AFTER_ERROR,
            detail,
            extra={"job": key.name},
        )
        self.queue.add_later(key, _AFTER_ERROR)

    def _count(self, states: Counter[str]) -> None:
        self.metrics.jobs.clear()
        for state, count in states.items():
            self.metrics.jobs.labels(state).set(count)


def _leaves(before: JobStatus, after: JobStatus) -> bool:
    """Return whether a job stops counting as running."""
    left = after.start_time is None or after.completion_time is not None
    return before.start_time is not None and before.completion_time is None and left


def _with_lookup(seen: Observed, ask: _Ask) -> Observed:
    """Look up the peer's bundle, if the next decision depends on it."""
    if not awaits_bundle(seen) or seen.job.spec is None or seen.peer is None:
        return seen
    return replace(seen, incoming=ask(seen.job.name, seen.job.spec, seen.peer))


def _needs_a_look(seen: Observed) -> bool:
    """Return whether a job needs a reconcile, as far as can be seen without logs."""
    under_way = not seen.job.finished and bool(seen.children)
    return under_way or not reconcile(seen).idle


def _log(seen: Observed, state: str | None) -> None:
    before = seen.job.status.state
    if state != before:
        log.info("the job is %s (before: %s)", state, before, extra={"job": seen.job.name})
