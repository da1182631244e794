"""A node that runs, or ran: where its files are and how to talk to it."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cluster import cgroups
from cluster.components import ADMIN, ENVIRONMENT, LESS_OFTEN, account_file
from cluster.network import Link
from cluster.processes import run
from cluster.supervisor import LINK
from offsite_testing.gobuild import cache

READY = "ready"
"""The file that says that pods can run in it, below its folder."""


@dataclass(frozen=True)
class Node:
    """A Kubernetes cluster of one node, in a folder of its own."""

    name: str
    home: Path = field(default_factory=lambda: nodes())
    """The folder that has its own."""

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self.home / self.name

    @property
    def registration(self) -> Path:
        """The link by which it is found, wherever it is; there before anything else of it is."""
        return whereabouts() / self.group

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in, from this machine."""
        return self.folder / account_file(ADMIN)

    @property
    def link(self) -> Link:
        """Its link to this machine; at its host's address, pods reach what listens there."""
        return Link(int((self.folder / LINK).read_text(encoding="ascii")))

    @property
    def audit_log(self) -> Path:
        """What the API server was asked to write, a line of JSON each."""
        return self.folder / "log" / "audit.log"

    @property
    def group(self) -> str:
        """The name of its control groups, which no other has."""
        return f"{cgroups.PREFIX}{self._identity}"

    @property
    def hardware(self) -> str:
        """The hardware address of the host's end of its link, which no other has."""
        return f"02:{bytes.fromhex(self._identity).hex(':')}"

    @property
    def _identity(self) -> str:
        return hashlib.sha256(bytes(self.folder)).hexdigest()[:10]

    @property
    def ctr(self) -> list[str]:
        """How the client of its containerd is called.

        Raises:
            RuntimeError: the node does not run.
        """
        return [*self._enter, "ctr"]

    @property
    def first_process(self) -> int | None:
        """The process that everything in it ends with, if it runs."""
        return cgroups.first_process(self.group)

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and was started to the end."""
        return (self.folder / READY).exists() and self.first_process is not None

    def log(self, component: str) -> str:
        """Read the log of a component so far, such as `kubelet` or `supervisor`."""
        return (self.folder / "log" / f"{component}.log").read_text(encoding="utf-8")

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as the administrator.

        Args:
            given: what it reads on stdin.

        Raises:
            RuntimeError: it failed; the message is its own.
        """
        command = [str(self.folder / "bin" / "kubectl"), *arguments]
        return run(command, environment=self.client_environment, given=given)

    @property
    def client_environment(self) -> dict[str, str]:
        """That of its clients: a bare one, so that no proxy stands between them and the node."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "GOGC": LESS_OFTEN,
        }

    def run(self, *command: str, given: Path | None = None) -> str:
        """Run a command inside the node, as its root.

        Args:
            given: the file that it reads on stdin; some paths are others inside.

        Raises:
            RuntimeError: it failed, or the node does not run.
        """
        return run([*self._enter, *command], environment=ENVIRONMENT, given=given)

    @property
    def _enter(self) -> list[str]:
        if self.first_process is None:
            raise RuntimeError(f"node {self.name} does not run")
        return ["nsenter", "--target", str(self.first_process), "--all", "--"]

    def load_image(self, archive: Path) -> None:
        """Load images from an archive of Docker or OCI."""
        self.run("ctr", "--namespace", "k8s.io", "images", "import", "-", given=archive)


def nodes() -> Path:
    """Name the folder in which new nodes get theirs."""
    return Path(os.environ.get("OFFSITE_NODES") or cache() / "nodes").absolute()


def whereabouts() -> Path:
    """Name the folder that has a link to each node's."""
    return cache() / "whereabouts"


def all_nodes() -> list[Node]:
    """List the nodes that are there, dead ones too, in whatever folders."""
    links = sorted(path for path in whereabouts().glob(f"{cgroups.PREFIX}*") if path.is_symlink())
    return [Node(link.readlink().name, link.readlink().parent) for link in links]
