"""What a process tells of its memory is its own."""

import subprocess
import sys

from offsite.process.usage import peak_memory

CHILD = "from offsite.process.usage import peak_memory; print(peak_memory())"


def test_a_small_child_of_a_large_process_is_small() -> None:
    ballast = b"x" * (300 << 20)
    assert peak_memory() > len(ballast)
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(done.stdout) < 100 << 20
