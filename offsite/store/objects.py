"""The interface of an object store: small objects by key.

An object is at most a shard, so it is handed over in memory. Nothing here knows what it holds.
"""

from collections.abc import Iterable
from typing import Protocol

from offsite.errors import BundleError


def too_large(what: object, most: int) -> BundleError:
    """Say that an object is larger than what was put there can be."""
    return BundleError(
        f"{what} is larger than {most} bytes, so it was changed; ask its author to write it again"
    )


class ObjectStore(Protocol):
    """Objects by key; keys are plain names joined by `/`.

    A store can be pickled: the workers that seal and open shards talk to it themselves.
    """

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whole or not at all, in place of one of the same key.

        Raises:
            NotAllowedError, UnreachableError, StorageError, DiskFullError: it was not taken.
        """
        ...

    def get(self, key: str, most: int) -> bytes:
        """Read an object of at most `most` bytes.

        Raises:
            NotFoundError: there is none, as far as this account may know.
            BundleError: it is larger; no more than that was read.
            NotAllowedError, UnreachableError, StorageError: it was not given.
        """
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the objects whose key begins with a prefix, which ends with `/`: sizes in bytes.

        Raises:
            NotAllowedError, UnreachableError, StorageError: it was not told.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is not there is deleted already.

        Raises:
            NotAllowedError, UnreachableError, StorageError: it was refused.
        """
        ...

    def uri(self, key: str) -> str:
        """Name an object, or what begins with a prefix, for people."""
        ...
