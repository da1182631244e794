"""Resource usage of a process."""

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Measure the most memory, in bytes, that this process had in use at once so far.

    On Linux from `/proc` (proc(5), VmHWM): what getrusage tells survives `exec`, so a process that
    a larger one started would seem to be as large.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
