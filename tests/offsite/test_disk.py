"""Files that are there whole, or as they were before."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offsite.errors import InputError, StorageError
from offsite.store import write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from offsite.store import write_whole
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]), b"new" * 100)
"""


@pytest.fixture(params=["nameless", "named"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, on a file system that has files without a name, and on one that has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return tmp_path


def test_a_file_takes_the_place_of_an_older_one(folder: Path) -> None:
    path = folder / "inner/file"
    for content in (b"old", b"", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_older_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(5, "input/output error")

    path = folder / "file"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="input/output error"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(folder.iterdir()) == [path]


def test_many_at_once_do_not_meet(folder: Path) -> None:
    path, contents = folder / "file", [bytes([n]) * 50_000 for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents * 4))
    assert path.read_bytes() in contents
    assert list(folder.iterdir()) == [path]


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_file(folder: Path) -> None:
    with pytest.raises(InputError, match="is a folder; name a file"):
        write_whole(folder, b"new")
