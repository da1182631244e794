"""Helm, and the charts of this checkout."""

import json
import os
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from cluster.access import Manifest
from cluster.binaries import helm
from cluster.images import ROOT
from cluster.namespaces import Namespace
from cluster.processes import run

CHARTS = ROOT / "charts"
_NOWHERE = "/nonexistent"


def rendered(
    chart: str, values: Mapping[str, Any], *, release: str = "lab", namespace: str = "lab"
) -> list[Manifest]:
    """Render a chart without a cluster.

    Raises:
        RuntimeError: it refuses the values; the message is Helm's own.
    """
    options = (f"--namespace={namespace}", "--values=-")
    told = _run("template", release, str(CHARTS / chart), *options, given=values)
    return [each for each in YAML(typ="safe").load_all(told) if each]


def lint(chart: str, values: Mapping[str, Any]) -> str:
    """Let Helm look for mistakes in a chart; warnings are such.

    Raises:
        RuntimeError: it found some.
    """
    return _run("lint", str(CHARTS / chart), "--strict", "--values=-", given=values)


def install(
    space: Namespace, release: str, chart: str, values: Mapping[str, Any], *options: str
) -> str:
    """Install a chart in a namespace, or upgrade it; give what Helm tells the user next.

    Args:
        options: of `helm upgrade`, such as `--wait`.

    Raises:
        RuntimeError: Helm or the cluster refuses it.
    """
    full = ("--install", "--values=-", "--timeout=120s", *options)
    return in_space(space, "upgrade", release, str(CHARTS / chart), *full, given=values)


def in_space(space: Namespace, *arguments: str, given: Mapping[str, Any] | None = None) -> str:
    """Run Helm in a namespace, as the administrator of its cluster.

    Raises:
        RuntimeError: it failed; the message is its own.
    """
    cluster = space.cluster
    where = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={space.name}")
    return _run(*arguments, *where, given=given, environ=cluster.environ)


def _run(
    *arguments: str,
    given: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    known = environ or {"PATH": os.defpath, "HOME": _NOWHERE}
    return run([str(helm()), *arguments], environment=known, given=json.dumps(given or {}))
