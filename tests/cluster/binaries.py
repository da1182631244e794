"""The programs of the node that are built from Go modules, and KubeRay's manifests."""

import os
import re
import shutil
from functools import partial
from pathlib import Path

from offsite_testing.gobuild import GoProgram, find, kept, module_folder, on_path

_KUBERAY = "github.com/ray-project/kuberay/ray-operator"
COMPONENTS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
"""The names that the binary of Kubernetes answers to."""


def kube() -> Path:
    """Find or build Kubernetes: one binary that looks at the name that it is called by."""
    version = pinned("kube", "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".")
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamps = tuple((f"k8s.io/component-base/version.{name}", fact) for name, fact in facts.items())
    return find(GoProgram("kube", stamps=stamps))


def component(name: str) -> Path:
    """Find a component of Kubernetes on the PATH, or give the binary that answers to its name."""
    version = ("version", "--client") if name == "kubectl" else ("--version",)
    minor = pinned("kube", "k8s.io/kubernetes").rpartition(".")[0]
    named = GoProgram("kube").variable in os.environ
    found = None if named else on_path(name, version, rf"{minor}\.")
    return found or kube()


def coredns() -> Path:
    """Find or build CoreDNS."""
    known = ("-version",), r"CoreDNS-1\."
    return find(GoProgram("coredns", "github.com/coredns/coredns", *known))


def kube_router() -> Path:
    """Find or build kube-router, which enforces NetworkPolicy."""
    package = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
    return find(GoProgram("kube-router", package, ("--version",), r"version v2\."))


def pause() -> Path:
    """Find or build what holds the namespaces of a pod open."""
    return find(GoProgram("pause"))


def helm() -> Path:
    """Find or build Helm."""
    return find(GoProgram("helm", "helm.sh/helm/v4/cmd/helm", ("version", "--short"), r"v4\."))


def kuberay() -> Path:
    """Find or build the operator of KubeRay, which tells no version: never that on the PATH."""
    return find(_kuberay())


def kuberay_manifests() -> Path:
    """Give the folder of KubeRay's manifests, as its module has them for kustomize."""
    return kept(_kuberay(), "kuberay-manifests", partial(_copy_manifests, _kuberay()))


PROGRAMS = (pause, kube, coredns, kube_router, helm, kuberay, kuberay_manifests)
"""What finds or builds each of them."""


def pinned(program: str, module: str) -> str:
    """Read the version of a module in a program's `go.mod`."""
    text = (GoProgram(program).folder / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.MULTILINE)
    assert found is not None, f"{module} is not in the go.mod of {program}"
    return found[1]


def _kuberay() -> GoProgram:
    return GoProgram("kuberay", _KUBERAY)


def _copy_manifests(program: GoProgram, target: Path) -> None:
    source = module_folder(program, _KUBERAY) / "config"
    # its own files cannot be written, and so not be removed
    shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
