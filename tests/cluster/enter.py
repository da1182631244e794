"""Becomes a node: joins its control groups, then starts its first process in its namespaces.

`python -m cluster.enter FOLDER GROUP bound|detached`. What it starts ends with it; a bound one
ends with the thread that started it.
"""

import ctypes
import os
import signal
import sys

from cluster import cgroups

_PR_SET_PDEATHSIG = 1
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup")


def main() -> None:
    """Join the groups, and become the parent of the node's first process."""
    folder, group, fate = sys.argv[1:]
    if fate == "bound":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(folder)
    cgroups.join(group, os.getpid())
    options = [*_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    first = [sys.executable, "-m", "cluster.supervisor"]
    os.execvp("unshare", ["unshare", *options, *first])


if __name__ == "__main__":
    main()
