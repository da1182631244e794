"""Errors of the API server: their classes with exit codes, and the translation of its answers."""

import json
from typing import Any

from offsite.errors import InputError, OffsiteError

_ANONYMOUS = "system:anonymous"


class ClusterError(OffsiteError):
    """The cluster failed; a retry may help."""


class ClusterUnreachable(ClusterError):
    """The API server does not answer, or no cluster is configured."""

    exit_code = 4


class ClusterBusy(ClusterError):
    """The API server cannot serve the request now, for example during an upgrade."""


TEMPORARY = (ClusterUnreachable, ClusterBusy)
"""Errors that `watch` and `logs -f` wait out."""


class ClusterForbidden(ClusterError):
    """The API server does not accept the credentials, or the user lacks a permission."""

    exit_code = 4
    retryable = False


class AlreadyExists(ClusterError):
    """An object of that name exists."""


class Conflict(ClusterError):
    """The object was changed since it was read."""


class WatchTimeout(OffsiteError):
    """The job did not end within the timeout."""

    exit_code = 3


def error_from_response(status: int, body: bytes, path: str) -> OffsiteError:
    """Translate a response that is not 2xx.

    Args:
        status: the HTTP status.
        body: a Kubernetes `Status` in JSON, or whatever a proxy sent instead.
        path: the path of the request.
    """
    answer = _parse_status(body)
    message = answer.get("message") or body.decode(errors="replace").strip() or f"HTTP {status}"
    if status == 401 or (status == 403 and _ANONYMOUS in message):
        return ClusterForbidden(
            f"the API server rejects your credentials: {message}; log in again, or fix the user in "
            "the kubeconfig (`kubectl auth whoami` shows who you are)"
        )
    if status == 403:
        return ClusterForbidden(f"{message}; {_permission_remedy(answer, message)}")
    if status == 404:
        return InputError(_not_found_message(answer, message, path))
    if status in (400, 413, 422):
        return InputError(_invalid_message(answer, message), *_causes(answer))
    if status == 409:
        if answer.get("reason") == "AlreadyExists":
            return AlreadyExists(message)
        return Conflict(f"{message}; run the command again")
    failed = f"the API server failed (HTTP {status}): {message}; try again later"
    return ClusterBusy(failed) if status >= 500 or status == 429 else ClusterError(failed)


def connection_error(host: str, error: BaseException) -> ClusterUnreachable:
    """Translate a failure to connect to the API server."""
    reason = str(getattr(error, "reason", None) or error).rpartition(">: ")[2].split("\n")[-1]
    advice = (
        "the kubeconfig does not trust the server's certificate; its certificate-authority-data "
        "may be that of another cluster"
        if "CERTIFICATE" in reason.upper()
        else "check that the cluster runs, and the context (`kubectl config get-contexts`)"
    )
    return ClusterUnreachable(f"cannot reach the API server at {host}: {reason}; {advice}")


def _parse_status(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _not_found_message(answer: dict[str, Any], message: str, path: str) -> str:
    if not answer:
        return (
            f"the cluster does not serve {path}: the CRDs of offsite are not installed; ask its "
            "administrator for `helm install offsite-crds charts/offsite-crds`, then run "
            "`offsite doctor`"
        )
    kind = (answer.get("details") or {}).get("kind")
    if kind == "offsitejobs":
        return f"{message} in this namespace; `offsite list -A` lists the jobs of all namespaces"
    if kind == "namespaces":
        return f"{message}; choose another with --namespace"
    return message


def _permission_remedy(answer: dict[str, Any], message: str) -> str:
    causes = {cause.get("reason") for cause in (answer.get("details") or {}).get("causes") or []}
    if "NamespaceTerminating" in causes:
        return "wait until the namespace is gone, or use another one"
    if "exceeded quota" in message:
        return "delete finished jobs, or ask for a larger ResourceQuota"
    return (
        "ask the namespace's administrator to bind you to the Role offsite-edit (offsite-view to "
        "read only), or choose another namespace with --namespace"
    )


def _invalid_message(answer: dict[str, Any], message: str) -> str:
    details = answer.get("details") or {}
    if not details.get("causes"):
        return message
    thing = " ".join(filter(None, [details.get("kind") or "the object", details.get("name")]))
    return f"the API server rejects {thing}:"


def _causes(answer: dict[str, Any]) -> list[str]:
    causes = (answer.get("details") or {}).get("causes") or []
    return [f"{each.get('field') or '(top level)'}: {each.get('message')}" for each in causes]
