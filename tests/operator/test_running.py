"""What keeps the operator going: queue, events, health, settings."""

import json
import logging
import threading
import urllib.error
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import pytest

from offsite.errors import InputError
from offsite_operator.__main__ import refuse_one_place
from offsite_operator.controller.health import serve
from offsite_operator.controller.json_logs import log_as_json
from offsite_operator.controller.metrics import Metrics
from offsite_operator.controller.workqueue import WorkQueue
from offsite_operator.decide.events import EventRecord, new_events
from offsite_operator.decide.status import ConditionUpdate, updated
from offsite_operator.settings import Private, read_settings
from offsite_testing.world import SETTINGS, START, TUNE, World, spec_of


@pytest.mark.parametrize(
    ("exchange", "private", "one"),
    [
        ("https://127.0.0.1:9000", "https://localhost:9000", True),
        ("https://127.0.0.1:9000", "https://localhost:9001", False),
        ("https://127.0.0.1:443", "https://localhost", True),
    ],
)
def test_both_stores_are_not_one_bucket(exchange: str, private: str, one: bool) -> None:
    both = SETTINGS.exchange.model_copy(update={"endpoint": exchange, "uri": "s3://private"})
    own = SETTINGS.private.model_copy(update={"endpoint": private})
    settings = SETTINGS.model_copy(update={"exchange": both, "private": own})
    with pytest.raises(InputError, match="same bucket") if one else nullcontext():
        refuse_one_place(settings)
    refuse_one_place(settings.model_copy(update={"exchange": SETTINGS.exchange}))


def test_what_is_wanted_twice_is_looked_at_once() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [queue.take(), queue.take()] == ["a", "b"]
    queue.add("a")  # while somebody looks at it
    queue.done("b")
    queue.add("c")
    assert queue.take() == "c"
    queue.done("a")
    assert queue.take() == "a"


def test_urgent_keys_come_first() -> None:
    queue = WorkQueue[str]()
    for key in "abc":
        queue.add(key, urgent=False)
    queue.add("d")
    queue.add("b")
    assert [queue.take() for _ in range(4)] == ["d", "b", "a", "c"]


def test_a_delayed_key_comes_when_it_is_due() -> None:
    queue = WorkQueue[str]()
    queue.add_later("slow", 3600)
    queue.add_later("slow", 0.02)  # in place of the former
    queue.add_later("quick", 0.01)
    assert [queue.take(), queue.take()] == ["quick", "slow"]


def test_a_closed_queue_does_not_block() -> None:
    queue = WorkQueue[str]()
    waiting = threading.Thread(target=queue.take)
    waiting.start()
    queue.close()
    waiting.join(10)
    assert not waiting.is_alive()


def test_events_tell_what_is_new_and_only_once() -> None:
    world = World(spec_of(TUNE))
    before = world.status
    world.go()
    told = new_events(before, world.status)
    assert [(chapter.type, chapter.reason) for chapter in told] == [
        ("Normal", "Accepted"),
        ("Normal", "WaitingForPod"),
    ]
    assert new_events(world.status, world.status) == []
    names = {chapter.name("job", "uid") for chapter in told}
    assert len(names) == 2
    assert names == {chapter.name("job", "uid") for chapter in new_events(before, world.status)}


def test_what_happens_again_is_told_again() -> None:
    world, told = World(spec_of(TUNE)), list[EventRecord]()
    world.go()
    for suspend in (True, False, True):
        before = world.status
        world.change(suspend=suspend)
        world.go()
        told += [each for each in new_events(before, world.status) if each.reason == "Suspended"]
        world.sweep()
        world.go()
        world.wait(60)
    first, second = told
    assert first.message == second.message
    assert first.name("job", "uid") != second.name("job", "uid")


def test_a_condition_keeps_its_time_while_it_holds() -> None:
    first = updated([], {"Running": ConditionUpdate("False", "BackOff")}, 1, START)
    later = START.replace(year=2027)
    second = updated(first, {"Running": ConditionUpdate("False", "WaitingForPod")}, 2, later)
    running = next(c for c in second if c.type == "Running")
    assert (running.reason, running.last_transition_time) == ("WaitingForPod", START)
    assert running.observed_generation == 2
    third = updated(second, {"Running": ConditionUpdate("True", "Training")}, 2, later)
    assert next(c for c in third if c.type == "Running").last_transition_time == later


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_an_operator_that_does_not_resync_is_not_healthy() -> None:
    metrics = Metrics()
    metrics.jobs.labels("Running").set(2)
    for interval, code in ((3600.0, 200), (0.0, 503)):
        server = serve(metrics, interval, 0)
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert fetch(f"{url}/healthz")[0] == code
            figures = fetch(f"{url}/metrics")[1]
        finally:
            server.shutdown()
            server.server_close()
    assert 'offsite_operator_jobs{state="Running"} 2.0' in figures
    assert "offsite_operator_resync_age_seconds" in figures


def test_an_operator_is_ready_once_it_has_looked_at_everything() -> None:
    metrics = Metrics()
    server = serve(metrics, 3600.0, 0)
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert [fetch(f"{url}/{path}")[0] for path in ("healthz", "readyz")] == [200, 503]
        metrics.resynced()
        assert fetch(f"{url}/readyz") == (200, "the last resync was 0 s ago\n")
    finally:
        server.shutdown()
        server.server_close()


def test_logs_are_json_and_name_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log_as_json()
        logging.getLogger("offsite_operator").info("it %s", "runs", extra={"job": "tune-1"})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    line = json.loads(capsys.readouterr().out)
    assert (line["job"], line["message"], line["level"]) == ("tune-1", "it runs", "info")


def test_settings_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(SETTINGS.model_dump_json(by_alias=True))
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize("change", [{"bound": {}}, {"private": {"uri": "s3://b/p"}}, {"party": 1}])
def test_wrong_settings_are_told(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS.model_dump(mode="json", by_alias=True) | change))
    with pytest.raises(InputError, match=r"settings\.json"):
        read_settings(path)


def test_a_claim_is_a_private_store() -> None:
    private = Private(uri="pvc://home/offsite/hospital")
    assert (private.claim, private.inside) == ("home", "file:///private/offsite/hospital")
