"""The charts on a real cluster, in restricted namespaces, set up as their notes say."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cluster.access import Cluster
from cluster.helm import in_space, install
from cluster.images import MINIO, OPERATOR
from cluster.namespaces import Namespace
from cluster.pods import container, pod_spec
from cluster.shell import commands, typed
from offsite_testing.authority import Authority
from offsite_testing.charts import Values, organization, peers
from offsite_testing.minio_server import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GROUP = "offsite-tuning.dev"
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9000), timeout=2).close()
    print("there")
except OSError:
    print("not there")
"""
SEND = """
import os
from offsite.store.open import open_store
store = open_store("s3://exchange", "OFFSITE_EXCHANGE", os.environ)
store.put("lab/hospital/note/1/a", b"sealed")
print(store.get("lab/hospital/note/1/a", 99))
"""


def wait(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@dataclass(frozen=True)
class Installed:
    """A release, and the output of `helm install`."""

    space: Namespace
    notes: str


@pytest.fixture(scope="module")
def exchange(cluster: Cluster, new_module_space: Callable[[str], Namespace]) -> Installed:
    space = new_module_space("exchange")
    return Installed(space, install(space, "exchange", "exchange", small(cluster), "--wait"))


@pytest.fixture(scope="module")
def lab(
    cluster: Cluster,
    exchange: Installed,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Installed:
    """An organization, whose administrator did what both charts' notes say."""
    folder, space = tmp_path_factory.mktemp("lab"), new_module_space("lab")
    follow(commands(exchange.notes), space, folder)
    values = at_exchange(cluster, exchange)
    notes = install(space, "lab", "offsite", values)
    typed(cluster, folder, f"offsite keys init lab --home {folder}")
    identity = [each for each in commands(notes) if "offsite-identity" in each]
    typed(cluster, folder, *(each.replace("HOME/", f"{folder}/") for each in identity))
    return Installed(space, install(space, "lab", "offsite", values))


def small(cluster: Cluster, **more: Values) -> Values:
    images = {"minio": cluster.image(MINIO)}
    return {"images": images, "storage": {"size": "1Gi"}, **more}


def at_exchange(cluster: Cluster, exchange: Installed) -> Values:
    """Say what an organization's chart wants to know; of the exchange what its notes say."""
    told: Values = YAML(typ="safe").load(re.findall(r"(?:    .+\n)+", exchange.notes)[-1])
    known = organization(private={"to": peers("nobody")})
    images = {"operator": cluster.image(OPERATOR), "runtime": "localhost/runtime:1"}
    return known | {"images": images, "exchange": told["exchange"]}


def follow(told: list[str], space: Namespace, folder: Path) -> None:
    """Run what the exchange's notes say; `lab` is the namespace of an organization."""
    port = free_port()
    script = re.sub(r"(namespace) lab\b", rf"\1 {space.name}", "\n".join(told))
    script = script.replace("9000:9000", f"{port}:9000")
    typed(space.cluster, folder, script.replace("localhost:9000", f"localhost:{port}"))


def test_who_holds_an_account_reaches_the_exchange_by_its_name(
    cluster: Cluster, lab: Installed, exchange: Installed
) -> None:
    name = f"exchange.{exchange.space.name}.svc.cluster.local"
    environ = {
        "OFFSITE_EXCHANGE_ENDPOINT": f"https://{name}:9000",
        "OFFSITE_EXCHANGE_CREDENTIALS": "/account/credentials.json",
        "OFFSITE_EXCHANGE_CA": "/account/ca.crt",
    }
    main = container(
        cluster.image(OPERATOR),
        *("python", "-c", SEND),
        env=[{"name": key, "value": value} for key, value in environ.items()],
        mounts=[{"name": "account", "mountPath": "/account"}],
    )
    secret = {"secretName": "offsite-exchange", "defaultMode": 0o440}
    volumes = [{"name": "account", "secret": secret}]
    spec = pod_spec(main, volumes=volumes, securityContext={"fsGroup": 10001})
    reaches = {f"{GROUP}/reach-exchange": "true", f"{GROUP}/reach-dns": "true"}
    labels = {f"{GROUP}/step": "publish", **reaches}
    lab.space.apply(labelled("send", labels, spec))
    lab.space.wait("jsonpath={.status.phase}=Succeeded", "pod/send")
    assert lab.space.kubectl("logs", "send") == "b'sealed'\n"


def labelled(name: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_only_steps_that_hold_keys_reach_the_exchange(
    cluster: Cluster, lab: Installed, exchange: Installed, new_space: Callable[[str], Namespace]
) -> None:
    address = exchange.space.get("service/exchange")["spec"]["clusterIP"]
    holds_keys = {f"{GROUP}/reach-exchange": "true"}
    step = {f"{GROUP}/step": "open"}
    other = new_space("other")  # no client: its namespace has no such label
    asked = [
        (lab.space, "opens", step | holds_keys, True),
        (lab.space, "trains", step | {f"{GROUP}/ray": "head"}, False),
        (other, "opens", step | holds_keys, False),
    ]
    for space, name, labels, _ in asked:
        spec = pod_spec(container(cluster.image(OPERATOR), "sleep", "600"))
        space.apply(labelled(name, labels, spec))
    for space, name, _, reaches in asked:
        space.wait("condition=Ready", f"pod/{name}")
        fetch = ("exec", name, "--", "python", "-c", CONNECT, address)
        told = {True: "there\n", False: "not there\n"}[reaches]
        wait(lambda s=space, f=fetch, t=told: s.kubectl(*f) == t)  # type: ignore[misc]


def test_the_operators_pod_starts_with_all_that_it_is_given(lab: Installed) -> None:
    selector = "--selector=app.kubernetes.io/component=operator"

    def started() -> bool:
        found = lab.space.get("pods", selector)["items"]
        states = [each["state"] for p in found for each in p["status"].get("containerStatuses", [])]
        return any({"running", "terminated"} & state.keys() for state in states)

    wait(started, seconds=120)
    (found,) = lab.space.get("pods", selector)["items"]
    assert found["spec"]["serviceAccountName"] == "offsite-operator"


def test_notes_name_what_is_missing(cluster: Cluster, lab: Installed) -> None:
    assert "enforce=restricted" in lab.notes
    assert "offsite-identity is not there" not in lab.notes
    assert "offsite-exchange is not there" not in lab.notes
    assert "offsite-private is not there yet" in lab.notes


def test_an_upgrade_keeps_the_exchange_and_its_end_leaves_the_volume(
    cluster: Cluster, new_space: Callable[[str], Namespace]
) -> None:
    space = new_space("upgraded")
    before = everything(space)
    install(space, "exchange", "exchange", small(cluster), "--wait")
    first = secrets_of(space)
    install(space, "exchange", "exchange", small(cluster, service={"annotations": {"a": "b"}}))
    assert secrets_of(space) == first
    renamed = small(cluster, tls={"names": ["exchange.example", "192.0.2.1"]})
    install(space, "exchange", "exchange", renamed, "--wait")
    root, tls = secrets_of(space)
    assert root == first[0]
    assert tls != first[1], "it would not be valid for the new name"
    in_space(space, "uninstall", "exchange", "--wait")
    wait(lambda: everything(space) - before == {"persistentvolumeclaim/data-exchange-0"})


def test_an_exchange_takes_the_account_and_the_certificate_that_it_is_given(
    cluster: Cluster, new_space: Callable[[str], Namespace], tmp_path: Path
) -> None:
    space = new_space("given")
    authority = Authority(tmp_path / "authority")
    authority.make()
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    authority.issue(key, certificate, "/CN=exchange", ["DNS:localhost"])
    files = {"tls.key": key, "tls.crt": certificate, "ca.crt": authority.certificate}
    made = ("create", "secret", "generic")
    space.kubectl(*made, "ours", *(f"--from-file={name}={path}" for name, path in files.items()))
    account = ("--from-literal=user=keeper", "--from-literal=password=of the keys")
    space.kubectl(*made, "mine", *account)
    named = small(cluster, tls={"secret": "ours"}, root={"secret": "mine"})
    notes = install(space, "exchange", "exchange", named, "--wait")
    first = [each for each in commands(notes) if "hospital" not in each and "lab" not in each]
    follow([*first, "offsite exchange init s3://exchange"], space, tmp_path)
    admin = json.loads((tmp_path / "admin.json").read_text(encoding="utf-8"))
    assert admin == {"accessKey": "keeper", "secretKey": "of the keys"}


def secrets_of(space: Namespace) -> list[dict[str, str]]:
    names = ("secret/exchange-root", "secret/exchange-tls")
    return [space.get(name)["data"] for name in names]


def everything(space: Namespace) -> set[str]:
    """List all objects of a namespace, except Events."""
    listed = ("api-resources", "--namespaced", "--verbs=list", "--output=name")
    kinds = set(space.cluster.kubectl(*listed).split())
    kinds -= {"events", "events.events.k8s.io"}
    return set(space.kubectl("get", ",".join(sorted(kinds)), "--output=name").split())
