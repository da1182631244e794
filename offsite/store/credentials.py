"""The credentials file of an S3 account, readable by its owner only.

Keys are not taken from the command line or from variables, which other processes can read.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offsite.errors import InputError
from offsite.store.disk import write_whole
from offsite.store.private import read_private


@dataclass(frozen=True)
class Credentials:
    """The keys of an account."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    """Third key of a session."""


def read_credentials(path: Path, what: str = "credentials file") -> Credentials:
    """Read a credentials file.

    Args:
        what: Name of the file for errors.

    Raises:
        InputError: The file is missing, readable by others, or not a credentials file.
        StorageError: The disk failed.
    """
    return _parsed(path, read_private(path, what))


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Write a credentials file, readable by its owner only.

    Raises:
        StorageError: The disk failed.
    """
    known = {"accessKey": credentials.access_key, "secretKey": credentials.secret_key}
    if credentials.session_token is not None:
        known["sessionToken"] = credentials.session_token
    write_whole(path, json.dumps(known).encode() + b"\n")


def drawn_credentials(path: Path, account: str) -> Credentials:
    """Generate an account's keys into a file, or reuse those of an interrupted attempt.

    Raises:
        InputError: The file has another account's keys.
    """
    if path.exists():
        return own_credentials(path, account)
    keys = Credentials(account, secrets.token_urlsafe(30))
    write_credentials(path, keys)
    return keys


def own_credentials(path: Path, account: str) -> Credentials:
    """Read the credentials file of an account.

    Raises:
        InputError: The file has another account's keys.
    """
    keys = read_credentials(path)
    if keys.access_key != account:
        raise InputError(f"{path} has the keys of another account; move it away")
    return keys


def _parsed(path: Path, content: bytes) -> Credentials:
    # drop the cause: the parser's error contains the text, and so the secret
    try:
        known: Any = json.loads(content)
    except ValueError:
        known = None
    keys = known if isinstance(known, dict) else {}
    access, secret = keys.get("accessKey"), keys.get("secretKey")
    session = keys.get("sessionToken")
    whole = all(isinstance(each, str) and each for each in (access, secret))
    if not (whole and (session is None or isinstance(session, str))):
        raise InputError(
            f"{path} is not a credentials file; its format is "
            f'{{"accessKey": "…", "secretKey": "…"}}'
        )
    return Credentials(str(access), str(secret), session)
