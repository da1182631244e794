"""Seals and opens single shards with Tink's streaming AEAD (AES-256-GCM in segments of 1 MiB).

A shard is bound to its place: bundle, file, number and count are associated data, so shards cannot
be swapped, reordered, left out or moved to another bundle.
"""

import io
from typing import BinaryIO

from offsite.errors import BundleError
from offsite.sealing.primitives import STREAM, Keyset, TinkError, new_keyset, stream
from offsite.wire import canonical

SHARD_SIZE = 64 << 20
"""Plaintext bytes per shard; the last one of a file has fewer."""
_CHUNK = 1 << 20


def new_bundle_key() -> Keyset:
    """Generate the key of a bundle."""
    return new_keyset(STREAM)


def shard_count(size: int) -> int:
    """Return the number of shards for a file of `size` bytes; an empty file has one."""
    return max(1, -(-size // SHARD_SIZE))


def place_of(bundle: str, file: int, number: int, count: int) -> bytes:
    """Encode the place of a shard as associated data."""
    return canonical({"bundle": bundle, "count": count, "file": file, "number": number})


class _Kept(io.BytesIO):
    """A buffer that survives the stream that closes it."""

    def close(self) -> None:  # noqa: V105 - the stream calls it
        pass


def seal_shard(key: Keyset, source: BinaryIO, size: int, place: bytes) -> bytes:
    """Seal the next `size` bytes of a file.

    Raises:
        BundleError: The file ended early.
    """
    sealed = _Kept()
    with stream(key).new_encrypting_stream(sealed, place) as sink:
        left = size
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                raise BundleError("a file became shorter while it was sealed; run this again")
            sink.write(chunk)
            left -= len(chunk)
    return sealed.getvalue()


def open_shard(key: Keyset, sealed: bytes, place: bytes, target: BinaryIO) -> int:
    """Open a shard and write its plaintext; returns the number of bytes.

    Raises:
        BundleError: It was changed, or belongs to another place.
    """
    written = 0
    try:
        with stream(key).new_decrypting_stream(io.BytesIO(sealed), place) as opened:
            while chunk := opened.read(_CHUNK):
                target.write(chunk)
                written += len(chunk)
    except TinkError as error:
        raise BundleError(
            "cannot open a shard: it was changed, or belongs to another place; ask its sender to "
            "send "
            "it again"
        ) from error
    return written
