"""The public keys that a party has pinned, one file per peer."""

from dataclasses import dataclass
from pathlib import Path

from offsite.errors import InputError
from offsite.sealing.identity import PublicRing
from offsite.sealing.publicfile import read_public, successor_problem
from offsite.store import disk_errors, write_whole
from offsite.wire import canonical


@dataclass(frozen=True)
class Peers:
    """Pinned peers in a folder. A file's name is the party's own alias for the peer."""

    folder: Path

    def _path(self, alias: str) -> Path:
        return self.folder / f"{alias}.json"

    def _pinned(self, alias: str) -> Path:
        path = self._path(alias)
        if not path.is_file():
            raise InputError(
                f"the keys of {alias} are not pinned; get the public file from {alias}, compare "
                "its fingerprint, and run: offsite peers add FILE"
            )
        return path

    def get(self, alias: str) -> PublicRing:
        """Return the keys of a peer.

        Raises:
            InputError: They are not pinned.
        """
        path = self._pinned(alias)
        with disk_errors(path):
            return read_public(path.read_bytes(), str(path))

    def add(self, content: bytes, source: str, alias: str | None = None) -> PublicRing:
        """Pin the keys of a peer, or replace them by newer ones.

        Raises:
            InputError: It is not a public file, or no pinned key signed it.
        """
        ring = read_public(content, source)
        others = {name: each for name, each in self.all().items() if each.id == ring.id}
        if others and (alias or ring.id) not in others:
            raise InputError(f"{ring.id} is already pinned as {', '.join(others)}")
        path = self._path(alias or ring.id)
        if path.is_file() and (problem := successor_problem(self.get(alias or ring.id), ring)):
            raise InputError(
                f"{source} is not a successor of the keys pinned for {path.stem}: {problem}; "
                "if you are sure, run `offsite peers remove` and compare the fingerprint again"
            )
        write_whole(path, canonical(ring.wire()))
        return ring

    def all(self) -> dict[str, PublicRing]:
        """List the pinned peers by alias."""
        return {path.stem: self.get(path.stem) for path in sorted(self.folder.glob("*.json"))}

    def remove(self, alias: str) -> None:
        """Remove a peer.

        Raises:
            InputError: There is no such peer.
        """
        try:
            self._path(alias).unlink()  # also if the file is damaged
        except FileNotFoundError as error:
            raise InputError(f"no peer {alias} is pinned; see `offsite peers list`") from error
