"""A base image made of Debian packages, for machines that reach no registry of containers."""

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.buildah import buildah, call, folder, keep_only, lock, names
from cluster.processes import BOUND_TREE

_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
_WITHOUT = ("var/cache/apt", "var/lib/apt/lists", "var/log")
"""What the bootstrap leaves behind that no container needs."""


def base_name() -> str:
    """Name the base image. Its tag is the digest of how it is made."""
    recipe = hashlib.sha256(repr((_SUITE, _PACKAGES, _WITHOUT)).encode())
    return f"localhost/offsite-base:{recipe.hexdigest()[:12]}"


def base_image() -> str:
    """Make the base image, unless it is there; give its name.

    Raises:
        RuntimeError: it cannot be made.
    """
    name = base_name()
    with lock():
        if name not in names():
            _make(name)
            keep_only(name)
    return name


def _make(name: str) -> None:
    with TemporaryDirectory(dir=folder()) as scratch:
        root = Path(scratch) / "root"  # a folder in there has the mode that a root needs
        options = ("--variant=minbase", f"--include={','.join(_PACKAGES)}")
        call("debootstrap", *options, _SUITE, str(root), bound=BOUND_TREE)
        for unneeded in _WITHOUT:
            _empty(root / unneeded)
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, str(root), "/")
        buildah("commit", "--quiet", "--rm", container, name)


def _empty(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()
