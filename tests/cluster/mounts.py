"""What a node sees of the machine's files: all of them, and its own where Kubernetes writes.

Called inside the node's mount namespace, which ends with its processes, and the mounts with it.
"""

import subprocess
from pathlib import Path

from cluster import cgroups

NODE = Path("/run/node")
"""The node's own folder, as the node sees it."""

_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet insists on. It is the whole machine's: the node is shown files that say so."""


def set_up() -> None:
    """Give the node its own folders, control groups and view of the kernel.

    The working directory is the node's folder: still ours when another mount hides its path.
    """
    for name in ("lib", "log"):
        Path("var", name).mkdir(parents=True, exist_ok=True)
        _mount("--bind", f"var/{name}", f"/var/{name}")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    NODE.mkdir()
    _mount("--bind", ".", str(NODE))
    _mount("-t", "sysfs", "sysfs", "/sys")
    _mount_control_groups()
    _answer_for_the_kernel()
    _mount("--make-rshared", "/")  # a kubelet wants it, for volumes that are mounted later


def _mount_control_groups() -> None:
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(cgroups.ROOT))
    for hierarchy in cgroups.hierarchies():
        place = cgroups.mount_point(hierarchy)
        place.mkdir()
        options = f"none,{hierarchy}" if hierarchy.startswith("name=") else hierarchy
        _mount("-t", "cgroup", "-o", options, "cgroup", str(place))
        for controller in hierarchy.split(",") if "," in hierarchy else ():
            (cgroups.ROOT / controller).symlink_to(place.name)


def _answer_for_the_kernel() -> None:
    answers = Path("/run/kernel")
    for name, value in _KERNEL.items():
        answer = answers / name
        answer.parent.mkdir(parents=True, exist_ok=True)
        answer.write_text(value, encoding="ascii")
        _mount("--bind", str(answer), f"/proc/sys/{name}")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", "--no-canonicalize", *arguments], check=True)
