"""Keeps results in a folder by the digest of all that decides them, so no run is done twice."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from offsite.errors import InputError
from offsite.store import disk_errors, locked, new_folder, privately, write_whole
from offsite.wire import Part, canonical, digest_of

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Kept:
    """The results of rehearsals: `<folder>/<kind>/<digest>.json`."""

    folder: Path

    @contextmanager
    def open(self) -> Iterator[None]:
        """Lock out other processes, and let nobody else read what is written.

        Raises:
            OffsiteError: another process rehearses in this folder.
        """
        busy = f"another process rehearses in {self.folder}; wait for it, or name another folder"
        with privately(), new_folder(self.folder), locked(self.folder / ".lock", busy):
            yield

    def read(self, kind: type[P], digest: str) -> P | None:
        """Read a result; None: there is none.

        Raises:
            InputError: it is damaged.
        """
        path = self._path(kind, digest)
        if not path.exists():
            return None
        try:
            with disk_errors(path):
                return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise InputError(
                f"{path} is damaged, or was written by another version of offsite; delete it to "
                "measure again"
            ) from error

    def once(self, kind: type[P], facts: Mapping[str, Any], make: Callable[[str], P]) -> P:
        """Read the result of some facts, or make and keep it.

        Args:
            facts: everything that decides it, as JSON.
            make: is given the digest of the facts.
        """
        digest = digest_of(canonical(facts))
        found = self.read(kind, digest)
        if found is None:
            found = make(digest)
            write_whole(self._path(kind, digest), canonical(found.wire()))
        return found

    def forget(self, kind: type[Part], digest: str) -> None:
        """Delete a result."""
        self._path(kind, digest).unlink(missing_ok=True)

    @property
    def emulators(self) -> Path:
        """Folder of the emulators, which are large and can be made again."""
        return self.folder / "emulators"

    @contextmanager
    def scratch(self, digest: str) -> Iterator[Path]:
        """Provide a folder for work in progress, which is deleted when the `with` block succeeds.

        An interrupted run finds its checkpoint there.
        """
        folder = self.folder / "work" / _short(digest)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others are there
            folder.parent.rmdir()

    def _path(self, kind: type[Part], digest: str) -> Path:
        return self.folder / kind.__name__.lower() / f"{_short(digest)}.json"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:32]
