"""Buildah with a storage of its own below the cache: no other containers of this machine are seen.

Whoever changes something holds `lock()`: two test runs then build nothing twice.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from cluster.processes import BOUND, BOUND_TREE, run
from offsite_testing.gobuild import cache


def folder() -> Path:
    """Name the folder for what images are built in, and for their archives."""
    return cache() / "images"


def lock() -> FileLock:
    """Give the lock of that folder; who holds it may take it again."""
    folder().mkdir(parents=True, exist_ok=True)
    return FileLock(folder() / "lock", is_singleton=True)


def buildah(*arguments: str) -> str:
    """Call buildah, and give what it printed.

    Raises:
        RuntimeError: it is not installed, or it failed.
    """
    where = ("--root", str(folder() / "storage"), "--runroot", str(folder() / "run"))
    return call("buildah", *where, "--storage-driver", "overlay", *arguments, bound=BOUND_TREE)


def stored(name: str) -> str:
    """Name an image of this storage as skopeo does."""
    return f"containers-storage:[overlay@{folder() / 'storage'}+{folder() / 'run'}]{name}"


def names() -> set[str]:
    """List the images in the storage, each with its tag."""
    listed = buildah("images", "--format", "{{.Name}}:{{.Tag}}")
    return {line for line in listed.split() if "<none>" not in line}


def keep_only(name: str) -> None:
    """Remove the other tags of an image, and the layers that nothing needs any more."""
    repository = name.rpartition(":")[0]
    old = [other for other in names() if other.rpartition(":")[0] == repository and other != name]
    if old:
        buildah("rmi", *old)
    prune()


def prune() -> None:
    """Remove what a build that was killed left: containers, their mounts and their layers."""
    buildah("rm", "--all")
    buildah("rmi", "--prune")


def call(program: str, *arguments: str, bound: Sequence[str] = BOUND) -> str:
    """Call a program that makes images, and give what it printed.

    Raises:
        RuntimeError: it is not installed, or it failed.
    """
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise RuntimeError(f"{program} is not there: install the Debian package of that name")
    return run([found, *arguments], bound=bound)
