"""How old the progress is that a job's status tells, while it trains."""

import time
from datetime import UTC, datetime

from cluster.organizations import Organization
from cluster.stages import distill

_STEPS = 1_000_000
"""Of a training that does not end while it is looked at."""
_LOOK_SECONDS, _PAUSE = 60.0, 0.25


def oldest_progress(lab: Organization) -> float:
    """Look at a job for a minute; give the seconds that its progress was old at most.

    Raises:
        RuntimeError: it tells none.
    """
    lab.submit("fresh", distill(steps=_STEPS))
    lab.reaches("fresh", lambda status: status.progress is not None)
    until, ages = time.monotonic() + _LOOK_SECONDS, [0.0]
    while time.monotonic() < until:
        progress = lab.status("fresh").progress
        if progress is not None and progress.updated_at is not None:
            ages.append((datetime.now(UTC) - progress.updated_at).total_seconds())
        time.sleep(_PAUSE)
    lab.space.kubectl("delete", "offsitejob", "fresh")
    return max(ages)
