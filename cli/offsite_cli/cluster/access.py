"""Which cluster is meant, and as whom, by kubectl's habits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterUnreachable

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Target:
    """The options that name a cluster and a namespace."""

    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="The namespace; else the context's."),
    ] = None
    context: Annotated[
        str | None, typer.Option(help="The context of the kubeconfig; else the current one.")
    ] = None
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig; else KUBECONFIG, or ~/.kube/config.")
    ] = None


def connect(target: Target) -> "Api":
    """Read the kubeconfig, or what a pod has in its stead. Nothing is asked of the cluster yet.

    Raises:
        InputError: the kubeconfig is not one, or has no such context.
        ClusterUnreachable: no cluster is named anywhere.
    """
    from kubernetes.client import ApiClient, Configuration

    from offsite_cli.cluster.api import Api

    configuration = Configuration()
    found = _from_kubeconfig(target, configuration)
    namespace = _from_pod(configuration) if found is None else found
    return Api(ApiClient(configuration), target.namespace or namespace or "default")


def _from_kubeconfig(target: Target, configuration: Any) -> str | None:
    """Give the context's namespace; None: there is no kubeconfig."""
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    named = str(target.kubeconfig) if target.kubeconfig else os.environ.get("KUBECONFIG")
    with _readable(named or "~/.kube/config"):
        merged = KubeConfigMerger(named or "~/.kube/config").config
    if merged is None:
        if named or target.context:
            raise InputError(f"there is no kubeconfig {named or '~/.kube/config'}; name another")
        return None
    with _readable(named or "~/.kube/config"):
        loader = KubeConfigLoader(merged, active_context=target.context)
        loader.load_and_set(configuration)
    return loader.current_context["context"].get("namespace") or "default"


def _from_pod(configuration: Any) -> str:
    from kubernetes.config import ConfigException, load_incluster_config

    try:
        load_incluster_config(configuration)
    except ConfigException as error:
        raise ClusterUnreachable(
            "no cluster is named: there is no ~/.kube/config, and this is no pod with a "
            "ServiceAccount's token; name one with --kubeconfig or KUBECONFIG"
        ) from error
    return _POD_NAMESPACE.read_text(encoding="utf-8").strip()


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what the loader raises for a file of another form is anything
        raise InputError(
            f"the kubeconfig {name} cannot be used: {error}; `kubectl config get-contexts` shows "
            "what it holds"
        ) from error
