"""Jobs as rows of a table, and as the page of one job."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from offsite.text import printable
from offsite_cli.cluster.facts import (
    Resource,
    age_of,
    duration,
    name_of,
    percent_of,
    state_of,
    status_of,
    why,
)

HEAD = ["NAME", "STAGE", "STATE", "PROGRESS", "PEER", "AGE"]
WIDE = [*HEAD, "ATTEMPTS", "ENGINE", "ARTIFACT", "REASON", "MESSAGE"]
_NOTHING = "-"


def row(job: Resource, now: datetime) -> list[str]:
    """Make the row of a job, as `HEAD` has it."""
    spec, percent = job["spec"], percent_of(job)
    shown = _NOTHING if percent is None else f"{percent:.0f}%"
    peer, stage = str(spec.get("peer", "")), str(spec.get("stage", ""))
    return [name_of(job), stage, state_of(job), shown, peer, age_of(job, now)]


def wide_row(job: Resource, now: datetime) -> list[str]:
    """Make the row of a job, as `WIDE` has it."""
    status, told = status_of(job), why(job)
    artifact = (status.get("artifact") or {}).get("name") or _NOTHING
    facts = [str(status.get("attempts", 0)), str(status.get("engine") or _NOTHING), artifact]
    return [*row(job, now), *facts, told.reason or _NOTHING, told.message or _NOTHING]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows in columns, as kubectl does."""
    shown = [[printable(cell) for cell in cells] for cells in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in shown
    ]


def page(job: Resource, now: datetime) -> list[str]:
    """Describe one job: where it stands, why, and what it has brought."""
    status, told = status_of(job), why(job)
    facts = {
        "Name": name_of(job),
        "Stage": f"{job['spec'].get('stage')}, peer {job['spec'].get('peer')}",
        "State": f"{state_of(job)} ({told.reason}), {age_of(job, now)} old",
        "Why": told.message,
        "Step": _step(status),
        "Progress": _progress(status.get("progress") or {}),
        "Attempts": str(status["attempts"]) if status.get("attempts") else "",
        "Artifact": _artifact(status.get("artifact") or {}),
    }
    lines = aligned([[f"{name}:", text] for name, text in facts.items() if text])
    metrics, conditions = _metrics(status), _conditions(status)
    return [*lines, *_table("Metrics:", metrics), *_table("Conditions:", conditions)]


def _step(status: Any) -> str:
    engine = status.get("engine") if status.get("step") == "Work" else "Job"  # the others need none
    child = f"{engine or ''} {status['jobName']}".strip() if status.get("jobName") else None
    return ", as ".join(filter(None, [status.get("step"), child]))


def _progress(progress: Any) -> str:
    if not progress:
        return ""
    left, loss = progress.get("etaSeconds"), progress.get("loss")
    facts = [
        f"{progress.get('phase') or 'step'} {progress.get('step')}/{progress.get('totalSteps')}",
        "" if progress.get("percent") is None else f"{float(progress['percent']):.0f}%",
        "" if loss is None else f"loss {float(loss):.4g}",
        "" if left is None else f"{duration(float(left))} to go",
    ]
    return ", ".join(fact for fact in facts if fact)


def _artifact(artifact: Any) -> str:
    if not artifact:
        return ""
    size = float(artifact.get("sizeBytes") or 0) / 1e6
    name, uri, digest = (artifact.get(key) for key in ("name", "uri", "digest"))
    return f"{name} ({size:.1f} MB) at {uri}, {digest}"


def _metrics(status: Any) -> Iterable[list[str]]:
    for each in status.get("metrics") or []:
        yield [str(each.get(key) or "") for key in ("setting", "name", "value", "text")]


def _conditions(status: Any) -> Iterable[list[str]]:
    for each in status.get("conditions") or []:
        yield [str(each.get(key) or "") for key in ("type", "status", "reason", "message")]


def _table(title: str, rows: Iterable[list[str]]) -> list[str]:
    found = list(rows)
    return [title, *(f"  {line}" for line in aligned(found))] if found else []
