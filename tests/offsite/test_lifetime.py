"""How a process with torch begins and ends."""

import gc
import subprocess
import sys

import pytest

from offsite.process.lifetime import leave, uncollected

PROGRAM = """
import atexit, sys
from offsite.process.lifetime import leave
import torch
class Slow:
    def __del__(self):
        print("let go of")
sys.slow = Slow()
atexit.register(print, "what was registered")
print("what was printed", end=", ")
leave(3)
"""
COMMAND = [sys.executable, "-E", "-c", PROGRAM]
"""Whatever the environment says of buffers."""


def test_it_ends_at_once_when_all_is_written() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "what was printed, what was registered\n"


def test_a_closed_pipe_is_not_a_failure() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 3


def test_without_torch_it_ends_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(SystemExit) as ending:
        leave(4)
    assert ending.value.code == 4


@pytest.mark.parametrize("before", [True, False])
def test_imports_are_not_searched_for_garbage(before: bool) -> None:
    collected = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is before
    finally:
        (gc.enable if collected else gc.disable)()
