"""What the NetworkPolicies of the charts let pods reach, by their labels. Helm alone answers."""

import json
from typing import Any

import pytest

from cluster.access import Manifest
from cluster.helm import rendered
from offsite_testing.charts import EXCHANGE, on_claim, organization, peers

pytestmark = pytest.mark.e2e

GROUP = "offsite-tuning.dev"
OPERATOR = {
    "app.kubernetes.io/name": "offsite",
    "app.kubernetes.io/instance": "lab",
    "app.kubernetes.io/component": "operator",
}
DNS_LABEL = {f"{GROUP}/reach-dns": "true"}
OPEN = {f"{GROUP}/step": "open", f"{GROUP}/reach-exchange": "true", **DNS_LABEL}
WORK = {f"{GROUP}/step": "work"}
PRIVATE = {f"{GROUP}/reach-private": "true"}
HUB = {f"{GROUP}/reach-hub": "true"}
HEAD, SUBMITTER = {f"{GROUP}/ray": "head"}, {f"{GROUP}/ray": "submitter"}
STRANGER = {"app": "stranger"}

RAY = [
    {"podSelector": {"matchExpressions": [{"key": f"{GROUP}/ray", "operator": "Exists"}]}},
]
DNS = [
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
]
KUBERAY = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ray"}}}]
WATCHERS = peers("prometheus")
CLIENTS = [{"namespaceSelector": {"matchLabels": {f"{GROUP}/exchange-client": "true"}}}]
KNOWN = {
    "private": peers("private"),
    "exchange": peers("exchange"),
    "ray": RAY,
    "dns": DNS,
    "kuberay": KUBERAY,
    "watchers": WATCHERS,
    "clients": CLIENTS,
}
"""Who is meant by which peers of a policy."""


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector takes in what has these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for each in selector.get("matchExpressions", []):
        assert each["operator"] in ("Exists", "In")
        among = labels.get(each["key"]) in each.get("values", [])
        wanted = wanted and (among if each["operator"] == "In" else each["key"] in labels)
    return bool(wanted)


def of_pod(made: list[Manifest], labels: dict[str, str]) -> list[dict[str, Any]]:
    specs = [each["spec"] for each in made if each["kind"] == "NetworkPolicy"]
    return [spec for spec in specs if selects(spec["podSelector"], labels)]


def flows(made: list[Manifest], labels: dict[str, str], way: str) -> set[str] | None:
    """List who a pod may reach, or be reached by; None: anybody, since no policy selects it."""
    policies = [spec for spec in of_pod(made, labels) if way.title() in spec["policyTypes"]]
    if not policies:
        return None
    rules = [rule for spec in policies for rule in spec.get(way, [])]
    return {named(rule, "to" if way == "egress" else "from") for rule in rules}


def named(rule: dict[str, Any], side: str) -> str:
    """Write a rule as `who:ports`."""
    given = json.dumps(rule.get(side), sort_keys=True)
    names = [name for name, who in KNOWN.items() if json.dumps(who, sort_keys=True) == given]
    who = names[0] if names else {"null": "any"}.get(given, given)
    ports = {str(port["port"]) for port in rule.get("ports", [])}
    return f"{who}:{'+'.join(sorted(ports)) or 'any'}"


@pytest.mark.parametrize(
    ("labels", "reached"),
    [
        (OPERATOR, {"dns:53", "any:443+6443", "exchange:9000"}),
        (OPERATOR | {"app.kubernetes.io/component": "stop"}, {"any:443+6443"}),
        (OPEN | PRIVATE, {"dns:53", "exchange:9000", "private:443"}),
        (OPEN, {"dns:53", "exchange:9000"}),
        (WORK, set()),
        (WORK | HEAD, {"ray:any"}),
        (WORK | PRIVATE | DNS_LABEL, {"dns:53", "private:443"}),
        (WORK | PRIVATE | HUB | DNS_LABEL, {"dns:53", "private:443"}),
        (WORK | PRIVATE | HEAD | DNS_LABEL, {"dns:53", "private:443", "ray:any"}),
        (WORK | SUBMITTER | DNS_LABEL, {"dns:53", "ray:any"}),
        (STRANGER, None),
    ],
)
def test_each_pod_reaches_what_it_needs_and_nothing_else(
    labels: dict[str, str], reached: set[str] | None
) -> None:
    assert flows(rendered("offsite", organization()), labels, "egress") == reached


@pytest.mark.parametrize(
    ("labels", "from_whom"),
    [
        (OPERATOR, {"watchers:8080"}),
        (OPEN | PRIVATE, set()),
        (WORK | PRIVATE, set()),
        (WORK | HEAD, {"ray:any", "kuberay:8265"}),
        (WORK | SUBMITTER, {"ray:any"}),
        (STRANGER, None),
    ],
)
def test_each_pod_is_reached_by_whom_it_must(
    labels: dict[str, str], from_whom: set[str] | None
) -> None:
    known = organization(metrics={"from": WATCHERS}, kuberay={"namespace": "ray"})
    assert flows(rendered("offsite", known), labels, "ingress") == from_whom


def test_nobody_reads_metrics_unless_named() -> None:
    assert flows(rendered("offsite", organization()), OPERATOR, "ingress") == set()


def test_a_claim_needs_no_way_to_a_store() -> None:
    made = rendered("offsite", on_claim())
    assert flows(made, WORK | PRIVATE, "egress") == set()


def test_the_hub_is_the_world_without_private_networks() -> None:
    made = rendered("offsite", organization(egress={"modelHub": True}))
    assert flows(made, WORK | HEAD, "egress") == {"ray:any"}
    (hub,) = [spec for spec in of_pod(made, HUB) if spec["policyTypes"] == ["Egress"]]
    (rule,) = hub["egress"]
    assert [port["port"] for port in rule["ports"]] == [443]
    world = {each["ipBlock"]["cidr"]: each["ipBlock"]["except"] for each in rule["to"]}
    assert world.keys() == {"0.0.0.0/0", "::/0"}
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(world["0.0.0.0/0"])


def test_the_ports_of_a_store_can_be_others_than_its_endpoints() -> None:
    made = rendered("offsite", organization(exchange={"ports": [30900, 443]}))
    assert flows(made, OPEN, "egress") == {"dns:53", "exchange:30900+443"}


def test_the_api_server_may_be_named_closer() -> None:
    known = organization(apiServer={"to": peers("private"), "ports": [6443]})
    assert "private:6443" in (flows(rendered("offsite", known), OPERATOR, "egress") or set())


@pytest.mark.parametrize(("clients", "from_whom"), [(None, {"clients:9000"}), ([], set())])
def test_the_exchange_reaches_nobody_and_is_reached_by_its_clients(
    clients: list[Any] | None, from_whom: set[str]
) -> None:
    known = EXCHANGE if clients is None else EXCHANGE | {"clients": clients}
    made = rendered("exchange", known, release="exchange")
    (pods,) = [each["spec"]["template"] for each in made if each["kind"] == "StatefulSet"]
    labels = pods["metadata"]["labels"]
    assert flows(made, labels, "egress") == set()
    assert flows(made, labels, "ingress") == from_whom
