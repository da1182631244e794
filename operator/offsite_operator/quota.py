"""What is to be done about a quota that leaves no room for a pod, by what the API server said."""

import re
from collections.abc import Iterator

from kubernetes.utils.quantity import parse_quantity

_EXCEEDED = re.compile(r"exceeded quota: .*?, requested: (.+?), used: .+?, limited: (\S+)")
_FIELDS = {
    "gpu": "gpusPerWorker",
    "cpu": "cpusPerWorker",
    "memory": "memoryPerWorker",
}
"""What the name of a resource ends with, and the field of `spec.resources` that asks for it."""


def quota_remedy(said: str) -> str:
    """Say what to do about it: what asks for more than there ever is will not fit by waiting."""
    found = _EXCEEDED.search(said)
    never = list(_beyond(*found.groups())) if found else []
    if not never:
        return "it starts when other pods have ended, or the ResourceQuota is raised"
    fields = (field for end, field in _FIELDS.items() if any(n.endswith(end) for n in never))
    lower = " and ".join(f"spec.resources.{field}" for field in fields)
    change = f"make another job with less {lower}, or have" if lower else "have"
    return f"it can never fit, for {', '.join(never)} alone; {change} the ResourceQuota raised"


def _beyond(requested: str, limited: str) -> Iterator[str]:
    """List the resources of which one pod requests more than the whole quota."""
    limits = dict(_amounts(limited))
    return (name for name, asked in _amounts(requested) if asked > limits.get(name, asked))


def _amounts(said: str) -> Iterator[tuple[str, float]]:
    for each in said.split(","):
        name, _, amount = each.strip().partition("=")
        try:
            yield name, float(parse_quantity(amount))
        except ValueError:  # in the words of some other version of the server
            continue
