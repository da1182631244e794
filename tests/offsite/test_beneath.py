"""Reading a folder that an attacker changes: no link is followed, and every read is bounded."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offsite.errors import InputError
from offsite.store.beneath import (
    add_below,
    files_below,
    folder_below,
    read_below,
    remove_below,
    write_below,
)
from offsite.store.handed import put_below, take_below

SECRET = b"the keys"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with `a/b/file`, beside a secret."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/file").write_bytes(SECRET)
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/file").write_bytes(b"own")
    return tmp_path / "root"


def relink(path: Path, target: Path) -> None:
    """Put a link in the place of something."""
    path.rename(path.with_name("moved"))
    path.symlink_to(target)


USES: dict[str, Callable[[Path, Path], Any]] = {
    "read": lambda root, _: read_below(root, "a/b/file", 100),
    "write": lambda root, _: write_below(root, "a/b/new", b"x"),
    "add": lambda root, _: add_below(root, "a/b/new", b"x"),
    "list": lambda root, _: files_below(root, "a/b"),
    "take": lambda root, free: take_below(root, "a/b", free / "copy", 100),
    "put": lambda root, free: put_below(free, root, "a/b/new", lambda: None),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("part", ["a", "a/b"])
def test_no_folder_on_the_way_may_be_a_link(
    tmp_path: Path, root: Path, part: str, use: str
) -> None:
    free = tmp_path / "free"
    free.mkdir()
    relink(root / part, tmp_path / "keys")
    with pytest.raises(InputError, match="not a regular file"):
        USES[use](root, free)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["file"]
    assert list(free.rglob("*.partial")) == []


@pytest.mark.parametrize("name", ["..", "a/../../keys", "./a", "a/."])
def test_no_part_of_a_name_leads_up(root: Path, name: str) -> None:
    with pytest.raises(InputError), folder_below(root, name):
        pass


def make_link(path: Path, keys: Path) -> None:
    path.symlink_to(keys / "file")


def make_pipe(path: Path, _keys: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, _keys: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("made", [make_link, make_pipe, make_folder])
def test_what_is_no_regular_file_is_neither_read_nor_taken(
    tmp_path: Path, root: Path, made: Callable[[Path, Path], None]
) -> None:
    (root / "a/b/file").unlink()
    made(root / "a/b/file", tmp_path / "keys")
    with pytest.raises(InputError, match="not a regular file"):
        read_below(root, "a/b/file", 100)
    with pytest.raises(InputError, match="not a regular file"):
        take_below(root, "a/b", tmp_path / "copy", 100)


def test_a_link_that_is_replaced_or_removed_leaves_what_it_leads_to(
    tmp_path: Path, root: Path
) -> None:
    changes: tuple[Callable[[], None], ...] = (
        lambda: write_below(root, "a/b/file", b"new"),
        lambda: remove_below(root, "a/b/file"),
    )
    for change in changes:
        (root / "a/b/file").unlink()
        make_link(root / "a/b/file", tmp_path / "keys")
        change()
        assert (tmp_path / "keys/file").read_bytes() == SECRET
        assert not (root / "a/b/file").is_symlink()
        (root / "a/b/file").write_bytes(b"own")


def test_a_folder_is_removed_and_not_where_a_link_in_it_leads(tmp_path: Path, root: Path) -> None:
    (root / "a/b/out").symlink_to(tmp_path / "keys")
    remove_below(root, "a")
    assert not (root / "a").exists()
    assert (tmp_path / "keys/file").read_bytes() == SECRET


def test_more_bytes_than_allowed_are_not_copied(tmp_path: Path, root: Path) -> None:
    (root / "a/b/more").write_bytes(b"x" * 97)
    take_below(root, "a/b", tmp_path / "all", 100)
    with pytest.raises(InputError, match="larger than the allowed 96 bytes"):
        take_below(root, "a/b", tmp_path / "copy", 99)
    with pytest.raises(InputError, match="larger than the allowed 2 bytes"):
        read_below(root, "a/b/file", 2)
    os.truncate(root / "a/b/more", 1 << 40)
    with pytest.raises(InputError, match="larger than the"):
        take_below(root, "a/b", tmp_path / "endless", 1 << 30)
    assert sum(path.stat().st_blocks for path in (tmp_path / "endless").iterdir()) * 512 < 1 << 20


def test_a_file_that_grows_while_it_is_copied_is_refused(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def growing(source: int, size: int) -> bytes:
        with (root / "a/b/file").open("ab") as file:
            file.write(b"more")
        return real(source, min(size, 4))

    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(InputError, match="larger than the allowed 64 bytes"):
        take_below(root, "a/b", tmp_path / "copy", 64)


def test_more_files_than_any_result_has_are_not_copied(tmp_path: Path, root: Path) -> None:
    for number in range(10_000):
        (root / f"a/b/{number}").touch()
    with pytest.raises(InputError, match="more than 10000 files"):
        take_below(root, "a/b", tmp_path / "copy", 1 << 20)
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_file_swapped_for_a_link_at_any_moment_is_never_followed(
    tmp_path: Path, root: Path
) -> None:
    """Somebody swaps it as fast as they can while it is read again and again."""
    stop, place = threading.Event(), root / "a/b/file"

    def swap() -> None:
        for number in range(1_000_000):
            if stop.is_set():
                return
            other = root / f"a/{number % 2}"
            other.unlink(missing_ok=True)
            if number % 2:
                other.symlink_to(tmp_path / "keys/file")
            else:
                other.write_bytes(b"own")
            os.rename(other, place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        found = set()
        for _ in range(2_000):
            try:
                found.add(read_below(root, "a/b/file", 100))
            except InputError:
                found.add(b"refused")
    finally:
        stop.set()
        swapper.join()
    assert found <= {b"own", b"refused"}
    assert SECRET not in found


def test_what_is_put_appears_whole(tmp_path: Path, root: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "one").write_bytes(b"1")
    (own / "two").write_bytes(b"2")
    seen = list[bool]()
    put_below(own, root, "a/new", lambda: seen.append((root / "a/new").exists()))
    assert seen == [False, False]
    assert sorted(files_below(root, "a/new")) == ["one", "two"]
