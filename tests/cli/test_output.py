"""All that the command line writes goes through one module, which escapes it."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import offsite_cli
from offsite.errors import InputError
from offsite.events import Artifact, Log, Metric, Progress
from offsite_cli import output
from offsite_cli.output import (
    Output,
    screen,
    show_error,
    show_info,
    show_json,
    show_text,
    show_yaml,
)
from offsite_testing.foreign import HOSTILE, assert_drawn_harmless, assert_harmless

ROOT = Path(offsite_cli.__file__).parent
WRITES = {"print", "pprint", "echo", "secho", "Console", "stdout", "stderr"}
"""Names of what writes to a terminal: functions, methods, and the streams of `sys`."""
FILES = {
    "output.py": WRITES,
    "demo/report.py": {"print"},
    "frontier/table.py": {"print"},
    "rehearsal/table.py": {"print"},
}
"""What may be used where: tables are drawn on `output.screen`, which reads no markup."""


def used(tree: ast.AST) -> set[str]:
    found = [each for each in ast.walk(tree) if isinstance(each, ast.Attribute)]
    streams = {
        each.attr for each in found if isinstance(each.value, ast.Name) and each.value.id == "sys"
    }
    calls = [each.func for each in ast.walk(tree) if isinstance(each, ast.Call)]
    names = {each.id for each in calls if isinstance(each, ast.Name)}
    return streams | names | {each.attr for each in calls if isinstance(each, ast.Attribute)}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.name)
def test_no_command_writes_past_the_one_module(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if "__main__" in name:
        return
    assert used(ast.parse(path.read_text())) & WRITES <= FILES.get(name, set())


def test_whatever_is_written_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show_text(HOSTILE, "second")
    show_error(HOSTILE)
    show_info(HOSTILE)
    show_error(InputError(HOSTILE, HOSTILE))
    output.show_event(Log(message=HOSTILE))
    output.show_json_line({HOSTILE: [HOSTILE]})
    written = capsys.readouterr()
    assert_harmless(written.out)
    assert_harmless(written.err)
    assert [len(each.splitlines()) for each in written] == [4, 4]


@pytest.mark.parametrize("value", [HOSTILE, "größer", "a: b", "12", "", " a", "a\n  b\n", "\x85"])
def test_json_and_yaml_say_the_same_and_are_escaped(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"a": value, f"b{value}": [value, 1, None, True]}
    show_json(content)
    said = capsys.readouterr().out
    assert_harmless(said)
    assert json.loads(said) == content
    show_yaml(content)
    said = capsys.readouterr().out
    assert_harmless(said)
    assert YAML(typ="safe", pure=True).load(said) == content


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal_show_no_sequence_but_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    with output.event_printer(Output.TEXT) as emit:
        emit(Progress(phase=HOSTILE, step=1, total_steps=2, eta_seconds=1.0))
        emit(Log(message=HOSTILE))
        emit(Metric(name=HOSTILE, setting=HOSTILE, value=1.0))
        emit(Artifact(name=HOSTILE, uri=HOSTILE, digest="", size_bytes=1))
        print(HOSTILE, file=sys.stderr)  # as a library does
    assert sys.stderr is terminal
    assert_drawn_harmless(terminal.getvalue())
    assert "[red]markup[/red]" in terminal.getvalue().replace("\n", "")


def test_a_table_takes_no_markup() -> None:
    terminal = Terminal()
    screen(terminal).print("[red]markup[/red] :boom:")
    assert terminal.getvalue() == "[red]markup[/red] :boom:\n"


def test_also_a_bug_and_a_library_write_nothing_raw() -> None:
    code = (
        "import sys, threading, warnings; from offsite.text import guard_output; guard_output()\n"
        f"hostile = {HOSTILE!r}\n"
        "warnings.warn(hostile)\n"
        "sys.stdout.writelines([hostile, '\\n'])\n"
        "def fail(): raise KeyError(hostile) from Exception(hostile)\n"
        "one = threading.Thread(target=fail); one.start(); one.join()\n"
        "fail()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback (most recent call last):" in done.stderr
    said = done.stderr.decode()
    assert all(each.isprintable() or each == "\n" for each in said + done.stdout.decode())
    tracebacks = said[said.index("Traceback") :]
    assert_harmless(tracebacks)
    assert tracebacks.count("KeyError: ") == 2
