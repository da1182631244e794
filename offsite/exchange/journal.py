"""What a push has done so far, so that one that was killed goes on where it was.

The bundle's key stands in it wrapped to the sender itself; without the private key it says nothing.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from offsite.sealing import Ring, Shard, new_bundle_key
from offsite.sealing.parts import Base64, Digest, Part, bytes_of, canonical, text_of
from offsite.sealing.primitives import Keyset, TinkError, decrypt, encrypt, public_keyset
from offsite.store import disk_errors, write_whole

_CONTEXT = b"offsite journal 1"


class Start(Part):
    """The first line of a journal."""

    bundle: str
    manifest: Digest
    place: str
    to: str
    key: Base64


@dataclass(frozen=True)
class Journal:
    """The journal of one push. Its lines after the first are shards, each noted before it is sent.

    So whatever this push has in the exchange is in a line; what of it arrived, the exchange says.
    """

    path: Path
    start: Start
    key: Keyset

    @classmethod
    def resume(
        cls, path: Path, ring: Ring, place: str, manifest: str
    ) -> tuple["Journal", list[Shard]]:
        """Go on with the journal of the same push, or begin a new one; gives it and its shards.

        Args:
            place: where it sends to: exchange, peer, name and sequence.
        """
        found = cls._read(path, ring)
        if found and (found[0].start.manifest, found[0].start.place) == (manifest, place):
            # written anew: its last line may have been torn
            lines = [canonical(part.wire()) + b"\n" for part in (found[0].start, *found[1])]
            write_whole(path, b"".join(lines), mode=0o600)
            return found
        key, entry = new_bundle_key(), ring.newest("encrypt")
        wrapped = encrypt(public_keyset(entry.keyset), canonical(key), _CONTEXT)
        start = Start(
            bundle=secrets.token_hex(16),
            manifest=manifest,
            place=place,
            to=entry.id,
            key=text_of(wrapped),
        )
        write_whole(path, canonical(start.wire()) + b"\n", mode=0o600)
        return cls(path, start, key), []

    @classmethod
    def _read(cls, path: Path, ring: Ring) -> tuple["Journal", list[Shard]] | None:
        """Read a journal; its last line may be torn, and what makes no sense is no journal."""
        if not path.is_file():
            return None
        with disk_errors(path):
            first, *rest = path.read_bytes().split(b"\n")
        try:
            start = Start.model_validate_json(first)
            entry = ring.decrypting(start.to)
            if entry is None:
                return None
            key: Keyset = json.loads(decrypt(entry.keyset, bytes_of(start.key), _CONTEXT))
            noted = [Shard.model_validate_json(line) for line in rest[:-1]]
        except (ValidationError, TinkError, ValueError):
            return None
        return cls(path, start, key), noted

    def add(self, shard: Shard) -> None:
        """Note that a shard is about to be sent; several processes may do so at once."""
        with disk_errors(self.path), self.path.open("ab") as file:
            file.write(canonical(shard.wire()) + b"\n")

    def end(self) -> None:
        """Delete the journal: its bundle is published."""
        self.path.unlink(missing_ok=True)
