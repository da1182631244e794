"""The steps of a stage, each with a scratch folder of its own, as pods run them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offsite.config import load_job
from offsite.events import Monitor
from offsite.exchange.home import ring_path
from offsite.resources import Step
from offsite.stages.pod import run_work
from offsite.steps.notify import run_notify, run_read_notice
from offsite.steps.pod import Pod
from offsite.steps.run import run_open, run_publish, run_report
from offsite.task import Task, WorkTask, new_task
from offsite.wire import canonical
from offsite_testing.events import Wire, recording
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    TINY,
    Parties,
    distill,
    plug_in,
    ring_of,
    tune,
)

UID = {EMULATOR: "uid-e", ADAPTER: "uid-a", PLUGGED: "uid-p"}


@dataclass
class Pods:
    """Runs steps, each with a scratch folder of its own, as an operator would start them."""

    parties: Parties
    events: list[Wire] = field(default_factory=list)

    def private(self, party: str) -> Path:
        """Where a party keeps what outlives its pods."""
        return self.parties.home(party) / "private"

    def task(self, step: Step, name: str, spec: Mapping[str, Any], **over: Any) -> Task:
        """Write down what a step is to do."""
        path = self.parties.write(name, located(spec, self.parties))
        own = path.parent.name
        peer = HOSPITAL if own == LAB else LAB
        given = {
            "uid": UID[name],
            "party": own,
            "peer_id": peer,
            "private": self.private(own).as_uri(),
            "limits": TINY,
            "job": load_job(path),
        }
        if step != "Work":
            given["public"] = canonical(ring_of(peer).public().wire()).decode()
            given["exchange"] = self.parties.exchange.as_uri()
        if step in ("Open", "Work", "Report", "Publish") and spec["stage"] != "Distill":
            given["envelope"] = self.envelope(spec)
        if step == "Work":
            given["checkpoint_seconds"] = 0.0
        if step == "Publish" and name != PLUGGED:
            given["sequence"] = 1
        return new_task(step=step, **{**given, **over})

    def envelope(self, spec: Mapping[str, Any]) -> str:
        """Find the envelope that an operator would enter."""
        return self.parties.envelope(EMULATOR if spec["stage"] == "Tune" else ADAPTER).digest

    def pod(self, task: Task) -> Pod[Any]:
        """Mount what the step of a task may have; its scratch is empty."""
        scratch = self.parties.root / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        claims = self.parties.root / "claims"
        environ = {"OFFSITE_SCRATCH": str(scratch), "OFFSITE_CLAIMS": str(claims)}
        if not isinstance(task, WorkTask):
            ring = ring_path(self.parties.home(task.party) / "home")
            environ["OFFSITE_RING"] = str(ring)
        return Pod(task, environ)

    def run(self, step: Step, name: str, spec: Mapping[str, Any], **over: Any) -> None:
        """Run one step."""
        pod = self.pod(self.task(step, name, spec, **over))
        steps: dict[str, Any] = {"Open": run_open, "Work": run_work}
        steps |= {"Report": run_report, "Publish": run_publish, "ReadNotice": run_read_notice}
        steps["Notify"] = run_notify
        steps[step](pod, Monitor(recording(self.events)))

    def run_all(self, name: str, spec: Mapping[str, Any]) -> None:
        """Run the steps of a stage."""
        for step in ("Open", "Work", "Publish"):
            self.run(step, name, spec)


def located(spec: Mapping[str, Any], parties: Parties) -> dict[str, Any]:
    """Name everything by where it lies: a pod has no folder that paths are relative to."""
    home = parties.home(HOSPITAL if spec["stage"] == "Tune" else LAB)
    text = json.dumps(spec)
    for name in ("corpus.txt", "shared.jsonl", "private.jsonl", "export"):
        text = text.replace(f'"{name}"}}', f"{json.dumps((home / name).as_uri())}}}")
        text = text.replace(f'"{name}",', f"{json.dumps((home / name).as_uri())},")
    model = json.dumps({"model": (home / "model").as_uri()})[1:-1]
    found: dict[str, Any] = json.loads(text.replace('"model": "model"', model))
    return found


JOBS: dict[str, dict[str, Any]] = {
    EMULATOR: distill(),
    ADAPTER: tune(),
    PLUGGED: plug_in(export={"to": "export"}),
}
"""The three jobs, by their names."""
