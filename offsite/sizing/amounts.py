"""Amounts of memory, as people read and write them."""

import re

GIB = 2**30
_UNITS = {"M": 10**6, "G": 10**9, "T": 10**12, "Mi": 2**20, "Gi": GIB, "Ti": 2**40}


def amount_of(count: int) -> str:
    """Format a number of bytes, such as 3.2 GiB."""
    if count >= GIB:
        return f"{count / GIB:.1f} GiB"
    return f"{max(1, round(count / 2**20))} MiB"


def bytes_of(memory: str) -> int:
    """Compute the bytes of an amount of memory as a job has it, such as 16Gi.

    Raises:
        ValueError: It is no such amount.
    """
    found = re.fullmatch(r"([0-9.]+)([MGT]i?)", memory)
    if found is None:
        raise ValueError(f"{memory!r} is not an amount of memory such as 16Gi")
    return round(float(found[1]) * _UNITS[found[2]])


def request_of(count: int) -> str:
    """Write a number of bytes as a request for memory with some room, such as 14Gi."""
    return f"{-(-count * 115 // (100 * GIB))}Gi"
