"""Becomes a node: joins its control groups, then starts its first process in its namespaces.

`python -m cluster.enter FOLDER GROUP`. What it starts ends with it.
"""

import os
import sys

from cluster import cgroups

_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup")


def main() -> None:
    """Join the groups, and become the parent of the node's first process."""
    folder, group = sys.argv[1:]
    os.chdir(folder)
    cgroups.join(group, os.getpid())
    options = [*_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    first = [sys.executable, "-m", "cluster.supervisor"]
    os.execvp("unshare", ["unshare", *options, *first])


if __name__ == "__main__":
    main()
