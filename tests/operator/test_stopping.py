"""What ends before an uninstall; that a cluster does it is `tests/e2e/test_lifecycle.py`."""

from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from offsite_operator.cluster.client import Api
from offsite_operator.controller.stopping import stop_all
from offsite_testing.api_server import ApiServer, api_server


def api_of(server: ApiServer) -> Api:
    configuration = Configuration()
    configuration.host = server.url
    return Api(ApiClient(configuration), "lab")


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-of-{name}"} | more}


def pod(name: str, phase: str) -> dict[str, Any]:
    return {**named(name), "status": {"phase": phase}}


@pytest.mark.parametrize("ray", [False, True])
def test_all_children_are_deleted_with_what_they_own(ray: bool) -> None:
    with api_server() as server:
        server.ray = ray
        server.items["jobs"] = [named("opens"), named("goes", deletionTimestamp="now")]
        server.items["rayjobs"] = [named("trains")]
        server.items["pods"] = [pod("done", "Succeeded"), pod("failed", "Failed")]
        stop_all(api_of(server))
    uids = ["uid-of-opens", *(["uid-of-trains"] if ray else [])]
    assert server.deletions == [
        {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}} for uid in uids
    ]


def test_a_pod_that_does_not_end_is_named_and_nothing_is_uninstalled() -> None:
    with api_server() as server:
        server.items["pods"] = [pod("held", "Running"), pod("done", "Succeeded")]
        with pytest.raises(TimeoutError, match="held"):
            stop_all(api_of(server), longest=-1)
