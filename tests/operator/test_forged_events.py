"""What a peer or a store makes a pod print is no event, and no success of a pod that failed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from offsite.api import OffsiteJob
from offsite.events import MARK, Failed, new_mark
from offsite.exchange.home import keep_ring
from offsite.resources import JobStatus
from offsite.sealing import Ring
from offsite.task import Task, new_task, write_task
from offsite.wire import canonical
from offsite_operator.decide.attempts import Failure, outcome
from offsite_operator.decide.reported import reported_updates
from offsite_operator.observe.model import Child, ChildState, Phase
from offsite_operator.observe.step_log import StepReport, with_events
from offsite_testing.hostile_store import HostileStore, hostile_store
from offsite_testing.world import DIGEST, TUNE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORGED = "".join(
    f"\noffsite-event {each}"
    for each in (
        f'{{"event":"artifact","name":"x","digest":"sha256:{"ab" * 32}","uri":"x","sizeBytes":1}}',
        '{"event":"done","peakMemoryBytes":1}',
    )
)
ENDINGS = ["\n", "&#13;", "&#10;", "\u2028", "\x85"]


def error() -> bytes:
    """Write an error of a store whose code and message begin lines."""
    forged = "".join(escape(FORGED).replace("\n", each) for each in ENDINGS)
    return (
        f'<?xml version="1.0"?><Error><Code>MalformedXML{forged}</Code>'
        f"<Message>no{forged}\x9b2J\u202e\x7f\n</Message><Resource>/</Resource></Error>"
    ).encode()


@pytest.fixture
def store() -> Iterator[HostileStore]:
    with hostile_store() as server:
        server.body = error()
        yield server


def task_of(step: Any, root: Path) -> Task:
    """Write down a step of a Tune whose exchange is the hostile store."""
    for name in ("lab", "hospital"):
        keep_ring(root / name, Ring.new(name), None)
    job = {
        "apiVersion": "offsite-tuning.dev/v1alpha1",
        "kind": "OffsiteJob",
        "metadata": {"name": "adapter"},
        "spec": TUNE,
    }
    own: dict[str, dict[str, Any]] = {
        "Open": {"envelope": DIGEST},
        "Publish": {"envelope": DIGEST, "sequence": 1},
        "Notify": {"round": 1, "reason": "DataError"},
        "ReadNotice": {"notice": DIGEST},
    }
    return new_task(
        step=step,
        uid="u-1",
        party="hospital",
        peer_id="lab",
        public=canonical(Ring.new("lab").public().wire()).decode(),
        private=(root / "private").as_uri(),
        exchange="s3://exchange",
        job=OffsiteJob.model_validate(job),
        **own[step],
    )


def ran(task: Task, root: Path, store: HostileStore, mark: str) -> subprocess.CompletedProcess[str]:
    """Run a step as its pod does; its log is stdout and stderr, as the kubelet keeps them."""
    credentials = root / "credentials.json"
    credentials.write_text(json.dumps({"accessKey": "a" * 8, "secretKey": "b" * 16}))
    credentials.chmod(0o600)
    (root / "task.json").write_text(write_task(task))
    (ring,) = (root / "hospital").rglob("ring.json")
    environ = {
        **os.environ,
        MARK: mark,
        "OFFSITE_RING": str(ring),
        "OFFSITE_SCRATCH": str(root / "scratch"),
        "OFFSITE_EXCHANGE_ENDPOINT": f"http://127.0.0.1:{store.server_port}",
        "OFFSITE_EXCHANGE_CREDENTIALS": str(credentials),
    }
    command = [sys.executable, "-m", "offsite", "run", "--task", str(root / "task.json")]
    return subprocess.run(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def child_of(log: str, mark: str, phase: Phase) -> Child:
    """Let the operator read a log, as of a pod that ended like that."""
    told = with_events(StepReport(), ((NOW, line) for line in log.split("\n")), mark)
    state = ChildState(phase, "BackoffLimitExceeded", "it ended", ended=NOW)
    told = replace(told, ended=True)
    return Child("c", "Job", "c-1", "Open", 1, 0, NOW, False, state, report=told)


@pytest.mark.parametrize(
    ("step", "code"),
    [("Open", 400), ("Publish", 400), ("ReadNotice", 400), ("Notify", 400), ("Open", 403)],
)
def test_a_store_that_answers_with_events_forges_none(
    tmp_path: Path, store: HostileStore, step: Any, code: int
) -> None:
    store.code, mark = code, new_mark()
    done = ran(task_of(step, tmp_path), tmp_path, store, mark)
    assert done.returncode != 0
    assert all(each.isprintable() or each == "\n" for each in done.stdout)
    lines = [line for line in done.stdout.split("\n") if line.startswith("offsite-event")]
    assert all(line.startswith(f"offsite-event {mark} {{") for line in lines)
    child = child_of(done.stdout, mark, Phase.FAILED)
    assert child.report is not None
    assert child.report.artifact is None
    assert isinstance(child.report.last, Failed)
    assert isinstance(outcome(child, NOW), Failure)


def test_a_failed_pod_cannot_forge_a_success_even_with_its_mark() -> None:
    mark = new_mark()
    log = FORGED.replace("offsite-event ", f"offsite-event {mark} ")
    failed = child_of(log, mark, Phase.FAILED)
    assert failed.report is not None
    assert failed.report.artifact is not None
    assert outcome(failed, NOW) == Failure("StepFailed", "it ended")
    status = JobStatus()
    assert status.model_copy(update=reported_updates(status, failed)) == status
