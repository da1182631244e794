"""One line of text for each event of a stage. `output` escapes and writes it."""

from typing import Any

from offsite.events import (
    Artifact,
    Done,
    Egress,
    Event,
    Failed,
    Metric,
    PrivacyReport,
    Progress,
    Rates,
    Record,
    Started,
)


def format_event(event: Event) -> str:
    """Format an event in one line."""
    match event:
        case Progress():
            return _format_progress(event)
        case Metric() | Rates():
            return _format_measured(event)
        case PrivacyReport():
            return f"differential privacy: {format_privacy(event)}"
        case Artifact():
            size = event.size_bytes / 1e6
            return f"{event.name}: {size:.1f} MB at {event.uri} ({event.digest})"
        case Egress():
            return _format_egress(event.report)
        case Started() | Failed() | Done():
            return _format_bound(event)
        case Record():
            return "the record of this run is kept; `offsite report` shows it"
    return event.message


def _format_bound(event: Started | Failed | Done) -> str:
    """Format an event that begins or ends a stage."""
    match event:
        case Started():
            return f"inputs: {', '.join(f'{key} {each}' for key, each in event.inputs.items())}"
        case Failed():
            return f"failed ({event.reason}): {event.message}"
    return "done"


def _format_measured(event: Metric | Rates) -> str:
    if isinstance(event, Rates):
        return f"{event.setting}: rates at {len(event.points)} thresholds"
    return f"{event.setting}: {event.name} {_format_value(event)}"


def _format_value(event: Metric) -> str:
    value = "not a finite number" if event.value is None else f"{event.value:.4g}"
    gain = ""
    if event.gain is not None:
        gain = f"; {event.gain:+.4g} against {event.over}{_format_interval(event.gain_interval)}"
    return f"{value}{_format_interval(event.interval)}{gain}"


def _format_interval(interval: tuple[float, float] | None) -> str:
    return f" (95 % interval {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""


def format_privacy(event: PrivacyReport) -> str:
    """Format the differential privacy of an adapter in one line."""
    return (
        f"ε {event.epsilon:.4g}, δ {event.delta:.2g} for each {event.unit} (sampling rate "
        f"{event.sampling_rate:g}, {event.steps} steps, noise multiplier "
        f"{event.noise_multiplier:.4g})"
    )


def _format_egress(report: dict[str, Any]) -> str:
    size, tensors = report["sizeBytes"] / 1e6, sum(each["count"] for each in report["tensors"])
    return (
        f"{report['bundle']}: an {report['kind']} for {report['recipient']}, {tensors} tensors, "
        f"{size:.1f} MB ({report['digest']})"
    )


def _format_progress(event: Progress) -> str:
    steps = f"{event.phase}: {event.step}/{event.total_steps}"
    left = f"{event.eta_seconds or 0:.0f} s left"
    return "  ".join(filter(None, [steps, format_facts(event), left]))


def format_facts(event: Progress) -> str:
    """Format the loss and the rate of a phase; empty: neither is known."""
    facts = [
        f"loss {event.loss:.3f}" if event.loss is not None else "",
        f"{event.tokens_per_second:.0f} tok/s" if event.tokens_per_second else "",
        f"{event.images_per_second:.1f} images/s" if event.images_per_second else "",
    ]
    return "  ".join(fact for fact in facts if fact)
