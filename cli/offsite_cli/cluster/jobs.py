"""Get, list and patch the OffsiteJobs of a namespace, and complete their names in the shell."""

import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.apiversion import API_VERSION
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.job_status import Resource, name_of

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_GROUP_VERSION = f"apis/{API_VERSION}"


def path_of(api: "Api", name: str = "") -> str:
    """Return the path of a job, or of all jobs of the namespace."""
    return api.path(_GROUP_VERSION, "offsitejobs", name)


def get_job(api: "Api", name: str) -> Resource:
    """Get a job.

    Raises:
        InputError: the namespace has no such job.
    """
    found: Resource = api.get(path_of(api, name))
    return found


def list_jobs(api: "Api", *, all_namespaces: bool = False) -> Resource:
    """List the jobs of the namespace, or of all namespaces, as the API's list object."""
    path = f"/{_GROUP_VERSION}/offsitejobs" if all_namespaces else path_of(api)
    found: Resource = api.get(path)
    return found


def list_peers(api: "Api") -> list[Resource]:
    """List the OffsitePeers of the namespace."""
    found: list[Resource] = api.get(api.path(_GROUP_VERSION, "offsitepeers"))["items"]
    return found


def patch_spec(api: "Api", job: Resource, spec: dict[str, Any]) -> Resource:
    """Change fields of a job's spec.

    Raises:
        Conflict: the job was changed since it was read.
    """
    metadata = job["metadata"]
    version = {"resourceVersion": metadata["resourceVersion"]}
    return api.patch(path_of(api, metadata["name"]), {"metadata": version, "spec": spec})


def _complete(ctx: Any, incomplete: str) -> list[str]:
    """List the jobs whose name begins so; without an error message, which the shell would show."""
    logging.disable()
    given = {key: ctx.params.get(key) for key in ("namespace", "context", "kubeconfig")}
    try:
        items = list_jobs(connect(Target(**given)))["items"]
        return [name for each in items if (name := name_of(each)).startswith(incomplete)]
    except Exception:
        return []


JobName = Annotated[str, typer.Argument(help="Name of the job.", autocompletion=_complete)]
JobNames = Annotated[list[str], typer.Argument(help="Names of the jobs.", autocompletion=_complete)]
