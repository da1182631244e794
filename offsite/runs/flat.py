"""Fields of nested JSON by their paths."""

from collections.abc import Mapping
from typing import Any

from offsite.text import as_json


def flat(value: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """List the fields of a JSON object by path, such as `tune.training.steps`, as text."""
    found: dict[str, str] = {}
    for key, each in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(each, Mapping):
            found.update(flat(each, name))
        else:
            found[name] = each if isinstance(each, str) else as_json(each)
    return found
