"""Built images as folders of blobs (OCI layouts), of which a containerd gets what it lacks.

An archive of the runtime is gigabytes, of which a change of our code touches a megabyte: a layout
takes only the new blobs from buildah's storage, and an import takes only those too.
"""

import json
import subprocess
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cluster.buildah import call, folder, stored
from cluster.processes import BOUND, BOUND_TREE

_NAMESPACE = ("--namespace", "k8s.io")
"""The one that the kubelet looks into."""


def export(name: str) -> Path:
    """Bring the layout of an image up to date, and give its folder.

    Raises:
        RuntimeError: skopeo is not installed, or it failed.
    """
    place = layout(name)
    place.mkdir(parents=True, exist_ok=True)
    index = place / "index.json"
    if not (index.exists() and name in index.read_text(encoding="utf-8")):
        index.unlink(missing_ok=True)  # of the generation before
        options = ("--quiet", "--dest-oci-accept-uncompressed-layers")
        call("skopeo", "copy", *options, stored(name), f"oci:{place}:{name}", bound=BOUND_TREE)
        _sweep(place)
    return place


def layout(name: str) -> Path:
    """Name the folder of an image's layout, the same for each of its generations."""
    return folder() / "layouts" / name.rpartition(":")[0].rpartition("/")[2]


def blobs(name: str) -> list[Path]:
    """List the files of an image's layout; none: it was not exported."""
    place = layout(name)
    there = (place / "index.json").exists()
    return [_blob(place, digest) for digest in _digests(place)] if there else []


def hand_over(name: str, ctr: Sequence[str]) -> None:
    """Bring an image into a containerd, unless it is there, and remove what it replaces.

    Args:
        ctr: how the client of that containerd is called.

    Raises:
        RuntimeError: containerd does not take it.
    """
    known = _list(ctr, "image")
    if name not in known:
        _import(export(name), set(_list(ctr, "content")), ctr)
        repository = name.rpartition(":")[0]
        # last: until now they kept the layers that both have
        if old := [other for other in known if other.rpartition(":")[0] == repository]:
            call(*ctr, *_NAMESPACE, "image", "remove", *old)


def _import(place: Path, held: set[str], ctr: Sequence[str]) -> None:
    command = [*BOUND, *ctr, *_NAMESPACE, "image", "import", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as importing:
        assert importing.stdin is not None
        assert importing.stdout is not None
        with suppress(BrokenPipeError), importing.stdin:  # it says why it stopped reading
            _write(place, held, importing.stdin)
        said = importing.stdout.read().decode()
    if importing.returncode != 0:
        raise RuntimeError(f"containerd did not take {place.name}:\n{said}")


def _write(place: Path, held: set[str], stream: IO[bytes]) -> None:
    """Write a layout as an archive, without the blobs that its reader holds."""
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name in ("oci-layout", "index.json"):
            archive.add(place / name, name)
        for digest in _digests(place):
            if digest not in held:
                archive.add(_blob(place, digest), str(_blob(Path(), digest)))


def _digests(place: Path) -> list[str]:
    """List the blobs of the one image in a layout: manifest, configuration and layers."""
    [descriptor] = _read(place / "index.json")["manifests"]
    manifest = _read(_blob(place, descriptor["digest"]))
    return [part["digest"] for part in (descriptor, manifest["config"], *manifest["layers"])]


def _sweep(place: Path) -> None:
    needed = {_blob(place, digest) for digest in _digests(place)}
    for path in (place / "blobs" / "sha256").iterdir():
        if path not in needed:
            path.unlink()


def _blob(place: Path, digest: str) -> Path:
    return place / "blobs" / digest.replace(":", "/")


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _list(ctr: Sequence[str], kind: str) -> list[str]:
    return call(*ctr, *_NAMESPACE, kind, "list", "--quiet").split()
