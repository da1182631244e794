"""How many processors this process may use: more threads than these hinder each other."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def processors(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Count the processors that this process may use: by its affinity and its cgroups' quotas.

    A container with `--cpus=2`, and a pod with a limit, see all processors of their machine; the
    kernel stops them when their threads used up the quota (cgroups(7): cpu.max, cpu.cfs_quota_us).

    Args:
        cgroups: where the control groups are mounted.
        own: the groups of this process.
    """
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([affine or 1, *_quotas(cgroups, own)]))


def _quotas(cgroups: Path, own: Path) -> Iterator[int]:
    """Read the quotas of the process's own group and of those above it, in whole processors."""
    with suppress(OSError, ValueError):
        for line in own.read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = cgroups / controllers if controllers else cgroups
            group = root / path.strip("/")
            # in a container the path may be the host's, which is not mounted here
            for folder in (root, group, *group.parents):
                if folder.is_relative_to(root):
                    yield from _quota(folder)


def _quota(group: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text("ascii").split()
        yield _whole(int(quota), int(period))  # "max" is no number, and no quota
    with suppress(OSError, ValueError):
        quota, period = (
            (group / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period")
        )
        if int(quota) > 0:
            yield _whole(int(quota), int(period))


def _whole(quota: int, period: int) -> int:
    """Round up: half a processor more is waited for less than one that is unused."""
    return -(-quota // period)
