"""When something was first seen to be so, by this machine's clock: a watch, never a poll."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.namespaces import Namespace
from cluster.processes import wait_for

NAME = ".metadata.name"
WHOLE = "@"
"""All of an object, as JSON."""
JOB = r".metadata.labels.offsite-tuning\.dev/job"
"""The name of the OffsiteJob that something was made for."""


class Sightings:
    """What a watch has shown, and when first."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], float] = {}
        self._over = threading.Event()

    def note(self, subject: str, value: str) -> None:
        """Note that something is so now, unless that is known."""
        self._first.setdefault((subject, value), time.monotonic())

    def end(self) -> None:
        """Note that nothing more will be seen."""
        self._over.set()

    def count(self, value: str) -> int:
        """Count those of which a value was seen."""
        return sum(each == value for _, each in list(self._first))

    def first(
        self, happened: Callable[[str, str], bool] = lambda *_: True, seconds: float = 300.0
    ) -> tuple[str, str]:
        """Wait until something was seen of which that is so, now or later; give what came first.

        Raises:
            RuntimeError: it takes too long, or the watch ends.
        """
        known, found = 0, list[tuple[str, str]]()

        def look() -> bool:
            nonlocal known
            news = list(self._first)[known:]
            known += len(news)
            found.extend(each for each in news if happened(*each))
            return bool(found)

        self._await(look, seconds)
        return found[0]

    def at(self, subject: str, value: str = "", *wrong: str, seconds: float = 300.0) -> float:
        """Wait until something is so; give when that was, on the monotonic clock.

        Args:
            value: empty: it is there, and says nothing yet.
            wrong: values with which the wait is in vain.

        Raises:
            RuntimeError: one of these was seen, it takes too long, or the watch ends.
        """
        known, awaited = self._first, {(subject, each) for each in (value, *wrong)}
        self._await(lambda: not awaited.isdisjoint(known.copy()), seconds)
        if (subject, value) not in known:
            seen = ", ".join(each for of, each in known.copy() if of == subject)
            raise RuntimeError(f"{subject} is not {value}; seen of it was: {seen}")
        return known[subject, value]

    def _await(self, happened: Callable[[], bool], seconds: float) -> None:
        def look() -> bool:
            over = self._over.is_set()  # all that came before is seen by the look
            if not (seen := happened()) and over:
                raise RuntimeError("the watch has ended")
            return seen

        wait_for(look, seconds, pause=0.1)  # it costs nothing


@contextmanager
def watched(
    space: Namespace, what: str, subject: str, value: str, *options: str
) -> Iterator[Sightings]:
    """Watch a kind of objects in a namespace while the `with` block runs.

    Args:
        subject, value: JSONPaths of what is noted of each; what is absent is empty.
        options: more of `kubectl get`.
    """
    form = f'--output=jsonpath={{{subject}}} {{{value}}}{{"\\n"}}'
    command = ("get", f"--namespace={space.name}", what, "--watch", form, *options)
    sightings = Sightings()
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as told:
        process = space.cluster.start(*command, told=told)
    reader = threading.Thread(target=_read, args=(reading, sightings), daemon=True)
    reader.start()
    try:
        yield sightings
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _read(pipe: int, sightings: Sightings) -> None:
    with os.fdopen(pipe) as lines:
        for line in lines:
            subject, _, value = line.rstrip("\n").partition(" ")
            sightings.note(subject, value)
    sightings.end()
