"""Gives the training step limited access to a private S3 store: its job's folder and its inputs.

    python -m offsite lend --task FILE --to FOLDER

This runs in an init container. Only that container holds the account, and it runs the operator's
image; the training container, which may run another image, gets session credentials.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from offsite.api import Use
from offsite.errors import OffsiteError
from offsite.rows import ROW_SUFFIXES, begins_with_image
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.open import s3_store
from offsite.store.private_store import SETTINGS, PrivateStore
from offsite.store.sessions import Part, lend, session_policy
from offsite.task import WORK, BaseTask

_LINE = 64 << 10
"""How much of JSON lines is read to see whether they name images, in bytes."""


def lent(task: BaseTask, environ: Mapping[str, str]) -> Credentials:
    """Request session credentials for the work of a job.

    Args:
        environ: Settings and account of the private store.

    Raises:
        InputError: The store supports no sessions, or a location cannot be shared.
        NotAllowedError, UnreachableError: The store refuses, or does not answer.
    """
    own = Part.of(f"{task.private.rstrip('/')}/{WORK}/{task.uid}", folder=True, writes=True)
    read = [
        _part(place, use, environ)
        for _, place, use in task.job.spec.references()
        if use.reads and place.startswith("s3://")
    ]
    store = s3_store(f"s3://{own.bucket}", SETTINGS, environ)
    return lend(store, session_policy([own, *read]))


def _part(place: str, use: Use, environ: Mapping[str, str]) -> Part:
    """Return what a location includes: of JSON lines that name images, the folder with them."""
    folder = use is Use.READ_MODEL or place.endswith("/")
    if not folder and place.lower().endswith(ROW_SUFFIXES):
        with suppress(OffsiteError):  # the work reports what is missing
            if begins_with_image(PrivateStore(Path(), None, environ).head(place, _LINE)):
                return Part.of(place.rpartition("/")[0], folder=True)
    return Part.of(place, folder=folder)


def lend_to(task: BaseTask, environ: Mapping[str, str], folder: Path) -> None:
    """Write session credentials, and the store's CA, to a folder.

    Raises:
        OffsiteError: As for `lent`.
    """
    write_credentials(folder / "credentials.json", lent(task, environ))
    if authority := environ.get(f"{SETTINGS}_CA"):
        shutil.copyfile(authority, folder / "ca.crt")
