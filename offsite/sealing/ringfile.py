"""The file with a party's private keys: mode 0600, optionally encrypted with a passphrase.

Argon2id derives the key of a Tink AEAD from the passphrase (RFC 9106, section 4: its second
recommended setting, with more memory).
"""

import json
import secrets
from pathlib import Path
from typing import Literal

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from pydantic import Field, ValidationError

from offsite.errors import InputError
from offsite.sealing.identity import Ring
from offsite.sealing.primitives import TinkError, aead_of
from offsite.store import write_whole
from offsite.store.private import read_private
from offsite.wire import Base64, Part, bytes_of, canonical, text_of

_ASSOCIATED = b"offsite ring 1"


class Protected(Part):
    """A ring encrypted with a passphrase."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    kdf: Literal["argon2id"] = "argon2id"  # noqa: V107 - checked by its type
    salt: Base64
    passes: int = Field(3, ge=1, le=16)
    memory_kib: int = Field(1 << 17, ge=1 << 14, le=1 << 20)
    lanes: int = Field(4, ge=1, le=16)
    ciphertext: Base64

    def key(self, passphrase: str) -> bytes:
        """Derive the 32-byte key."""
        costs = {
            "time_cost": self.passes,
            "memory_cost": self.memory_kib,
            "parallelism": self.lanes,
        }
        secret, salt = passphrase.encode(), bytes_of(self.salt)
        return hash_secret_raw(secret, salt, hash_len=32, type=Type.ID, **costs)


def save_ring(ring: Ring, path: Path, passphrase: str | None = None) -> None:
    """Write a ring, readable by its owner only."""
    plain = canonical(ring.wire())
    if passphrase is not None:
        empty = Protected(salt=text_of(secrets.token_bytes(16)), ciphertext="")
        sealed = aead_of(empty.key(passphrase)).encrypt(plain, _ASSOCIATED)
        plain = canonical(empty.model_copy(update={"ciphertext": text_of(sealed)}).wire())
    write_whole(path, plain)


def load_ring(path: Path, passphrase: str | None = None) -> Ring:
    """Read a ring.

    Raises:
        InputError: It does not exist, others may read it, or the passphrase is wrong or missing.
    """
    content = _content(path)
    try:
        if "kdf" in content:
            content = json.loads(_opened(path, json.dumps(content), passphrase))
        return Ring.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InputError(f"{path} is not a ring of `offsite keys init`") from error


def is_protected(path: Path) -> bool:
    """Return whether a ring is encrypted; False for invalid files, which `load_ring` reports."""
    try:
        return "kdf" in _content(path)
    except InputError:
        return False


def _opened(path: Path, content: str, passphrase: str | None) -> bytes:
    protected = Protected.model_validate_json(content)
    if passphrase is None:
        raise InputError(
            f"{path} is encrypted; set OFFSITE_PASSPHRASE_FILE to a file with its passphrase, or "
            "run this on a terminal"
        )
    try:
        ciphertext = bytes_of(protected.ciphertext)
        return bytes(aead_of(protected.key(passphrase)).decrypt(ciphertext, _ASSOCIATED))
    except (TinkError, HashingError) as error:
        raise InputError(f"the passphrase of {path} is wrong, or the file is damaged") from error


def _content(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise InputError(f"there are no keys at {path}; create them with `offsite keys init`")
    text = read_private(path, "private keys")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a ring of `offsite keys init`") from error
    return content if isinstance(content, dict) else {}
