"""The certificates, keys and kubeconfigs of a node."""

import base64
import json
import subprocess
from pathlib import Path

from cluster.components import ACCOUNTS, ADMIN, NODE_NAME, account_file
from cluster.network import BRIDGE, Link
from offsite_testing.authority import Authority

API_PORT = 6443
FIRST_SERVICE = "10.96.0.1"
"""The address at which pods reach the API server."""
_SERVICE = "kubernetes.default.svc.cluster.local"


def make(folder: Path, link: Link) -> None:
    """Make all of them for a node, below its folder."""
    pki = folder / "pki"
    authority = Authority(pki / "authority")
    authority.make()
    for name, subject, names in _servers(link):
        authority.issue(pki / f"{name}.key", pki / f"{name}.crt", subject, names)
    for account, subject in ACCOUNTS.items():
        key, certificate = pki / f"{account}.key", pki / f"{account}.crt"
        authority.issue(key, certificate, subject)
        host = link.node if account == ADMIN else "127.0.0.1"
        written = _kubeconfig(f"https://{host}:{API_PORT}", authority.certificate, certificate, key)
        (folder / account_file(account)).write_text(written, encoding="ascii")
    signing = str(pki / "service-accounts.key")
    options = ["-name", "prime256v1", "-genkey", "-noout", "-out", signing]
    subprocess.run(["openssl", "ecparam", *options], check=True, capture_output=True)


def _servers(link: Link) -> list[tuple[str, str, list[str]]]:
    """List who answers over TLS, and the API server as a client of the kubelet."""
    service = _SERVICE.split(".")
    called = [".".join(service[:count]) for count in (1, 2, 3, 5)]
    addresses = ["127.0.0.1", FIRST_SERVICE, BRIDGE, link.node]
    names = [*(f"DNS:{name}" for name in called), *(f"IP:{address}" for address in addresses)]
    return [
        ("kube-apiserver", "/CN=kube-apiserver", names),
        ("kubelet-server", f"/CN={NODE_NAME}", [f"DNS:{NODE_NAME}", f"IP:{BRIDGE}"]),
        ("kubelet-client", "/CN=kube-apiserver-kubelet-client", []),
    ]


def _kubeconfig(server: str, authority: Path, certificate: Path, key: Path) -> str:
    """Write a kubeconfig, in JSON, that needs no other file."""
    cluster = {"server": server, "certificate-authority-data": _inline(authority)}
    user = {"client-certificate-data": _inline(certificate), "client-key-data": _inline(key)}
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    return json.dumps(written, indent=2)


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
