"""A work queue of keys: each key is queued once, and processed by one worker at a time."""

import heapq
import threading
import time
from collections import deque
from typing import Generic, Literal, NamedTuple, TypeVar

K = TypeVar("K")


class Key(NamedTuple):
    """The object to reconcile."""

    kind: Literal["job", "peer"]
    name: str


class WorkQueue(Generic[K]):
    """Keys to reconcile, now or later. Thread-safe."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._urgent: deque[K] = deque()
        self._idle: deque[K] = deque()
        self._wanted: set[K] = set()
        self._taken: set[K] = set()
        self._due: dict[K, float] = {}
        self._clock: list[tuple[float, int, K]] = []
        self._count = 0
        self._closed = False

    def add(self, key: K, *, urgent: bool = True) -> None:
        """Add a key. A key that is being processed is queued again afterwards.

        Args:
            urgent: Goes ahead of keys that are not urgent.
        """
        with self._ready:
            self._want(key, urgent)
            self._ready.notify()

    def add_later(self, key: K, seconds: float) -> None:
        """Add a key after a delay, which replaces the key's previous delay."""
        with self._ready:
            self._count += 1  # breaks ties, since keys are not comparable
            self._due[key] = time.monotonic() + seconds
            heapq.heappush(self._clock, (self._due[key], self._count, key))
            self._ready.notify()

    def take(self) -> K | None:
        """Block for a key; the caller owns it until `done()`. Returns None once the queue is
        closed.
        """
        with self._ready:
            while not self._closed:
                seconds = self._wake()
                if (key := self._next()) is not None:
                    return key
                self._ready.wait(seconds)
            return None

    def done(self, key: K) -> None:
        """Release a key that `take` returned."""
        with self._ready:
            self._taken.discard(key)
            if key in self._wanted:
                self._urgent.append(key)
                self._ready.notify()

    def close(self) -> None:
        """Close the queue, and unblock all callers of `take`."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _want(self, key: K, urgent: bool) -> None:
        # an idle key that becomes urgent is in both queues until it is taken
        if key not in self._taken and (urgent or key not in self._wanted):
            (self._urgent if urgent else self._idle).append(key)
        self._wanted.add(key)

    def _next(self) -> K | None:
        while line := self._urgent or self._idle:
            key = line.popleft()
            if key in self._wanted and key not in self._taken:
                self._wanted.discard(key)
                self._taken.add(key)
                return key
        return None

    def _wake(self) -> float | None:
        """Queue the keys that are due; returns the seconds until the next one is."""
        now = time.monotonic()
        while self._clock and self._clock[0][0] <= now:
            due, _, key = heapq.heappop(self._clock)
            if self._due.get(key) == due:
                del self._due[key]
                self._want(key, urgent=True)
        return self._clock[0][0] - now if self._clock else None
