"""Text that somebody else wrote, made safe to show.

A peer, a store, a log, a data set or the name of a file may hold what moves a terminal's cursor,
fills its clipboard, turns the direction of reading, cannot be seen, or begins a line of its own.
Whatever shows text escapes it here.
"""

import json
import re

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
