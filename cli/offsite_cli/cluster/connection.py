"""Connect to a cluster as kubectl does, and wait through short outages of its API server."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from offsite.errors import InputError
from offsite_cli.cluster.errors import TEMPORARY, ClusterUnreachable
from offsite_cli.output import show_info

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

P = ParamSpec("P")
T = TypeVar("T")

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_KUBECONFIG = "~/.kube/config"
_RETRY_SECONDS = 60.0
_PAUSE = 2.0


@dataclass(frozen=True)
class Target:
    """The options that select a cluster and a namespace."""

    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Namespace. Defaults to that of the context."),
    ] = None
    context: Annotated[
        str | None,
        typer.Option(help="Context of the kubeconfig. Defaults to the current context."),
    ] = None
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Path of the kubeconfig. Defaults to $KUBECONFIG or ~/.kube/config."),
    ] = None


def connect(target: Target) -> "Api":
    """Configure a client from the kubeconfig, or from the pod that this runs in.

    Sends no request yet.

    Raises:
        InputError: the kubeconfig is invalid, or lacks the context.
        ClusterUnreachable: there is neither a kubeconfig nor a pod's ServiceAccount.
    """
    from kubernetes.client import ApiClient, Configuration

    from offsite_cli.cluster.api import Api

    configuration = Configuration()
    found = _load_kubeconfig(target, configuration)
    namespace = _load_pod_account(configuration) if found is None else found
    return Api(ApiClient(configuration), target.namespace or namespace or "default")


def retry_while_unavailable(request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Send a request, and repeat it for a minute while the API server is away or overloaded.

    Raises:
        ClusterUnreachable, ClusterBusy: the API server was not available for a minute.
    """
    since = time.monotonic()
    announced = False
    while True:
        try:
            return request(*args, **kwargs)
        except TEMPORARY as error:
            if time.monotonic() - since > _RETRY_SECONDS:
                raise
            if not announced:
                show_info(f"{error}; retrying for a minute")
            announced = True
            time.sleep(_PAUSE)


def _load_kubeconfig(target: Target, configuration: Any) -> str | None:
    """Return the context's namespace, or None where there is no kubeconfig."""
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    named = str(target.kubeconfig) if target.kubeconfig else os.environ.get("KUBECONFIG")
    path = named or _DEFAULT_KUBECONFIG
    with _kubeconfig_errors(path):
        merged = KubeConfigMerger(path).config
    if merged is None:
        if named or target.context:
            raise InputError(
                f"there is no kubeconfig {path}; set --kubeconfig or KUBECONFIG to an existing file"
            )
        return None
    with _kubeconfig_errors(path):
        loader = KubeConfigLoader(merged, active_context=target.context)
        loader.load_and_set(configuration)
    return loader.current_context["context"].get("namespace") or "default"


def _load_pod_account(configuration: Any) -> str:
    from kubernetes.config import ConfigException, load_incluster_config

    try:
        load_incluster_config(configuration)
    except ConfigException as error:
        raise ClusterUnreachable(
            f"no cluster is configured: there is no {_DEFAULT_KUBECONFIG}, and this is not a pod "
            "with a ServiceAccount token; set --kubeconfig or KUBECONFIG"
        ) from error
    return _POD_NAMESPACE.read_text(encoding="utf-8").strip()


@contextmanager
def _kubeconfig_errors(path: str) -> Iterator[None]:
    from kubernetes.config import ConfigException

    try:
        yield
    except ConfigException as error:
        raise InputError(
            f"cannot use the kubeconfig {path}: {' '.join(str(error).split())}; `kubectl config "
            "get-contexts` lists its contexts"
        ) from error
    except Exception as error:  # the loader raises anything for a file of another form
        raise InputError(f"{path} is not a kubeconfig; set --kubeconfig or KUBECONFIG") from error
