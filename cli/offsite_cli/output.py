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
    Egress,
    Event,
    Log,
    Metric,
    Monitor,
    PrivacyReport,
    Progress,
    failure,
)
from offsite.process.signals import stopping
from offsite.text import as_json, guarded, printable, unguarded
from offsite_cli.event_lines import format_event, format_facts

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
        self._bars.update(
            self._tasks[phase], completed=done, total=total, facts=format_facts(event)
        )


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
