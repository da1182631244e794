"""Shows the progress of rehearsals on stderr: stdout is for their result."""

from collections.abc import Iterator
from contextlib import contextmanager

from offsite.events import Event, Log, Metric, Monitor
from offsite_cli.event_lines import format_event
from offsite_cli.output import Output, monitored


@contextmanager
def rehearsing() -> Iterator[Monitor]:
    """Provide a monitor that shows events on stderr, figures of single models among them."""
    with monitored(Output.TEXT) as monitor:
        yield monitor.mapped(_aside)


def _aside(event: Event) -> Event:
    return Log(message=format_event(event)) if isinstance(event, Metric) else event
