"""Lookups in the exchange never block the caller."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest
from kubernetes.client import ApiClient, Configuration

from offsite.api import JobSpec
from offsite.sealing import Ring
from offsite.store.s3 import S3Store
from offsite.wire import canonical
from offsite_operator.cluster.client import Api
from offsite_operator.cluster.log_cursor import LogCursor
from offsite_operator.controller.metrics import Metrics
from offsite_operator.controller.worker import Worker
from offsite_operator.controller.workqueue import Key, WorkQueue
from offsite_operator.exchange import lookup_cache
from offsite_operator.exchange.inbox import ExchangeInbox, Lookup
from offsite_operator.exchange.lookup_cache import LookupCache
from offsite_operator.observe.model import Found, Incoming, NotYet, Peer, Unreachable
from offsite_testing.api_server import api_server
from offsite_testing.world import DIGEST, SETTINGS, TUNE, UID, ready_peer, spec_of

PATIENCE = 30.0
SPEC, LAB = spec_of(TUNE), ready_peer()
FOUND = Found(DIGEST, "question", 1, None)


@dataclass
class Answers:
    """What the exchange answers, when it may."""

    answer: Incoming | Exception = FOUND
    may: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def look(self, spec: JobSpec, peer: Peer) -> Incoming:
        """See `ExchangeInbox.look`."""
        self.asked.append(peer.alias)
        assert self.may.wait(PATIENCE)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Asking:
    """LookupCache, and the jobs that were woken."""

    desk: Lookup
    longest: float = 60.0
    woken: "queue.Queue[str]" = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self.lookups = LookupCache(self.desk, self.woken.put, self.longest)

    def look(self, job: str = "a", peer: Peer = LAB) -> Incoming | None:
        """Ask for a job."""
        return self.lookups.look(job, SPEC, peer)

    def heard(self, count: int = 1) -> set[str]:
        """Wait for jobs to be woken."""
        return {self.woken.get(timeout=PATIENCE) for _ in range(count)}


def test_who_asks_is_woken_when_the_answer_is_there_and_it_was_asked_once() -> None:
    desk = Answers()
    asking = Asking(desk)
    assert asking.look("a") is None
    wait(lambda: desk.asked == ["lab"])
    assert [asking.look("b"), asking.look("b")] == [None, None]
    desk.may.set()
    assert asking.heard(2) == {"a", "b"}
    assert asking.look("c") == FOUND
    assert len(desk.asked) <= 2  # "b" came when the first was under way


def test_an_answer_holds_for_the_ledger_that_it_was_given_for() -> None:
    desk = Answers()
    desk.may.set()
    asking = Asking(desk)
    asking.look()
    asking.heard()
    assert asking.look() == FOUND
    assert asking.look(peer=replace(LAB, version="2")) is None
    asking.heard()


def test_a_resync_wakes_jobs_only_with_another_answer() -> None:
    desk = Answers(NotYet("none"))
    desk.may.set()
    asking = Asking(desk)
    assert asking.lookups.recall("a", SPEC, LAB) is None
    assert asking.heard() == {"a"}
    assert asking.lookups.recall("a", SPEC, LAB) == NotYet("none")
    wait(lambda: len(desk.asked) == 2)
    desk.answer = FOUND
    wait(lambda: asking.lookups.recall("a", SPEC, LAB) == FOUND)
    assert asking.heard() == {"a"}


def test_a_peer_that_keeps_the_exchange_busy_delays_its_own_jobs_alone() -> None:
    desk = Answers()
    asking = Asking(desk, longest=2)
    clinic = replace(LAB, alias="clinic")
    assert asking.look() is None
    wait(lambda: isinstance(asking.look(), Unreachable))
    assert asking.look("b", clinic) is None
    wait(lambda: desk.asked == ["lab", "clinic"])  # not another time about lab
    desk.may.set()


def test_what_is_forgotten_while_it_is_asked_is_answered_nevertheless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup_cache, "_KEPT", 0.0)
    desk = Answers()
    asking = Asking(desk)
    asking.look()
    wait(lambda: desk.asked == ["lab"])
    asking.lookups.tidy()
    desk.may.set()
    assert asking.heard() == {"a"}
    assert asking.look("b") is None
    assert asking.heard() == {"b"}


def test_a_bug_in_one_answer_ends_no_others() -> None:
    desk = Answers(ValueError("a bug"))
    desk.may.set()
    asking = Asking(desk)
    asking.look()
    asking.heard()
    found = asking.look()
    assert isinstance(found, Unreachable)
    assert "see the operator's log" in found.message
    desk.answer = FOUND
    other = replace(LAB, version="2")
    asking.look(peer=other)
    asking.heard()
    assert asking.look(peer=other) == FOUND


@pytest.mark.parametrize("trickle", [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"HTTP"])
def test_a_slow_store_does_not_block_lookups(trickle: bytes) -> None:
    public = canonical(Ring.new("lab").public().wire()).decode()
    pinned = replace(LAB, status=LAB.status.model_copy(update={"pinned": public}))
    with trickling(trickle) as (endpoint, asked):
        store = S3Store(endpoint, "exchange", "a", "b" * 20, stall_seconds=1)
        asking = Asking(ExchangeInbox(Ring.new("hospital").public(), store), longest=0.5)
        assert asking.look(peer=pinned) is None
        assert asked.wait(PATIENCE)
        wait(lambda: isinstance(asking.look(peer=pinned), Unreachable))


def test_a_resync_waits_for_no_exchange() -> None:
    times = {"creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1"}
    job = {"metadata": {"name": "tune-1", "uid": UID, **times}, "spec": TUNE}
    status = LAB.status.wire()
    peer = {"metadata": {"name": "lab", "uid": "u", **times}, "status": status}
    desk, keys = Answers(), WorkQueue[Key]()
    with api_server() as server:
        # one that no operator can make sense of ends not the work on the others
        server.items["offsitejobs"] = [{"metadata": {"name": "broken", "uid": "b"}}, job]
        server.items["offsitepeers"] = [peer | {"spec": {"id": "lab", "public": "keys"}}]
        configuration = Configuration()
        configuration.host = server.url
        api = Api(ApiClient(configuration), "hospital")
        asking = LookupCache(desk, lambda name: keys.add(Key("job", name)))
        worker = Worker(api, SETTINGS, asking, Metrics(), keys, LogCursor(api))
        assert worker.resync() is False
        assert keys.take() == Key("peer", "lab")
        wait(lambda: desk.asked == ["lab"])
        desk.may.set()
        assert keys.take() == Key("job", "tune-1")


@contextmanager
def trickling(begin: bytes) -> Iterator[tuple[str, threading.Event]]:
    """Run an endpoint that answers one byte at a time, and records whether it was called."""
    asked, over = threading.Event(), threading.Event()

    def trickle(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(begin)
                asked.set()
                while not over.wait(0.1):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, args=(listener,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            over.set()


def wait(happened: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
