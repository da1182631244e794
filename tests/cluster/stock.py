"""The images of this checkout as a containerd keeps them, ready to run: a node begins with these.

Their layers are gigabytes, and nobody writes to them again: what a pod changes in one is copied up
first. So a node has links to the same files, and only the databases are its own.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from cluster.buildah import call, folder, lock
from cluster.layout import blobs, hand_over
from cluster.processes import BOUND, run

_BLOBS = "io.containerd.content.v1.content/blobs/sha256"
_DATABASES = "*/*.db"


@contextmanager
def running_containerd(root: Path) -> Iterator[list[str]]:
    """Run a containerd that starts no pods while the `with` block runs.

    Args:
        root: what it keeps.

    Returns:
        how its client is called.
    """
    with TemporaryDirectory() as scratch:
        settings = Path(scratch) / "config.toml"
        settings.write_text(
            f'version = 2\nroot = "{root}"\nstate = "{scratch}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[plugins."io.containerd.internal.v1.opt"]\npath = "{scratch}/opt"\n'
            f'[grpc]\naddress = "{scratch}/socket"\n',
            encoding="utf-8",
        )
        command = [*BOUND, "containerd", "--config", str(settings), "--log-level", "error"]
        with subprocess.Popen(command) as running:
            try:
                client = ["ctr", "--address", f"{scratch}/socket"]
                call(*client, "--connect-timeout", "30s", "version")
                yield client
            finally:
                running.terminate()


def restock(names: Sequence[str]) -> None:
    """Have images in stock that were built; each takes the place of an older one of its name.

    Raises:
        RuntimeError: containerd does not take one.
    """
    with lock(), _lock():
        with running_containerd(place()) as ctr:
            for name in names:
                hand_over(name, ctr)
        for blob in (blob for name in names for blob in blobs(name)):
            _share(blob, place() / _BLOBS / blob.name)


def give(target: Path) -> None:
    """Have a containerd that is not there yet begin with what is in stock.

    Args:
        target: what it is to keep. On another disk than the stock it begins with nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock():
        if place().exists():
            try:
                run(["cp", "--archive", "--link", "--one-file-system", str(place()), str(target)])
            except RuntimeError:
                shutil.rmtree(target, ignore_errors=True)
        for database in target.glob(_DATABASES):
            _own(database)


def _share(blob: Path, copy: Path) -> None:
    """Keep a blob of a layout and the stock's copy of it once."""
    if copy.exists() and not copy.samefile(blob):
        copy.unlink()
        copy.hardlink_to(blob)


def _own(file: Path) -> None:
    """Put a copy in the place of a link."""
    copy = file.with_suffix(".own")
    shutil.copy2(file, copy)
    copy.replace(file)


def place() -> Path:
    """Name the folder of what is in stock."""
    return folder() / "stock"


def _lock() -> FileLock:
    folder().mkdir(parents=True, exist_ok=True)
    return FileLock(folder() / "stock.lock")
