"""Checks whether the API server verifies authors and approvers, if approvals are required.

It is asked to create objects in a false name, as dry runs: nothing is created.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from offsite.apiversion import API_VERSION
from offsite_cli.cluster.doctor.finding import Finding
from offsite_cli.cluster.doctor.release import read_settings
from offsite_cli.cluster.errors import ClusterForbidden
from offsite_cli.cluster.identity import AUTHOR
from offsite_cli.cluster.job_status import Resource

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_NOBODY = "offsite-doctor-false-name"
_POLICY = "ValidatingAdmissionPolicy"
_REMEDY = "ask the cluster's administrator to upgrade the chart offsite-crds (Kubernetes 1.30)"


def check_approvals(api: "Api") -> Iterator[Finding]:
    """Check that a false author and a false approver are rejected."""
    required = ((read_settings(api) or {}).get("bounds") or {}).get("requireApproval", "None")
    if required == "None":
        return
    yield _probe(api, "offsitejobs", "authors", _job())
    yield _probe(api, "offsiteapprovals", "approvers", _approval())


def _probe(api: "Api", plural: str, who: str, made: Resource) -> Finding:
    path = api.path(f"apis/{API_VERSION}", plural)
    try:
        api.create(path, made, dryRun="All", fieldManager="offsite")
    except ClusterForbidden as error:
        if _POLICY in str(error):
            return Finding("approvals", "ok", f"the API server verifies {who} of jobs")
        message = f"you may not check whether the API server verifies {who} of jobs"
        return Finding("approvals", "warn", message)
    message = f"the API server does not verify {who} of jobs, so approvals prove nothing"
    return Finding("approvals", "fail", message, _REMEDY)


def _job() -> Resource:
    data = {"train": "s3://none/none.jsonl", "validation": "s3://none/none.jsonl"}
    spec = {"stage": "Tune", "peer": "none", "tune": {"bundle": "none", "data": data}}
    return _object("OffsiteJob", spec, annotations={AUTHOR: _NOBODY})


def _approval() -> Resource:
    spec = {"job": "none", "digest": f"sha256:{'0' * 64}", "verdict": "Rejected"}
    return _object("OffsiteApproval", spec | {"approver": _NOBODY})


def _object(kind: str, spec: dict[str, Any], **metadata: Any) -> Resource:
    named = {"generateName": "offsite-doctor-", **metadata}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": named, "spec": spec}
