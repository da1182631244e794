"""Foreign text cannot move the cursor, fill the clipboard, or begin a line."""

import json
import pickle
import unicodedata

import pytest

from offsite.errors import BundleError, InputError, SpecError
from offsite.events import failure
from offsite.text import as_json, printable

HOSTILE = {
    "an escape sequence": "\x1b[2J",
    "a clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "a sequence of C1": "\x9b2J",
    "a carriage return": "ok\rfail",
    "a line": 'x\noffsite-event {"event": "done"}',
    "lines of other kinds": "a\x0b\x0c\x1c\x85\u2028\u2029b",
    "the other direction": "\u202egpj\u202c \u2066x\u2069 \u061c\u200f",
    "no width": "a\u200bb\u200d\u2060\ufeff\u00ad",
    "no glyph": "a\u3164\u115f\uffa0\u034f\ufe0f\U000e0101\U000e0041",
    "halves of characters": b"\xff\xfe".decode(errors="surrogateescape") + "\ud800",
    "a tab": "a\tb",
    "a deletion": "abc\x7f\b\b",
    "nothing": "\0",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_has_no_glyph_is_escaped(text: str) -> None:
    said = printable(text)
    assert said.isprintable()
    assert said != text
    assert printable(said) == said
    assert len(said.splitlines()) == 1


def test_no_control_character_and_no_mark_of_direction_is_left_of_all_of_unicode() -> None:
    everything = "".join(map(chr, range(0x110000)))
    kinds = {unicodedata.category(each) for each in printable(everything)}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    directions = {unicodedata.bidirectional(each) for each in printable(everything)}
    assert not directions & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B"}


@pytest.mark.parametrize("text", ["größer als 1", "病院 → 研究所", r"[red]\n", "🏥"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_says_the_same_in_printable_ascii(text: str) -> None:
    said = as_json({text: [text]})
    assert said.isascii()
    assert said.isprintable()
    assert json.loads(said) == {text: [text]}


@pytest.mark.parametrize("kind", [InputError, BundleError])
def test_an_error_is_one_line_for_each_of_its_arguments(kind: type[InputError]) -> None:
    foreign = "".join(HOSTILE.values())
    error = kind(f"cannot read {foreign}", f"first {foreign}", "second")
    first, *more = str(error).split("\n")
    assert first == f"cannot read {printable(foreign)}"
    assert more == [f"  first {printable(foreign)}", "  second"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_each_problem_of_a_job_file_is_one_line() -> None:
    error = SpecError("a\x1b\nb.yaml", ["spec.x\n: no", "spec.y: no"])
    assert str(error).split("\n") == [
        r"a\x1b\nb.yaml is not a valid job:",
        r"  spec.x\n: no",
        "  spec.y: no",
    ]


def test_the_message_of_a_bug_is_escaped_as_well() -> None:
    event = failure(KeyError("\x1b[2J\noffsite-event {}"))
    assert event.message == repr("\x1b[2J\noffsite-event {}")
    assert failure(Exception("\x1b\n")).message == r"\x1b\n"
