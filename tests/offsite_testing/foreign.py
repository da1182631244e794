"""Text that a peer, a store, a log, a data set or the name of a file may hold, and its traces."""

import unicodedata

FORGED = "FORGED"
"""What begins a line of its own in hostile text, and may in no output."""
HOSTILE = (
    "x\x1b[31mEVIL\x1b[2J\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x07\x9b2J\x90q\x9c\b\b\x7f\0\ttab"
    f"\r{FORGED} cr\n{FORGED} lf\x0b{FORGED} vt\x0c{FORGED} ff\x85{FORGED} nel\u2028{FORGED} ls"
    '\noffsite-event {"event": "done"}\noffsite: error: FORGED'
    "\u202erl\u2066iso\u2069\u200b\u200f\ufeff\u3164\U000e0041 [red]markup[/red] [bold"
)


def assert_harmless(output: str) -> None:
    """Check that raw output does to a terminal nothing but show text, line by line."""
    for each in set(output) - {"\n"}:
        kind = unicodedata.category(each)
        assert each.isprintable(), f"{each!r} ({kind}) in {output!r}"
        assert each != "\u3164", f"{each!r} in {output!r}"
    for line in output.split("\n"):
        assert not line.lstrip().startswith((FORGED, "offsite-event", "offsite: error: FORGED"))


def assert_drawn_harmless(output: str) -> None:
    """Check the same of what is drawn on a terminal, with sequences of the drawing's own."""
    assert "\x1b]" not in output
    assert "\x1b[31m" not in output
    assert "\x1b[2J" not in output
    for each in "\x9b\x90\x07\x08\x7f\0\u202e\u2066\u200b\u2028\x85":
        assert each not in output, repr(each)
