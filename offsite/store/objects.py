"""The interface of an object store: small objects by key.

An object is at most as large as a shard, so it is passed in memory. Stores do not interpret it.
"""

from collections.abc import Iterable
from typing import Protocol

from offsite.errors import BundleError


def too_large(what: object, most: int) -> BundleError:
    """Build the error for an object that is larger than the original can be."""
    return BundleError(
        f"{what} is larger than {most} bytes, so it was changed; ask its author to write it again"
    )


class ObjectStore(Protocol):
    """Objects by key; keys are plain names joined by `/`.

    A store must be picklable: worker processes that seal and open shards use it.
    """

    def put(self, key: str, content: bytes) -> None:
        """Write an object atomically, replacing one with the same key.

        Raises:
            NotAllowedError, UnreachableError, StorageError, DiskFullError: The write failed.
        """
        ...

    def get(self, key: str, most: int) -> bytes:
        """Read an object of at most `most` bytes.

        Raises:
            NotFoundError: It does not exist, or is not visible to this account.
            BundleError: It is larger; no more than the limit was read.
            NotAllowedError, UnreachableError, StorageError: The read failed.
        """
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """List the objects below a prefix that ends with `/`: sizes in bytes by key.

        Raises:
            NotAllowedError, UnreachableError, StorageError: The listing failed.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored.

        Raises:
            NotAllowedError, UnreachableError, StorageError: The deletion failed.
        """
        ...

    def uri(self, key: str) -> str:
        """Return the URI of an object or prefix, for messages."""
        ...
