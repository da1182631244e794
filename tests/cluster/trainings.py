"""What the tests of a job's life look for while it trains."""

import re

from cluster.organizations import Organization
from cluster.processes import wait_for
from offsite.resources import JobStatus

LONG = 1500
"""Steps of a training that takes long enough to look into."""
_PROGRESS = r'"phase": "distill", "step": (\d+)'


def training(status: JobStatus) -> bool:
    """Whether it trains for so long that a checkpoint was written."""
    return status.progress is not None and (status.progress.step or 0) > LONG // 10


def first_step(lab: Organization, pod: str) -> int:
    """Wait for a training on a pod; give the step that it began with."""
    found = list[str]()

    def look() -> bool:
        found[:] = re.findall(_PROGRESS, lab.space.kubectl("logs", pod))
        return bool(found)

    wait_for(look, 120)
    return int(found[0])
