"""The page of one run, as text."""

from collections.abc import Iterator

from offsite.events import Metric
from offsite.runs import Run
from offsite_cli.cluster.job_status import format_duration
from offsite_cli.event_lines import format_event, format_privacy
from offsite_cli.tables import align, section


def page(run: Run) -> list[str]:
    """Format the record of a run."""
    facts = [[f"{name}:", text] for name, text in _facts(run) if text]
    inputs = [[name, digest] for name, digest in run.inputs.items()]
    keys = [[name, fingerprint] for name, fingerprint in run.fingerprints.items()]
    return [
        *align(facts),
        *section("Figures:", map(_figure, run.metrics)),
        *section("Phases:", _phases(run)),
        *section("Inputs:", inputs),
        *section("Keys:", keys),
    ]


def format_value(metric: Metric) -> str:
    """Format the value of a figure, with its interval if it has one."""
    return _with_interval(metric.value, metric.interval)


def format_size(size: int) -> str:
    """Format a number of bytes."""
    return f"{size / 1e6:.1f} MB"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    attempts = f", {run.attempts} attempts" if run.attempts > 1 else ""
    yield "Run", run.id
    yield "Job", f"{run.job}, {run.stage} of {run.party} with peer {run.peer}"
    yield "Outcome", f"{run.outcome}{attempts}"
    yield "Why", f"{run.error.reason}: {run.error.message}" if run.error else ""
    yield "Started", f"{run.started:%Y-%m-%d %H:%M:%S}Z"
    yield "Took", format_duration(run.duration)
    yield "Memory", format_size(run.peak_memory_bytes) if run.peak_memory_bytes else ""
    yield "Privacy", format_privacy(run.privacy) if run.privacy else ""
    if run.egress is not None:
        report = run.egress
        size = format_size(report.size_bytes)
        yield "Egress", f"an {report.kind} for {report.recipient}, {size}, {report.digest}"
    yield "Result", format_event(run.artifact) if run.artifact else ""
    yield "Versions", ", ".join(f"{name} {each}" for name, each in run.versions.items())


def _figure(metric: Metric) -> list[str]:
    return [metric.setting, metric.name, format_value(metric), _gain(metric), metric.text or ""]


def _gain(metric: Metric) -> str:
    if metric.gain is None:
        return ""
    return f"gain {_with_interval(metric.gain, metric.gain_interval)} over {metric.over}"


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    shown = "not finite" if value is None else f"{value:.4g}"
    return f"{shown} ({interval[0]:.4g} to {interval[1]:.4g})" if interval else shown


def _phases(run: Run) -> Iterator[list[str]]:
    for phase, seconds in run.seconds.items():
        points = run.curves.get(phase, ())
        loss = f"loss {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else ""
        yield [phase, f"{seconds:.1f} s", loss]
