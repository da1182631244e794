"""The one link between a node's network and the host's: a pair of virtual interfaces."""

import json
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

_RANGE = IPv4Address("198.19.0.0")
"""Of the block for benchmarks (RFC 2544), which no network routes; 4 addresses a link."""
_MOST = 64
_PREFIX = "offsite"
_INSIDE = "eth0"

BRIDGE = "10.88.0.1"
"""The node's own address among its pods."""
BRIDGE_NAME = "cni0"
POD_RANGE = "10.88.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
"""Every node has the same inside: its network is its own."""


@dataclass(frozen=True)
class Link:
    """A link that no other node on this machine has."""

    index: int

    @property
    def name(self) -> str:
        """The name of the host's end."""
        return f"{_PREFIX}{self.index}"

    @property
    def host(self) -> str:
        """The address at which the node and its pods reach the host."""
        return str(_RANGE + 4 * self.index + 1)

    @property
    def node(self) -> str:
        """The address at which the host reaches the node."""
        return str(_RANGE + 4 * self.index + 2)


def claim(pid: int, hardware: str) -> Link:
    """Make the first link that is free, its far end in the network of a process.

    Args:
        hardware: the hardware address of the host's end, by which `remove` knows it.

    Raises:
        RuntimeError: none is free, or this is not allowed.
    """
    for index in range(_MOST):
        link = Link(index)
        if _create(link, pid, hardware):
            _ip("address", "add", f"{link.host}/30", "dev", link.name)
            _ip("link", "set", link.name, "up")
            return link
    raise RuntimeError("every link of a test node is taken: end one of the nodes")


def remove(hardware: str) -> None:
    """Remove the link whose end has an address; the kernel takes a minute or two where we do not.

    Connections that were open when their processes were killed hold the node's network so long.
    """
    for name, address in _links().items():
        if address == hardware:
            # it may have gone meanwhile
            subprocess.run(["ip", "link", "delete", name], capture_output=True)


def set_up(link: Link) -> None:
    """Give the node its addresses; called inside it, once the link is attached."""
    _ip("link", "set", "lo", "up")
    _ip("address", "add", f"{link.node}/30", "dev", _INSIDE)
    _ip("link", "set", _INSIDE, "up")
    _ip("route", "add", "default", "via", link.host)
    # there before the first pod: the API server is advertised at its address
    _ip("link", "add", BRIDGE_NAME, "type", "bridge")
    _ip("address", "add", f"{BRIDGE}/{POD_RANGE.partition('/')[2]}", "dev", BRIDGE_NAME)
    _ip("link", "set", BRIDGE_NAME, "up")
    for name in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        Path("/proc/sys/net", name).write_text("1")


def _create(link: Link, pid: int, hardware: str) -> bool:
    """Make both ends at once, so that one never stays without the other; tell whether it could."""
    far_end = ("peer", "name", _INSIDE, "netns", str(pid))
    kind = ("address", hardware, "type", "veth")
    command = ["ip", "link", "add", link.name, *kind, *far_end]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and "File exists" not in done.stderr:
        raise RuntimeError(f"the link of a test node could not be made: {done.stderr}")
    return done.returncode == 0


def _links() -> dict[str, str]:
    """List the host's ends of links and their hardware addresses."""
    command = ["ip", "-json", "link", "show", "type", "veth"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {link["ifname"]: link["address"] for link in json.loads(done.stdout)}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
