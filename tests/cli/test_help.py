"""The help is quick, and says what the commands themselves say."""

import os
import shlex
import subprocess
import sys

import pytest

from offsite_cli.commands import Commands, load

HEAVY = {"kubernetes", "minio", "numpy", "offsite.api", "rich", "ruamel", "tink", "torch"}
CLUSTER = [place for place, _ in Commands.table.values() if place.startswith("cluster.")]


def imported(code: str) -> set[str]:
    """Run code in a process of its own; name the heavy packages that it imported."""
    told = f"finally:\n    print(*({HEAVY | {'pydantic'}} & sys.modules.keys()), file=sys.stderr)"
    command = [sys.executable, "-c", f"import sys\ntry:\n    {code}\n{told}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stderr.split())


def test_help_imports_nothing_heavy() -> None:
    help_ = "sys.argv = ['offsite', '--help']; from offsite_cli.app import main; main()"
    assert imported(help_) == set()


def test_commands_for_a_cluster_import_nothing_heavy_before_they_run() -> None:
    commands = f"from offsite_cli.commands import load; [load('x', place) for place in {CLUSTER}]"
    # Typer itself imports pydantic for options that are no flags
    assert imported(commands) - {"pydantic"} == set()


@pytest.mark.parametrize("name", Commands.table)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    place, line = Commands.table[name]
    assert load(name, place).get_short_help_str(1000) == line


def completed(*words: str) -> list[str]:
    """Complete the last word, as kubectl asks for it."""
    code = "from offsite_cli.app import complete; complete()"
    command = [sys.executable, "-c", code, *words]
    # no cluster: what cannot be asked for is passed over in silence
    environ = {**os.environ, "KUBECONFIG": "/nowhere", "HOME": "/nowhere"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("re", ["report", "reject", "resume", "retry", ":4"]),
        ("submit t", ["tune", ":4"]),
        ("submit tune --ran", ["--rank", ":4"]),
        ("get -o w", ["wide", ":4"]),
        ("get ''", [":4"]),
    ],
)
def test_the_shell_completes(words: str, found: list[str]) -> None:
    assert completed(*shlex.split(words)) == found
