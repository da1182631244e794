"""Commands as an administrator types them, with kubectl and offsite on the PATH."""

import re
import subprocess
import sys
from pathlib import Path

from cluster.access import Cluster

_PROGRAMS = ("kubectl", "export", "offsite", "(umask")


def commands(notes: str) -> list[str]:
    """Give the commands in a chart's notes: what is set in, paragraph by paragraph."""
    blocks = re.findall(r"(?:^    .+\n?)+", notes, re.MULTILINE)
    return [each for each in blocks if each.strip().startswith(_PROGRAMS)]


def typed(cluster: Cluster, folder: Path, *script: str) -> None:
    """Run a script in a folder, until something in it fails; end what it left in the background.

    Raises:
        RuntimeError: something failed; the message has what was told.
    """
    programs = (Path(cluster.kubectl_path).parent, Path(sys.executable).parent)
    path = ":".join([*map(str, programs), cluster.environ["PATH"]])
    known = {**cluster.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}
    whole = "\n".join(("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *script))
    command = ["bash", "-euo", "pipefail", "-c", whole]
    done = subprocess.run(command, env=known, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{whole}\n{done.stdout}{done.stderr}")
