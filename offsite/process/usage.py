"""Resource usage of a process."""

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the peak memory of this process in bytes.

    On Linux it reads `/proc` (proc(5), VmHWM): getrusage's value survives `exec`, so a process
    would inherit the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
