"""How soon a job begins where many others wait, and what the operator's memory is then."""

import re
import statistics
import time
from dataclasses import dataclass

from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from cluster.jobs import offsite_job
from cluster.namespaces import Namespace
from cluster.organizations import OPERATORS, Organization
from cluster.processes import wait_for
from cluster.stages import distill, plug_in
from cluster.watching import JOB, NAME, watched
from offsite_operator.cluster.client import OFFSITE_JOBS, Api

_NOWHERE = {"engine": "Job", "nodeSelector": {"offsite-tuning.dev/bench": "nowhere"}}
"""Where pods of timed jobs are to train: none does, so that it is the operator that is timed."""
_PAUSE = 1.0
"""Seconds between two submissions."""
_PATIENCE = 900.0
_SETTLING = 30.0
"""Seconds for the operator to be through with those that wait: their arrival is not timed."""


@dataclass(frozen=True)
class Crowded:
    """What was measured: seconds from a job to its child, bytes that the operator has."""

    half: float
    """Half of the jobs did not wait for longer."""
    most: float
    """So 95 in 100."""
    resident: int
    peak: int


def crowded(lab: Organization, waiting: int, stream: int) -> Crowded:
    """Have jobs wait for what no peer sends, submit others, and see when each has its child.

    Args:
        waiting: how many wait.
        stream: how many are timed, at least two.

    Raises:
        RuntimeError: the ones do not come to wait, or one of the others gets no child.
    """
    api = _api(lab.space)
    with watched(lab.space, "offsitejobs", NAME, ".status.state") as jobs:
        # a bundle each: none is spared by what was learned for another
        lab.submit_all({f"waits-{n}": plug_in(f"unsent-{n}") for n in range(waiting)})
        wait_for(lambda: jobs.count("Pending") >= waiting, _PATIENCE)
    time.sleep(_SETTLING)
    with watched(lab.space, "jobs.batch", JOB, ".kind") as children:
        names = [f"timed-{number}" for number in range(stream + 1)]
        sent = {name: _submit(api, name) for name in names}
        # the first shows that the watch is there, and does not count
        times = [children.at(name, "Job") - sent[name] for name in names[1:]]
    memory = _memory(lab.space)
    most = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return Crowded(statistics.median(times), most, memory["VmRSS"], memory["VmHWM"])


def _api(space: Namespace) -> Api:
    """Reach a namespace from this process: the start of a kubectl is not to be timed."""
    configuration = Configuration()
    load_kube_config(str(space.cluster.kubeconfig), client_configuration=configuration)
    if space.cluster.node is not None:  # no proxy stands before it
        configuration.proxy = None
    return Api(ApiClient(configuration), space.name)


def _submit(api: Api, name: str) -> float:
    """Create a job, and pause; give when it was sent, on the monotonic clock."""
    sent = time.monotonic()
    api.create(OFFSITE_JOBS, offsite_job(name, distill(runtime=_NOWHERE)))
    time.sleep(_PAUSE)
    return sent


def _memory(space: Namespace) -> dict[str, int]:
    """Read proc(5) of the operator, in bytes."""
    (pod,) = space.get("pods", OPERATORS)["items"]
    status = space.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/proc/1/status")
    return {name: int(size) << 10 for name, size in re.findall(r"(\w+):\s+(\d+) kB", status)}
