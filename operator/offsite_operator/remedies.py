"""What is to be done, by what somebody said."""

from collections.abc import Sequence


def remedy_for(said: str, table: Sequence[tuple[str, str]]) -> str:
    """Find the remedy whose sign is in what was said; the first one, or none: empty."""
    return next((remedy for sign, remedy in table if sign in said), "")
