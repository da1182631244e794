"""One command in an image, confined as a pod under PodSecurity `restricted`, without a cluster."""

import json
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cluster.buildah import buildah, call, folder, lock
from cluster.cgroups import PREFIX
from cluster.processes import BOUND_TREE

_SCRATCH = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}


def run(name: str, *command: str) -> str:
    """Run a command as the image's own user, and give what it printed.

    It has no capabilities and no network, and may write below /tmp alone.

    Raises:
        RuntimeError: it failed.
    """
    with lock(), TemporaryDirectory(dir=folder()) as bundle:
        container = buildah("from", name).strip()
        try:
            call("runc", "spec", "--bundle", bundle)
            spec = Path(bundle) / "config.json"
            confined = _confine(json.loads(spec.read_bytes()), config(name), command)
            confined["root"] = {"path": buildah("mount", container).strip(), "readonly": True}
            spec.write_text(json.dumps(confined), encoding="utf-8")
            state = str(Path(bundle) / "state")
            started = ("run", "--bundle", bundle, f"{PREFIX}{secrets.token_hex(8)}")
            return call("runc", "--root", state, *started, bound=(*BOUND_TREE, "--mount-proc"))
        finally:
            buildah("rm", container)


def config(name: str) -> dict[str, Any]:
    """Give what an image says about how it is run."""
    found: dict[str, Any] = _described(name)["config"]
    return found


def layers(name: str) -> list[str]:
    """List the digests of an image's layers, the lowest first."""
    found: list[str] = _described(name)["rootfs"]["diff_ids"]
    return found


def _described(name: str) -> Any:
    return json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]


def _confine(spec: Any, image: dict[str, Any], command: tuple[str, ...]) -> Any:
    user, _, group = image["User"].partition(":")
    process = {
        "terminal": False,
        "user": {"uid": int(user), "gid": int(group)},
        "env": image["Env"],
        "cwd": image.get("WorkingDir", "/"),
        "args": command,
        "capabilities": {},
    }
    return {
        **spec,
        "process": {**spec["process"], **process},
        "mounts": [*spec["mounts"], _SCRATCH],
    }
