"""The API server's refusals in our words: what it says, and what to do about it."""

import json
from typing import Any

from offsite.errors import InputError, OffsiteError
from offsite_cli.cluster.errors import (
    AlreadyThere,
    ClusterBusy,
    ClusterError,
    ClusterRefusal,
    ClusterUnreachable,
    Modified,
)

_ANONYMOUS = "system:anonymous"
_LOGIN = (
    "log in again, or mend the user in the kubeconfig (`kubectl auth whoami` shows who you are)"
)
_UNINSTALLED = (
    "the cluster does not serve {path}: the CRDs are not installed; ask its administrator for "
    "`helm install offsite-crds charts/offsite-crds`, and see `offsite doctor`"
)


def refusal(status: int, body: bytes, path: str) -> OffsiteError:
    """Say why a request was refused.

    Args:
        status: the HTTP status.
        body: a `Status` of Kubernetes in JSON, or whatever stood there in its stead.
        path: of the request.
    """
    told = _status(body)
    message = told.get("message") or body.decode(errors="replace").strip() or f"HTTP {status}"
    if status == 401 or (status == 403 and _ANONYMOUS in message):
        return ClusterRefusal(f"the API server does not take your credentials: {message}; {_LOGIN}")
    if status == 403:
        return ClusterRefusal(f"{message}; {_remedy(told, message)}")
    if status == 404:
        return InputError(_absent(told, message) if told else _UNINSTALLED.format(path=path))
    if status in (400, 413, 422):
        return InputError(_invalid(told, message), *_causes(told))
    if status == 409:
        if told.get("reason") == "AlreadyExists":
            return AlreadyThere(message)
        return Modified(f"{message}; run it again")
    failed = f"the API server failed (HTTP {status}): {message}; try again"
    return ClusterBusy(failed) if status >= 500 or status == 429 else ClusterError(failed)


def unreachable(host: str, error: BaseException) -> ClusterUnreachable:
    """Say that nobody answers, and why."""
    reason = str(getattr(error, "reason", None) or error).rpartition(">: ")[2].split("\n")[-1]
    advice = (
        "the certificate is not one that the kubeconfig trusts: certificate-authority-data may be "
        "of another cluster"
        if "CERTIFICATE" in reason.upper()
        else "is the cluster up, and the context the right one (`kubectl config get-contexts`)?"
    )
    return ClusterUnreachable(f"cannot reach the API server at {host}: {reason}; {advice}")


def _status(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("kind") == "Status" else {}


def _absent(told: dict[str, Any], message: str) -> str:
    kind = (told.get("details") or {}).get("kind")
    if kind == "offsitejobs":
        return f"{message} in this namespace; `offsite list -A` shows those of all"
    if kind == "namespaces":
        return f"{message}; name another with --namespace"
    return message


def _remedy(told: dict[str, Any], message: str) -> str:
    causes = {cause.get("reason") for cause in (told.get("details") or {}).get("causes") or []}
    if "NamespaceTerminating" in causes:
        return "wait until the namespace is gone, or use another one"
    if "exceeded quota" in message:
        return "delete jobs that are finished, or have the namespace's ResourceQuota raised"
    return (
        "ask the administrator of the namespace to bind you to its Role offsite-edit (offsite-view "
        "to look), or name another one with --namespace"
    )


def _invalid(told: dict[str, Any], message: str) -> str:
    details = told.get("details") or {}
    if not details.get("causes"):
        return message
    return f"the API server refuses {details.get('kind', 'it')} {details.get('name', '')}:".strip()


def _causes(told: dict[str, Any]) -> list[str]:
    causes = (told.get("details") or {}).get("causes") or []
    return [f"{each.get('field') or '(top level)'}: {each.get('message')}" for each in causes]
