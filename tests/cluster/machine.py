"""What a node asks of a machine. Looked at before the builds, which take long."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cluster import cgroups

_BRIDGES = Path("/proc/sys/net/bridge")
_FILESYSTEMS = Path("/proc/filesystems")


def check() -> None:
    """See that a node can run here.

    Raises:
        RuntimeError: it cannot; the message says what to do.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise RuntimeError(
            "a node of the test cluster needs Linux, and root: run this as root, "
            "or name another cluster, such as one of kind, in OFFSITE_E2E_KUBECONFIG"
        )
    cgroups.hierarchies()
    for module in ("br_netfilter", "overlay"):
        if not _is_there(module):
            _load(module)


def _is_there(module: str) -> bool:
    """Look for what a module brings, which many kernels have built in."""
    if module == "br_netfilter":
        return _BRIDGES.exists()
    return module in _FILESYSTEMS.read_text(encoding="ascii").split()


def _load(module: str) -> None:
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if modprobe:
        subprocess.run([modprobe, module], capture_output=True)
    if not _is_there(module):
        raise RuntimeError(
            f"a node of the test cluster needs {module}, which this kernel neither has nor loads: "
            f"install the modules of this kernel, and see what `modprobe {module}` says"
        )
