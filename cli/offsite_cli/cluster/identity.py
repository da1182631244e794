"""Ask the API server who the user of the kubeconfig is."""

from typing import TYPE_CHECKING

from offsite.apiversion import GROUP
from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterForbidden

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

AUTHOR = f"{GROUP}/author"
"""Annotation of a job: the user who created it. The API server verifies it."""
_GROUP = "authentication.k8s.io/v1"


def user_name(api: "Api") -> str:
    """Return the user name by which the API server knows this user.

    Raises:
        InputError: Kubernetes is older than 1.28, which cannot tell.
    """
    body = {"apiVersion": _GROUP, "kind": "SelfSubjectReview"}
    found = api.create(f"/apis/{_GROUP}/selfsubjectreviews", body)
    name = ((found.get("status") or {}).get("userInfo") or {}).get("username")
    if not name:
        raise InputError("the API server did not say who you are; see `kubectl auth whoami`")
    return str(name)


def known_user(api: "Api") -> str | None:
    """Return the user name; None: the API server does not tell."""
    try:
        return user_name(api)
    except (InputError, ClusterForbidden):
        return None
