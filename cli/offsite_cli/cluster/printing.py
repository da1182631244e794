"""Print jobs as kubectl does: as a table, as JSON, YAML or names, or as the page of one job."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from offsite.events import PrivacyReport, parse_event
from offsite.text import as_json
from offsite_cli.cluster.job_status import (
    Resource,
    age_of,
    explanation_of,
    format_duration,
    name_of,
    percent_of,
    state_of,
    status_of,
)
from offsite_cli.event_lines import format_privacy
from offsite_cli.output import show_json, show_text, show_yaml
from offsite_cli.tables import align, section

_COLUMNS = ["NAME", "STAGE", "STATE", "PROGRESS", "PEER", "AGE"]
_WIDE_COLUMNS = [*_COLUMNS, "ATTEMPTS", "ENGINE", "ARTIFACT", "REASON", "MESSAGE"]
_NONE = "-"


class OutputFormat(StrEnum):
    """The values of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="Output format.")]


def show_jobs(form: OutputFormat, resource: Resource, *, all_namespaces: bool = False) -> None:
    """Write a job, or a list of jobs, to stdout.

    Args:
        all_namespaces: whether a table gets the column NAMESPACE.
    """
    items = resource.get("items", [resource])
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        show_content(form, _without_managed_fields(resource))
    elif form is OutputFormat.NAME:
        for each in items:
            show_text(f"offsitejob.offsite-tuning.dev/{name_of(each)}")
    else:
        show_text(*align(_table(items, form, all_namespaces=all_namespaces)))


def show_content(form: OutputFormat, content: Any) -> None:
    """Write plain content as JSON or YAML."""
    (show_json if form is OutputFormat.JSON else show_yaml)(content)


def table_row(job: Resource, now: datetime) -> list[str]:
    """Return the row of a job in a table."""
    spec, percent = job["spec"], percent_of(job)
    progress = _NONE if percent is None else f"{percent:.0f}%"
    peer, stage = str(spec.get("peer", "")), str(spec.get("stage", ""))
    return [name_of(job), stage, state_of(job), progress, peer, age_of(job, now)]


def wide_row(job: Resource, now: datetime) -> list[str]:
    """Return the row of a job in a wide table."""
    status, why = status_of(job), explanation_of(job)
    artifact = (status.get("artifact") or {}).get("name") or _NONE
    columns = [str(status.get("attempts", 0)), str(status.get("engine") or _NONE), artifact]
    return [*table_row(job, now), *columns, why.reason or _NONE, why.message or _NONE]


def describe(job: Resource, now: datetime) -> list[str]:
    """Return the page of one job: state, reason, progress, metrics and conditions."""
    status, why = status_of(job), explanation_of(job)
    fields = {
        "Name": name_of(job),
        "Stage": f"{job['spec'].get('stage')}, peer {job['spec'].get('peer')}",
        "State": f"{state_of(job)} ({why.reason}), {age_of(job, now)} old",
        "Why": why.message,
        "Step": _step(status),
        "Progress": _progress(status.get("progress") or {}),
        "Attempts": str(status["attempts"]) if status.get("attempts") else "",
        "Privacy": _privacy(status.get("privacy") or {}),
        "Egress": _egress(name_of(job), status.get("egress") or {}),
        "Approved": _approval(status.get("approval") or {}),
        "Artifact": _artifact(status.get("artifact") or {}),
    }
    lines = align([[f"{name}:", text] for name, text in fields.items() if text])
    metrics, conditions = _metrics(status), _conditions(status)
    return [*lines, *section("Metrics:", metrics), *section("Conditions:", conditions)]


def _table(
    items: Sequence[Resource], form: OutputFormat, *, all_namespaces: bool
) -> list[list[str]]:
    narrow = form is OutputFormat.TABLE
    make: Callable[[Resource, datetime], list[str]] = table_row if narrow else wide_row
    now = datetime.now(UTC)
    rows = [list(_COLUMNS if narrow else _WIDE_COLUMNS), *(make(each, now) for each in items)]
    if not all_namespaces:
        return rows
    namespaces = ["NAMESPACE", *(str(each["metadata"].get("namespace")) for each in items)]
    return [[namespace, *cells] for namespace, cells in zip(namespaces, rows, strict=True)]


def _without_managed_fields(resource: Resource) -> Resource:
    """Drop `metadata.managedFields`, as kubectl does."""
    if "items" in resource:
        return {**resource, "items": [_without_managed_fields(each) for each in resource["items"]]}
    metadata = {k: v for k, v in resource["metadata"].items() if k != "managedFields"}
    return {**resource, "metadata": metadata}


def _step(status: Any) -> str:
    # only the step Work may run on an engine other than a plain Job
    engine = status.get("engine") if status.get("step") == "Work" else "Job"
    child = f"{engine or ''} {status['jobName']}".strip() if status.get("jobName") else None
    return ", as ".join(filter(None, [status.get("step"), child]))


def _progress(progress: Any) -> str:
    if not progress:
        return ""
    left, loss = progress.get("etaSeconds"), progress.get("loss")
    parts = [
        f"{progress.get('phase') or 'step'} {progress.get('step')}/{progress.get('totalSteps')}",
        "" if progress.get("percent") is None else f"{float(progress['percent']):.0f}%",
        "" if loss is None else f"loss {float(loss):.4g}",
        "" if left is None else f"{format_duration(float(left))} left",
    ]
    return ", ".join(filter(None, parts))


def _privacy(privacy: Any) -> str:
    """Return the bound in words; empty if the adapter has none."""
    event = parse_event(as_json({**privacy, "event": "privacy"}))
    return format_privacy(event) if isinstance(event, PrivacyReport) else ""


def _egress(name: str, report: Any) -> str:
    if not report:
        return ""
    return f"{report.get('digest')}, shown by: offsite egress {name}"


def _approval(approval: Any) -> str:
    return f"by {approval.get('approver')}: {approval.get('name')}" if approval else ""


def _artifact(artifact: Any) -> str:
    if not artifact:
        return ""
    size = float(artifact.get("sizeBytes") or 0) / 1e6
    name, uri, digest = (artifact.get(key) for key in ("name", "uri", "digest"))
    return f"{name} ({size:.1f} MB) at {uri}, {digest}"


def _metrics(status: Any) -> Iterable[list[str]]:
    for each in status.get("metrics") or []:
        found = [str(each.get(key) or "") for key in ("setting", "name", "value")]
        yield [*found, _interval(each.get("interval")), _gain(each), str(each.get("text") or "")]


def _gain(metric: Any) -> str:
    if metric.get("gain") is None:
        return ""
    interval = _interval(metric.get("gainInterval"))
    over = f"{metric['gain']} against {metric.get('over')}"
    return f"{over}, {interval}" if interval else over


def _interval(bounds: Any) -> str:
    return " to ".join(map(str, bounds or ()))


def _conditions(status: Any) -> Iterable[list[str]]:
    for each in status.get("conditions") or []:
        yield [str(each.get(key) or "") for key in ("type", "status", "reason", "message")]
