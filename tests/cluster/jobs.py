"""OffsiteJobs of a namespace, as kubectl has them."""

import json
from typing import Any

from cluster.namespaces import Namespace
from offsite.resources import JobStatus


def offsite_job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Describe an OffsiteJob."""
    kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsiteJob"}
    return kind | {"metadata": {"name": name}, "spec": spec}


def change_job(space: Namespace, name: str, spec: dict[str, Any]) -> None:
    """Change the spec of an OffsiteJob."""
    patch = json.dumps({"spec": spec})
    space.kubectl("patch", "offsitejob", name, "--type=merge", f"--patch={patch}")


def status_of(space: Namespace, name: str) -> JobStatus:
    """Read what became of an OffsiteJob."""
    return JobStatus.model_validate(space.get(f"offsitejob/{name}").get("status", {}))
