"""OffsiteJobs of a namespace, in the API."""

from typing import TYPE_CHECKING, Any

from offsite.apiversion import API_VERSION
from offsite_cli.cluster.facts import Resource

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_GROUP_VERSION = f"apis/{API_VERSION}"


def path_of(api: "Api", name: str = "") -> str:
    """Give the path of a job, or of all."""
    return api.path(_GROUP_VERSION, "offsitejobs", name)


def get_job(api: "Api", name: str) -> Resource:
    """Get a job.

    Raises:
        InputError: there is no such job in the namespace.
    """
    found: Resource = api.get(path_of(api, name))
    return found


def list_jobs(api: "Api", *, everywhere: bool = False) -> Resource:
    """List the jobs of the namespace, or of all namespaces, as the API does."""
    path = f"/{_GROUP_VERSION}/offsitejobs" if everywhere else path_of(api)
    found: Resource = api.get(path)
    return found


def list_peers(api: "Api") -> list[Resource]:
    """List the peers of the namespace."""
    found: list[Resource] = api.get(api.path(_GROUP_VERSION, "offsitepeers"))["items"]
    return found


def change(api: "Api", job: Resource, spec: dict[str, Any]) -> Resource:
    """Change fields of a job's spec, unless somebody else has changed the job since it was read.

    Raises:
        Modified: somebody has.
    """
    metadata = job["metadata"]
    version = {"resourceVersion": metadata["resourceVersion"]}
    return api.patch(path_of(api, metadata["name"]), {"metadata": version, "spec": spec})
