"""Escapes text of other parties so that it is safe to show.

Text of a peer, a store, a log, a data set or a file name may move a terminal's cursor, fill its
clipboard, reverse the reading direction, be invisible, or fake a line. All text is escaped here
before it is shown.
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
"""Characters that Unicode ignores by default, although Python counts them as printable."""


def printable(text: str) -> str:
    r"""Escape a text to one line, with escapes (`\x1b`, `\n`, `\u202e`) for what has no glyph.

    These include control characters, line ends, tabs, direction marks, zero-width characters, and
    lone surrogates from file names that are not UTF-8. Existing escapes stay unchanged.
    """
    if text.isascii() and text.isprintable():
        return text
    seen = (each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], "".join(seen))


def as_json(value: object, indent: int | None = None) -> str:
    """Write JSON in printable ASCII.

    Raises:
        ValueError: A number is infinite or NaN.
    """
    # the only control character that JSON does not escape
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


class _Guarded:
    """A text stream that escapes each line."""

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
    """Wrap a stream so that each line written to it is escaped."""
    return stream if isinstance(stream, _Guarded) else cast(TextIO, _Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream behind a guarded one, for drawing on a terminal."""
    return stream.unguarded if isinstance(stream, _Guarded) else stream


def guard_output() -> None:
    """Escape all further output of this process, including libraries and tracebacks."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)
    sys.excepthook = lambda kind, error, trace: _print_traceback(error)
    threading.excepthook = lambda args: _print_traceback(args.exc_value)


def _print_traceback(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        print("\n".join(traceback_of(error)), file=sys.stderr, flush=True)


def traceback_of(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback. A message is one line, whatever it quotes."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from traceback_of(before)
        yield from ("", "That led to this:", "")
    yield "Traceback (most recent call last):"
    for frame in traceback.format_tb(error.__traceback__):
        yield from frame.rstrip("\n").split("\n")
    yield printable(f"{type(error).__qualname__}: {error}")
