"""From a URI and the environment to a store."""

from collections.abc import Mapping

from offsite.errors import InputError
from offsite.store.disk import local_path
from offsite.store.folder import FolderStore
from offsite.store.objects import ObjectStore
from offsite.store.s3 import s3_store


def open_store(uri: str, prefix: str, environ: Mapping[str, str]) -> ObjectStore:
    """Open the store of a `file:///path` URI, a plain path, or `s3://bucket`.

    Args:
        prefix: of the environment's variables that say more of an S3 store.

    Raises:
        InputError: it is of another kind, or the environment lacks something.
    """
    if uri.startswith("s3://"):
        return s3_store(uri, prefix, environ)
    # file://name/… would be a folder of another machine
    if not uri or ("://" in uri and not uri.startswith("file:///")):
        raise InputError(
            f"the exchange {uri!r} is not known; use file:///path/of/a/folder or s3://bucket"
        )
    return FolderStore(local_path(uri).expanduser().resolve())
