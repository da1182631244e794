"""The processes of a node: what each is called with, and how it shows that it is ready."""

import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from cluster.mounts import NODE
from cluster.network import BRIDGE, POD_RANGE, SERVICE_RANGE

NODE_NAME = "node"
ADMIN = "admin"
ACCOUNTS = {
    ADMIN: "/O=system:masters/CN=admin",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE_NAME}",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kube-router": "/CN=system:kube-router",
}
"""The subjects of the certificates that the components and the administrator log in with."""

LESS_OFTEN = "200"
"""How often Go collects garbage: memory is less scarce than time. An API server begins in 10.9 s of
a core, not 12.9; kubectl takes a seventh less."""

ENVIRONMENT = {
    "PATH": f"{NODE}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": str(NODE),
    "GOGC": LESS_OFTEN,
}
"""That of the node's processes: nothing of ours, such as a proxy, reaches them."""

_CONFIG = NODE / "config"
_PKI = NODE / "pki"
_ALONE = "--leader-elect=false"
_ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True)
class Component:
    """A process of the node."""

    name: str
    """Also the command that it is called by."""
    options: tuple[str, ...]
    ready: Callable[[], bool] = lambda: True


def components() -> list[Component]:
    """List them in the order in which they start."""
    return [
        Component("etcd", _etcd(), lambda: _listens(2379)),
        Component("containerd", ("--config", f"{_CONFIG}/containerd.toml"), _containerd_answers),
        Component("kube-apiserver", _api_server(), _api_server_is_ready),
        Component("kube-controller-manager", _controller_manager()),
        Component("kube-scheduler", (*_as("kube-scheduler"), _ALONE)),
        Component("kubelet", _kubelet(), lambda: _listens(10250)),
        Component("kube-proxy", (f"--config={_CONFIG}/kube-proxy.yaml",)),
        Component("kube-router", _kube_router()),
    ]


def account_file(account: str) -> str:
    """Name the kubeconfig of an account, below the node's folder."""
    return f"{account}.kubeconfig"


def _as(account: str) -> tuple[str, ...]:
    return (f"--kubeconfig={NODE / account_file(account)}",)


def _etcd() -> tuple[str, ...]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return (
        f"--data-dir={NODE}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # it is as mortal as the machine's memory
    )


def _api_server() -> tuple[str, ...]:
    # PodSecurity and ResourceQuota are on by default, among others
    return (
        f"--advertise-address={BRIDGE}",
        "--allow-privileged=true",
        f"--audit-log-path={NODE}/log/audit.log",
        f"--audit-policy-file={_CONFIG}/audit-policy.yaml",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={_PKI}/authority/public.crt",
        "--enable-admission-plugins=NodeRestriction",
        "--etcd-servers=http://127.0.0.1:2379",
        "--feature-gates=MutatingAdmissionPolicy=true",  # so that pods may request too little
        f"--kubelet-certificate-authority={_PKI}/authority/public.crt",
        f"--kubelet-client-certificate={_PKI}/kubelet-client.crt",
        f"--kubelet-client-key={_PKI}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",  # nobody resolves the node's name
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={_PKI}/service-accounts.key",
        f"--service-account-signing-key-file={_PKI}/service-accounts.key",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={_PKI}/kube-apiserver.crt",
        f"--tls-private-key-file={_PKI}/kube-apiserver.key",
    )


def _controller_manager() -> tuple[str, ...]:
    return (
        *_as("kube-controller-manager"),
        f"--cluster-cidr={POD_RANGE}",
        "--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",  # by default below /usr
        "--kube-api-burst=400",  # a namespace that goes is a hundred requests
        "--kube-api-qps=200",
        _ALONE,
        f"--root-ca-file={_PKI}/authority/public.crt",
        f"--service-account-private-key-file={_PKI}/service-accounts.key",
        "--use-service-account-credentials",
    )


def _kubelet() -> tuple[str, ...]:
    return (
        *_as("kubelet"),
        f"--config={_CONFIG}/kubelet.yaml",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={BRIDGE}",
    )


def _kube_router() -> tuple[str, ...]:
    return (
        *_as("kube-router"),
        f"--hostname-override={NODE_NAME}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
    )


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _containerd_answers() -> bool:
    return _succeeds("ctr", "version")


def _api_server_is_ready() -> bool:
    return _succeeds("kubectl", *_as(ADMIN), "get", "--raw", "/readyz")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 0
