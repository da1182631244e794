"""Explains a quota that leaves no room for a pod, from the API server's message."""

import re
from collections.abc import Iterator, Sequence
from math import inf

from offsite_operator.quantity import amount as parse


def remedy_for(said: str, table: Sequence[tuple[str, str]]) -> str:
    """Find the remedy whose sign is in what was said; the first one, or none: empty."""
    return next((remedy for sign, remedy in table if sign in said), "")


_EXCEEDED = re.compile(r"exceeded quota: (.*?), requested: (.+?), used: .+?, limited: ([^\s;]+)")
_FIELDS = {
    "gpu": "gpusPerWorker",
    "cpu": "cpusPerWorker",
    "memory": "memoryPerWorker",
}
"""What the name of a resource ends with, and the field of `spec.resources` that asks for it."""


def exceeded(said: str, workers: int) -> str:
    """Say which quota it is and what to do about it, in the same words at each try.

    The API server tells the pod's name and the use as well, which differ each time.

    Args:
        workers: pods that start together or not at all; each asks for as much.
    """
    if (found := _EXCEEDED.search(said)) is None:
        return f"{said}; {_remedy('', '', workers)}"
    name, requested, limited = found.groups()
    told = f"exceeded quota: {name}, requested: {requested}, limited: {limited}"
    return f"{told}; {_remedy(requested, limited, workers)}"


def _remedy(requested: str, limited: str, workers: int) -> str:
    """Say what to do: what asks for more than there ever is will not fit by waiting."""
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
            yield name, float(parse(amount))
        except ValueError:  # in the words of some other version of the server
            continue
