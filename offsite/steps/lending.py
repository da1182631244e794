"""Lends a part of a private S3 store to the step that trains: its job's folder, and its inputs.

    python -m offsite lend --task FILE --to FOLDER

That is an init container's work: it alone has the account, runs our own image, and leaves the keys
of a session for the container that trains, which may run another one.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from offsite.api import Use
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.open import s3_store
from offsite.store.private_store import SETTINGS
from offsite.store.sessions import Part, lend, session_policy
from offsite.task import WORK, BaseTask


def lent(task: BaseTask, environ: Mapping[str, str]) -> Credentials:
    """Get the keys of a session for the work of a job.

    Args:
        environ: describes the private store, and its account.

    Raises:
        InputError: the store lends nothing, or a location cannot be lent.
        NotAllowedError, UnreachableError: the store refuses, or does not answer.
    """
    own = Part.of(f"{task.private.rstrip('/')}/{WORK}/{task.uid}", folder=True, writes=True)
    read = [
        Part.of(place, folder=use is Use.READ_MODEL)
        for _, place, use in task.job.spec.references()
        if use.reads and place.startswith("s3://")
    ]
    store = s3_store(f"s3://{own.bucket}", SETTINGS, environ)
    return lend(store, session_policy([own, *read]))


def lend_to(task: BaseTask, environ: Mapping[str, str], folder: Path) -> None:
    """Leave the keys of a session in a folder, and the authority of the store beside them.

    Raises:
        OffsiteError: as `lent`.
    """
    write_credentials(folder / "credentials.json", lent(task, environ))
    if authority := environ.get(f"{SETTINGS}_CA"):
        shutil.copyfile(authority, folder / "ca.crt")
