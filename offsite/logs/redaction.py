"""Removes the secrets that a pod knows from what is kept of its log.

No code of offsite prints a secret. A library, or the author of a pod's image, might.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.events import MARK
from offsite.mounts import RING

_HIDDEN = "***"
_SHORTEST = 8
"""Shorter values, such as `true`, are no secrets, and would blacken unrelated text."""
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY$")
_FILES = re.compile(r"^OFFSITE_(\w+_CREDENTIALS|PASSPHRASE_FILE)$")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Redaction:
    """Replaces secrets in lines of text."""

    secrets: frozenset[str]

    def of(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def redaction_of(environ: Mapping[str, str]) -> Redaction:
    """Collect the secrets of a pod.

    These are the mark of its events, variables with the name of a secret, and what is in its files
    of credentials, its passphrase file, and its ring of keys.
    """
    named = {value for name, value in environ.items() if name == MARK or _SECRET.search(name)}
    files = [path for name, path in environ.items() if _FILES.fullmatch(name)]
    files.append(environ.get("OFFSITE_RING", RING))
    found = {*named, *(value for path in files for value in _values(Path(path)))}
    escaped = {json.dumps(value)[1:-1] for value in found}
    return Redaction(frozenset(each for each in found | escaped if len(each) >= _SHORTEST))


def _values(path: Path) -> Iterator[str]:
    with suppress(OSError, ValueError):
        with path.expanduser().open("rb") as file:
            text = file.read(_LARGEST).decode().strip()
        try:
            yield from _strings(json.loads(text))
        except ValueError:
            yield text


def _strings(value: Any, name: str = "") -> Iterator[str]:
    """Yield the strings of a JSON value, but the name of an account and what a party publishes."""
    if isinstance(value, str) and name not in ("accessKey", "id"):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _strings(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, name)
