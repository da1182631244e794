"""Takes into the status what steps report: progress, figures, and what was published."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from offsite import events
from offsite.events import Event
from offsite.resources import (
    ArtifactStatus,
    EgressReport,
    JobStatus,
    MetricStatus,
    PrivacyStatus,
    ProgressStatus,
)
from offsite_operator.decide.attempts import is_done
from offsite_operator.decide.decision import Decision
from offsite_operator.observe.model import Child
from offsite_operator.observe.step_log import MOST_METRICS, StepReport

T = TypeVar("T", bound=BaseModel)
_REFUSALS = frozenset({"ReleaseRefused", "SuspiciousEmulator"})
"""Reasons of a failed Work step whose figures are kept."""


def with_report(decision: Decision, status: JobStatus, report: Mapping[str, Any]) -> Decision:
    """Record what an attempt has reported, because its log disappears with its pod."""
    after = (decision.status or status).model_copy(update=report)
    return replace(decision, status=None if after == status else after)


def reported_updates(status: JobStatus, child: Child) -> dict[str, Any]:
    """Return the status updates that a child has reported.

    A child that has not succeeded contributes its progress only, and if inspection refused the
    peer's emulator, or the audits its adapter, their figures.
    """
    report = child.report
    if report is None:
        return {}
    at = {"updatedAt": report.progress_at}
    progress: dict[str, Any] = {
        "progress": _read(ProgressStatus, report.progress, at) or status.progress
    }
    if not is_done(child):
        return {**progress, "metrics": _metrics(status, report)} if _refused(report) else progress
    if child.step in ("Report", "Publish"):  # an image that the author chose could report anything
        progress["egress"] = _egress(report.egress) or status.egress
    return {
        **progress,
        "metrics": _metrics(status, report),
        "privacy": _privacy(child) or status.privacy,
        "artifact": _read(ArtifactStatus, report.artifact, {}) or status.artifact,
    }


def _egress(event: events.Egress | None) -> EgressReport | None:
    if event is None:
        return None
    try:
        return EgressReport.model_validate(event.report)
    except ValidationError:
        return None


def _refused(report: StepReport) -> bool:
    return isinstance(report.last, events.Failed) and report.last.reason in _REFUSALS


def _metrics(status: JobStatus, report: StepReport) -> list[MetricStatus]:
    """Add the metrics of a report to those of a status."""
    merged = {(m.name, m.setting): m for m in status.metrics}
    merged |= {(m.name, m.setting): m for m in map(_metric, report.metrics.values()) if m}
    return list(merged.values())[:MOST_METRICS]


def _metric(event: events.Metric) -> MetricStatus | None:
    decimals = {
        "value": _decimal(event.value),
        "interval": _decimals(event.interval),
        "gain": _decimal(event.gain),
        "gainInterval": _decimals(event.gain_interval),
    }
    return _read(MetricStatus, event, decimals)


def _decimal(value: float | None) -> str | None:
    return None if value is None else repr(value)


def _decimals(interval: tuple[float, float] | None) -> list[str] | None:
    return None if interval is None else [repr(bound) for bound in interval]


def _privacy(child: Child) -> PrivacyStatus | None:
    """Return what Publish has checked and sealed; Work may run an image of the job's author."""
    report = child.report if child.step == "Publish" else None
    return _read(PrivacyStatus, report.privacy, {}) if report is not None else None


def _read(kind: type[T], event: Event | None, more: Mapping[str, Any]) -> T | None:
    """Convert an event to a part of the status; None: a value is not allowed in a status."""
    try:
        return kind.model_validate({**event.wire(), **more}) if event is not None else None
    except ValidationError:
        return None
