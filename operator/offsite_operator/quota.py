"""What is to be done about a quota that leaves no room for a pod, by what the API server said."""

import re
from collections.abc import Iterator
from math import inf

from kubernetes.utils.quantity import parse_quantity

_EXCEEDED = re.compile(r"exceeded quota: (.*?), requested: (.+?), used: .+?, limited: ([^\s;]+)")
_FIELDS = {
    "gpu": "gpusPerWorker",
    "cpu": "cpusPerWorker",
    "memory": "memoryPerWorker",
}
"""What the name of a resource ends with, and the field of `spec.resources` that asks for it."""


def exceeded(said: str) -> str:
    """Say which quota it is, without the pod's name and the use, which differ at each try."""
    if (found := _EXCEEDED.search(said)) is None:
        return said
    name, requested, limited = found.groups()
    return f"exceeded quota: {name}, requested: {requested}, limited: {limited}"


def quota_remedy(said: str, workers: int) -> str:
    """Say what to do about it: what asks for more than there ever is will not fit by waiting.

    Args:
        workers: pods that start together or not at all; each asks for as much.
    """
    found = _EXCEEDED.search(said)
    requested, limited = found.groups()[1:] if found else ("", "")
    if alone := list(_beyond(requested, limited)):
        return _change(f"it can never fit, for {', '.join(alone)} alone", _lower(alone))
    if together := list(_beyond(requested, limited, pods=workers)):
        why = f"its {workers} workers can never fit together, for {', '.join(together)}"
        return _change(why, f"fewer spec.resources.workers{_lower(together, before=' or ')}")
    return "it starts when other pods have ended, or the ResourceQuota is raised"


def _change(why: str, lower: str) -> str:
    change = f"make another job with {lower}, or have" if lower else "have"
    return f"{why}; {change} the ResourceQuota raised"


def _lower(names: list[str], before: str = "") -> str:
    """Name the fields that ask for some resources, if there are such."""
    fields = (field for end, field in _FIELDS.items() if any(n.endswith(end) for n in names))
    listed = " and ".join(f"spec.resources.{field}" for field in fields)
    return f"{before}less {listed}" if listed else ""


def _beyond(requested: str, limited: str, pods: int = 1) -> Iterator[str]:
    """List the resources of which so many pods request more than the whole quota."""
    limits = dict(_amounts(limited))
    return (name for name, asked in _amounts(requested) if pods * asked > limits.get(name, inf))


def _amounts(said: str) -> Iterator[tuple[str, float]]:
    for each in said.split(","):
        name, _, amount = each.strip().partition("=")
        try:
            yield name, float(parse_quantity(amount))
        except ValueError:  # in the words of some other version of the server
            continue
