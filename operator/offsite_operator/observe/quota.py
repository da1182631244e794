"""Explains an exceeded quota, from the API server's message."""

import re
from collections.abc import Iterator, Sequence
from math import inf

from offsite_operator.quantity import amount as parse


def remedy_for(message: str, table: Sequence[tuple[str, str]]) -> str:
    """Return the first remedy whose sign occurs in a message; empty: none does."""
    return next((remedy for sign, remedy in table if sign in message), "")


_EXCEEDED = re.compile(r"exceeded quota: (.*?), requested: (.+?), used: .+?, limited: ([^\s;]+)")
_FIELDS = {
    "gpu": "gpusPerWorker",
    "cpu": "cpusPerWorker",
    "memory": "memoryPerWorker",
}
"""Suffix of a resource's name, and the field of `spec.resources` that requests it."""


def exceeded(message: str, workers: int) -> str:
    """Name the quota and a remedy, in the same words at each retry.

    The API server's message also names the pod and the current use, which differ each time.

    Args:
        workers: Pods that start together or not at all; each requests the same.
    """
    if (found := _EXCEEDED.search(message)) is None:
        return f"{message}; {_remedy('', '', workers)}"
    name, requested, limited = found.groups()
    summary = f"exceeded quota: {name}, requested: {requested}, limited: {limited}"
    return f"{summary}; {_remedy(requested, limited, workers)}"


def _remedy(requested: str, limited: str, workers: int) -> str:
    """Name a remedy. A request above the whole quota never fits, so waiting does not help."""
    if alone := list(_beyond(requested, limited)):
        return _change(f"it can never fit: {', '.join(alone)}", _lower(alone))
    if together := list(_beyond(requested, limited, pods=workers)):
        why = f"its {workers} workers can never fit together: {', '.join(together)}"
        return _change(why, f"fewer spec.resources.workers{_lower(together, before=' or ')}")
    return "it starts when other pods end, or the ResourceQuota is raised"


def _change(why: str, lower: str) -> str:
    change = f"create another job with {lower}, or raise" if lower else "raise"
    return f"{why}; {change} the ResourceQuota"


def _lower(names: list[str], before: str = "") -> str:
    """Name the fields that request some resources, if any."""
    fields = (field for end, field in _FIELDS.items() if any(n.endswith(end) for n in names))
    listed = " and ".join(f"spec.resources.{field}" for field in fields)
    return f"{before}less {listed}" if listed else ""


def _beyond(requested: str, limited: str, pods: int = 1) -> Iterator[str]:
    """List the resources of which that many pods request more than the whole quota."""
    limits = dict(_amounts(limited))
    return (name for name, asked in _amounts(requested) if pods * asked > limits.get(name, inf))


def _amounts(message: str) -> Iterator[tuple[str, float]]:
    for each in message.split(","):
        name, _, amount = each.strip().partition("=")
        try:
            yield name, float(parse(amount))
        except ValueError:  # another version's format
            continue
