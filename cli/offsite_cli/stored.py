"""The private store of a cluster, as a command on this machine reads it: without the cluster."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from offsite.errors import InputError
from offsite.store import disk_errors, local_path
from offsite.store.artifact_store import ArtifactStore, artifact_store_of
from offsite.store.private_store import PrivateStore
from offsite.task import PRIVATE_PATTERN


@contextmanager
def open_private(place: str) -> Iterator[ArtifactStore]:
    """Open a private store; in S3 with the settings `OFFSITE_PRIVATE_…` of the environment.

    Raises:
        InputError: The address is not valid, or a folder does not exist, which is not an empty
            store.
    """
    if not re.match(PRIVATE_PATTERN, place):
        raise InputError(
            f"{place!r} is not the address of a private store, which is s3://bucket/prefix or "
            "file:///folder; see private.uri of the chart"
        )
    if not place.startswith("s3://"):
        check_folder(local_path(place), "--private")
    with TemporaryDirectory() as copies:
        yield artifact_store_of(place, PrivateStore(Path(copies), None, os.environ))


def check_folder(folder: Path, *options: str) -> None:
    """Check that a folder exists.

    Args:
        options: Those that may name it.

    Raises:
        InputError: It does not exist.
    """
    with disk_errors(folder):
        if not folder.is_dir():
            raise InputError(
                f"there is no folder {folder}; set {' or '.join(options)} to another one"
            )
