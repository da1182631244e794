"""Escapes text of other parties so that it is safe to show.

A peer, a store, a log, a data set or the name of a file may hold what moves a terminal's cursor,
fills its clipboard, turns the direction of reading, cannot be seen, or begins a line of its own.
Whatever shows text escapes it here.
"""

import json
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Unicode calls ignorable by default, and Python still calls printable."""


def printable(text: str) -> str:
    r"""Write a text on one line, with escapes (`\x1b`, `\n`, `\u202e`) for what has no glyph.

    Among that are control characters, line ends, tabs, marks of direction and of no width, and
    halves of characters, as names of files have them that are not UTF-8. What was escaped before
    stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    seen = (each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], "".join(seen))


def as_json(value: object, indent: int | None = None) -> str:
    """Write JSON in printable ASCII.

    Raises:
        ValueError: a number is infinite or none.
    """
    # of control characters this one alone has no need of an escape in JSON
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


class _Guarded:
    """A stream of text that escapes what is in a line, whoever writes it."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write("\n".join(printable(line) for line in text.split("\n")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # noqa: V105 - as streams have it
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def guarded(stream: TextIO) -> TextIO:
    """Get a stream that escapes what is in each line that is written to it."""
    return stream if isinstance(stream, _Guarded) else cast(TextIO, _Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """Get the stream behind a guarded one, for what draws on a terminal."""
    return stream.unguarded if isinstance(stream, _Guarded) else stream


def guard_output() -> None:
    """Escape whatever Python code prints from now on in this process, also libraries and bugs."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)
    sys.excepthook = lambda kind, error, trace: _tell_of(error)
    threading.excepthook = lambda told: _tell_of(told.exc_value)


def _tell_of(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        print("\n".join(traceback_of(error)), file=sys.stderr, flush=True)


def traceback_of(error: BaseException) -> Iterator[str]:
    """Write the lines of a traceback. A message is one line, whatever it quotes."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from traceback_of(before)
        yield from ("", "That led to this:", "")
    yield "Traceback (most recent call last):"
    for frame in traceback.format_tb(error.__traceback__):
        yield from frame.rstrip("\n").split("\n")
    yield printable(f"{type(error).__qualname__}: {error}")
