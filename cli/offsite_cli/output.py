"""Write to the terminal. No other module of the command line does.

Results go to stdout. Everything else goes to stderr: progress as a live bar on a terminal, or as a
line every few seconds elsewhere, and messages with the prefix `offsite:`, in lower case and without
a full stop. With `--output json` every event is one JSON line on stdout.

All text is escaped, since it may come from a peer, a store, a log, a data set or a file name.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from offsite.errors import OffsiteError
from offsite.events import (
    Artifact,
    Done,
    Egress,
    Event,
    Failed,
    Log,
    Metric,
    Monitor,
    PrivacyReport,
    Progress,
    Rates,
    Record,
    Started,
    failure,
)
from offsite.process.signals import stopping
from offsite.text import as_json, guarded, printable, unguarded

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as ProgressBars
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 5.0


class Output(StrEnum):
    """The values of `-o` for results."""

    TEXT = "text"
    JSON = "json"


def show_text(*lines: str) -> None:
    """Write a result to stdout, one line for each argument."""
    for line in lines:
        print(printable(line), flush=True)


def show_error(error: str | OffsiteError) -> None:
    """Write an error to stderr: one line, or one for each argument of an `OffsiteError`."""
    message = str(error) if isinstance(error, OffsiteError) else printable(error)
    print(f"offsite: error: {message}", file=sys.stderr)


def show_info(message: str) -> None:
    """Write a message to stderr that is neither a result nor an error."""
    print(f"offsite: {printable(message)}", file=sys.stderr)


def screen(stream: TextIO | None = None) -> "Console":
    """Return a console for tables and bars that interprets no markup in text.

    Args:
        stream: None: standard output.
    """
    from rich.console import Console

    return Console(file=unguarded(stream or sys.stdout), markup=False, highlight=False, emoji=False)


@contextmanager
def event_printer(output: Output) -> Iterator[Callable[[Event], None]]:
    """Provide a function that prints events, as text with progress bars or as JSON lines."""
    if output is Output.JSON:
        yield show_event
        return
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBars

    columns = (
        "{task.description}",
        BarColumn(),
        "{task.percentage:>3.0f}%",
        "{task.fields[facts]}",
    )
    shown = [TextColumn(c, markup=False) if isinstance(c, str) else c for c in columns]
    console = screen(sys.stderr)
    with ProgressBars(*shown, TimeRemainingColumn(), console=console) as bars, _guarded():
        yield _Bars(bars).show


@contextmanager
def _guarded() -> Iterator[None]:
    """Escape what is printed while bars are shown; rich would interpret colour sequences in it."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (guarded(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def monitored(output: Output) -> Iterator[Monitor]:
    """Provide a monitor that prints events and stops on signals; an exception becomes an event."""
    with event_printer(output) as emit, stopping() as stop:
        try:
            yield Monitor(emit, stop)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # readers rely on the last event, also after a bug
            emit(failure(error))
            raise


def show_json(value: object) -> None:
    """Write a result to stdout as indented JSON."""
    print(as_json(value, indent=2))


def show_yaml(value: object) -> None:
    """Write a result to stdout as YAML."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096  # never fold text
    yaml.allow_unicode = False  # noqa: V101 - it reads it
    yaml.representer.add_representer(str, _quoted)
    yaml.dump(value, sys.stdout)


def _quoted(representer: Any, text: str) -> Any:
    """Write unprintable characters as escapes, for which YAML needs double quotes."""
    style = None if text == printable(text) else '"'
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style)


def show_json_line(value: object) -> None:
    """Write a result to stdout as one line of JSON."""
    print(as_json(value), flush=True)


def show_event(event: Event) -> None:
    """Write an event to stdout as one line of JSON."""
    show_json_line(event.wire())


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
    return "  ".join(filter(None, [steps, _facts(event), left]))


def _facts(event: Progress) -> str:
    facts = [
        f"loss {event.loss:.3f}" if event.loss is not None else "",
        f"{event.tokens_per_second:.0f} tok/s" if event.tokens_per_second else "",
        f"{event.images_per_second:.1f} images/s" if event.images_per_second else "",
    ]
    return "  ".join(fact for fact in facts if fact)


class _Bars:
    """A live bar for each phase, on a terminal."""

    def __init__(self, bars: "ProgressBars") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Log):
            self._bars.console.print(f"offsite: {printable(event.message)}")
        elif isinstance(event, Metric | PrivacyReport | Egress | Artifact):
            show_text(format_event(event))

    def _advance(self, event: Progress) -> None:
        phase, done, total = event.phase or "", event.step, event.total_steps
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(printable(phase), facts="", total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total, facts=_facts(event))


class _Lines:
    """A line every few seconds, where there is no terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Log):
            show_info(event.message)
        elif isinstance(event, Metric | PrivacyReport | Egress | Artifact):
            show_text(format_event(event))

    def _advance(self, event: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            show_info(format_event(event))
