"""The journal of a push, from which an interrupted push continues.

It contains the bundle's key, encrypted to the sender itself, so it is useless without the private
key. It is signed, so that a writer of the folder cannot substitute another key.
"""

import json
import secrets
from dataclasses import dataclass

from pydantic import Field, ValidationError

from offsite.errors import BundleError, InputError
from offsite.sealing import Ring, Shard, new_bundle_key
from offsite.sealing.primitives import (
    Keyset,
    TinkError,
    decrypt,
    encrypt,
    public_keyset,
    sign,
    verify,
)
from offsite.sealing.signed import Signed
from offsite.store.artifact_store import ArtifactStore
from offsite.wire import Base64, Digest, bytes_of, canonical, now, text_of

_DOMAIN = b"offsite journal 2\n"


class Start(Signed):
    """The first entry of a journal."""

    domain = _DOMAIN
    bundle: str = Field(pattern=r"^[0-9a-f]{32}$")
    manifest: Digest
    place: str
    to: str
    key: Base64


@dataclass(frozen=True)
class Journal:
    """The journal of one push: a folder with its start, and an empty note for each shard.

    A shard is noted before it is sent, so every shard of this push in the exchange has a note. The
    exchange itself lists which of them arrived.
    """

    artifacts: ArtifactStore
    name: str
    """The folder's name."""
    start: Start
    key: Keyset

    @classmethod
    def resume(
        cls, artifacts: ArtifactStore, name: str, ring: Ring, place: str, manifest: str
    ) -> tuple["Journal", list[Shard]]:
        """Continue the journal of the same push, or start a new one; returns it and its shards.

        Args:
            place: The destination: exchange, peer, name and sequence.

        Raises:
            StorageError: The journal's store is unavailable.
        """
        found = cls._read(artifacts, name, ring)
        if found and (found.start.manifest, found.start.place) == (manifest, place):
            return found, found._noted()
        artifacts.remove(name)
        begun = cls(artifacts, name, *_start(ring, place, manifest))
        artifacts.write(f"{name}/start", canonical(begun.start.wire()))
        return begun, []

    @classmethod
    def _read(cls, artifacts: ArtifactStore, name: str, ring: Ring) -> "Journal | None":
        """Read a journal; None if it is invalid or not signed by us."""
        try:
            content = artifacts.read(f"{name}/start")
        except InputError:  # not a file; replaced by a new journal
            return None
        if content is None:
            return None
        try:
            start = Start.model_validate_json(content)
            signer = ring.public().signer(start.signed_by, now())
            verify(signer.keyset, bytes_of(start.signature), start.signed)
            entry = ring.decrypting(start.to)
            if entry is None:
                return None
            key: Keyset = json.loads(decrypt(entry.keyset, bytes_of(start.key), _DOMAIN))
        except (ValidationError, BundleError, TinkError, ValueError):
            return None
        return cls(artifacts, name, start, key)

    @property
    def _notes(self) -> str:
        """The folder of the notes. It is specific to the key, so leftovers of another push do not
        count.
        """
        return f"{self.name}/{self.start.bundle}"

    def _noted(self) -> list[Shard]:
        found = (_shard_of(label) for label in self.artifacts.names(self._notes))
        return [shard for shard in found if shard is not None]

    def add(self, shard: Shard) -> None:
        """Note that a shard is about to be sent. Safe to call from several processes."""
        self.artifacts.write(f"{self._notes}/{_label_of(shard)}", b"")

    def end(self) -> None:
        """Delete the journal after the bundle is published."""
        self.artifacts.remove(self.name)


def _start(ring: Ring, place: str, manifest: str) -> tuple[Start, Keyset]:
    key, entry, signer = new_bundle_key(), ring.newest("encrypt"), ring.newest("sign")
    wrapped = encrypt(public_keyset(entry.keyset), canonical(key), _DOMAIN)
    bare = Start(
        bundle=secrets.token_hex(16),
        manifest=manifest,
        place=place,
        to=entry.id,
        key=text_of(wrapped),
        signed_by=signer.id,
        signature="",
    )
    signature = text_of(sign(signer.keyset, bare.signed))
    return bare.model_copy(update={"signature": signature}), key


def _label_of(shard: Shard) -> str:
    return f"{shard.file}-{shard.number}-{shard.count}-{shard.size}-{shard.sha256}"


def _shard_of(label: str) -> Shard | None:
    try:
        file, number, count, size, sha256 = label.split("-")
        return Shard(
            file=int(file), number=int(number), count=int(count), size=int(size), sha256=sha256
        )
    except ValueError:  # includes pydantic's ValidationError
        return None
