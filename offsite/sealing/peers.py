"""The public keys that a party has pinned, one file a peer."""

from dataclasses import dataclass
from pathlib import Path

from offsite.errors import InputError
from offsite.sealing.identity import PublicRing
from offsite.sealing.publicfile import read_public, successor_problem
from offsite.store import disk_errors, write_whole
from offsite.wire import canonical


@dataclass(frozen=True)
class Peers:
    """Pinned peers, in a folder. A peer's name there is the party's own alias for it."""

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
        """Find the keys of a peer.

        Raises:
            InputError: nobody pinned them.
        """
        path = self._pinned(alias)
        with disk_errors(path):
            return read_public(path.read_bytes(), str(path))

    def add(self, content: bytes, source: str, alias: str | None = None) -> PublicRing:
        """Pin the keys of a peer, or take newer ones in their place.

        Raises:
            InputError: it is no public file, or no key that was pinned before signed it.
        """
        ring = read_public(content, source)
        others = {name: each for name, each in self.all().items() if each.id == ring.id}
        if others and (alias or ring.id) not in others:
            raise InputError(f"{ring.id} is pinned already, as {', '.join(others)}")
        path = self._path(alias or ring.id)
        if path.is_file() and (problem := successor_problem(self.get(alias or ring.id), ring)):
            raise InputError(
                f"{source} does not follow the keys that are pinned for {path.stem}: {problem}; "
                "if you are sure, run `offsite peers remove` and compare the fingerprint anew"
            )
        write_whole(path, canonical(ring.wire()))
        return ring

    def all(self) -> dict[str, PublicRing]:
        """List the pinned peers by alias."""
        return {path.stem: self.get(path.stem) for path in sorted(self.folder.glob("*.json"))}

    def remove(self, alias: str) -> None:
        """Forget a peer.

        Raises:
            InputError: there is no such peer.
        """
        # whatever is in it: what cannot be read is removed so
        self._pinned(alias).unlink()
