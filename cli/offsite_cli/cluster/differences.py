"""Where two specs differ, field by field."""

from collections.abc import Iterator, Mapping
from typing import Any

_CHANGES = frozenset({"suspend", "cancel", "retries"})
"""What commands change after a job was submitted; it does not make another job of it."""


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """List the fields that differ, both sides with every default filled in."""
    ours, theirs = dict(_leaves(wanted)), dict(_leaves(found))
    return [
        f"{path}: {_shown(theirs, path)} there, {_shown(ours, path)} here"
        for path in sorted(ours.keys() | theirs.keys())
        if path not in _CHANGES and ours.get(path) != theirs.get(path)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}".lstrip("."))
    elif value not in (None, []):
        yield path, value


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    return repr(leaves[path]) if path in leaves else "absent"
