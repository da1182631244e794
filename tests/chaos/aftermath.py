"""How jobs that were struck end, and what is left of them."""

from collections.abc import Callable

from cluster.organizations import Organization
from cluster.processes import wait_for

_PATIENCE = 900.0
_TO_CLEAN_UP = 180.0


def ended(organization: Organization, name: str, state: str) -> tuple[str, int | None]:
    """Wait until a job has ended as it should, and nothing of it takes up room.

    Raises:
        RuntimeError: it does not, or something does.
    """
    if state == "gone":
        clean(lambda: organization.left(name))
        return state, None
    status = organization.reaches(name, lambda s: s.completion_time is not None, _PATIENCE)
    if status.state != state:
        said = [c.message for c in status.conditions if c.type == "Failed"]
        raise RuntimeError(f"{status.state}, not {state}: {said}")
    clean(lambda: organization.busy(name))
    return state, status.attempts


def clean(left: Callable[[], list[str]]) -> None:
    """Wait until nothing is left.

    Raises:
        RuntimeError: something is.
    """
    try:
        wait_for(lambda: not left(), _TO_CLEAN_UP)
    except RuntimeError as error:
        raise RuntimeError(f"left behind: {', '.join(left())}") from error
