"""`python -m offsite_operator.controller.stopping`: stops the operator and everything it started.

The chart runs it before `helm uninstall` removes the NetworkPolicies. OffsiteJobs stay unchanged;
after a new release is installed, they resume from their last checkpoints.
"""

import logging
import os
import sys
import time
from collections.abc import Callable

from kubernetes.client import ApiClient
from kubernetes.config import ConfigException, load_incluster_config

from offsite_operator.cluster.client import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    RAY_JOBS,
    Api,
    ApiError,
    Resource,
)
from offsite_operator.controller.json_logs import log_as_json
from offsite_operator.labels import MANAGED_BY, MANAGER, Object

log = logging.getLogger(__name__)
_OPERATORS = "app.kubernetes.io/name=offsite,app.kubernetes.io/component=operator"
_CHILDREN = f"{MANAGED_BY}={MANAGER}"
_LONGEST = 240.0
"""In seconds. A pod has one minute to write a checkpoint."""
_GLANCE = 1.0


def main() -> int:
    """Stop everything in the namespace; returns the exit code."""
    log_as_json()
    try:
        load_incluster_config()
        stop_all(Api(ApiClient(), os.environ["OFFSITE_NAMESPACE"]))
    except (ApiError, ConfigException, TimeoutError) as error:
        log.error("%s", error)
        return 1
    log.info("stopped the operator and all pods of jobs")
    return 0


def stop_all(api: Api, longest: float = _LONGEST) -> None:
    """Delete the operator, then the children of all jobs, and wait until their pods have ended.

    Raises:
        ApiError: The server refused, or does not answer.
        TimeoutError: A pod did not end in time.
    """
    end = time.monotonic() + longest
    # first, because the operator would recreate the children
    _until_gone(api, _OPERATORS, lambda: _delete_operator(api), end)
    _until_gone(api, _CHILDREN, lambda: _delete_children(api), end)


def _until_gone(api: Api, labels: str, delete: Callable[[], None], end: float) -> None:
    while True:
        delete()
        if not (left := [pod for pod in api.list(PODS, labels=labels) if _may_run(pod)]):
            return
        if time.monotonic() > end:
            names = ", ".join(pod["metadata"]["name"] for pod in left)
            raise TimeoutError(
                f"still running: {names}; remove their finalizers, or uninstall with --no-hooks, "
                "which leaves a NetworkPolicy that isolates them"
            )
        time.sleep(_GLANCE)


def _delete_operator(api: Api) -> None:
    found = api.get(DEPLOYMENTS, MANAGER)
    if found is not None:
        _delete(api, DEPLOYMENTS, found)


def _delete_children(api: Api) -> None:
    for kind in (JOBS, *([RAY_JOBS] if api.serves(RAY_JOBS) else [])):
        for child in api.list(kind, labels=_CHILDREN):
            _delete(api, kind, child)


def _delete(api: Api, kind: Resource, found: Object) -> None:
    if "deletionTimestamp" not in found["metadata"]:
        api.delete(kind, found["metadata"]["name"], found["metadata"]["uid"])


def _may_run(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


if __name__ == "__main__":
    sys.exit(main())
