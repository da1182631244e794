"""What the configuration files of the test cluster repeat agrees with the code."""

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cluster import addons, certificates, components, network

CONFIG = Path(__file__).parent / "cluster" / "config"


def documents(name: str) -> list[dict[str, Any]]:
    """Read the documents of a YAML file."""
    return list(YAML(typ="safe").load_all(CONFIG / name))


def test_kubelet_and_service_agree_on_the_address_of_dns() -> None:
    (kubelet,) = documents("kubelet.yaml")
    service = next(
        each for each in documents("manifests/coredns.yaml") if each["kind"] == "Service"
    )
    address = service["spec"]["clusterIP"]
    assert kubelet["clusterDNS"] == [address]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network.SERVICE_RANGE)


def test_the_first_service_is_the_first_of_its_range() -> None:
    first = next(ipaddress.ip_network(network.SERVICE_RANGE).hosts())
    assert str(first) == certificates.FIRST_SERVICE


def test_pods_get_addresses_of_their_range() -> None:
    listed = json.loads((CONFIG / "cni" / "10-bridge.conflist").read_text(encoding="utf-8"))
    bridge = listed["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": network.POD_RANGE}]]
    assert bridge["bridge"] == network.BRIDGE_NAME
    (proxy,) = documents("kube-proxy.yaml")
    assert proxy["clusterCIDR"] == network.POD_RANGE
    assert proxy["hostnameOverride"] == components.NODE_NAME


@pytest.mark.parametrize("name", ["containerd.toml", "manifests/coredns.yaml"])
def test_images_are_those_that_are_loaded(name: str) -> None:
    text = (CONFIG / name).read_text(encoding="utf-8")
    named = set(re.findall(r"localhost/\S+?:\w+", text))
    assert named
    assert named <= set(addons.IMAGES)
