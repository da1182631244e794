"""The programs of the node that come as Debian packages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from cluster.processes import run
from offsite_testing.gobuild import cache

_PACKAGES = {
    "buildah": "buildah",
    "ca-certificates": "update-ca-certificates",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "debootstrap": "debootstrap",
    "etcd-server": "etcd",
    "ethtool": "ethtool",
    "iproute2": "ip",
    "ipset": "ipset",
    "iptables": "iptables",
    "openssl": "openssl",
    "procps": "pkill",
    "runc": "runc",
    "skopeo": "skopeo",
    "socat": "socat",
    "util-linux": "unshare",
}
"""A program or a file of each package, which shows that it is there, wherever it came from."""

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
_POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSAL = "#!/bin/sh\n# while offsite's test cluster installs packages\nexit 101\n"


def install() -> None:
    """Install the packages that are missing; none of their services is started.

    Raises:
        RuntimeError: they cannot be installed.
    """
    cache().mkdir(parents=True, exist_ok=True)
    with FileLock(cache() / "debian.lock"):
        if _is_ours() and os.geteuid() == 0:  # a kill left it behind
            _POLICY.unlink()
        if lacking := missing():
            with _services_refused(lacking):
                _apt_get("update")
                _apt_get("install", "--yes", "--no-install-recommends", *lacking)


def missing() -> list[str]:
    """List the packages of which the program, or the file, is not there."""
    return [name for name, program in _PACKAGES.items() if not _is_there(program)]


def _is_there(program: str) -> bool:
    return Path(program).is_file() if program[0] == "/" else bool(shutil.which(program, path=_PATH))


@contextmanager
def _services_refused(packages: list[str]) -> Iterator[None]:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(
            f"the test cluster needs these packages; install them: {' '.join(packages)}"
        )
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_REFUSAL, encoding="utf-8")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()


def _is_ours() -> bool:
    return _POLICY.is_file() and _POLICY.read_text(encoding="utf-8") == _REFUSAL


def _apt_get(*arguments: str) -> None:
    known = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        # not bound to us: a dpkg that is killed leaves packages half-configured
        run(["apt-get", *arguments], environment=known, bound=())
    except RuntimeError as error:
        raise RuntimeError(f"the test cluster needs Debian packages: {error}") from error
