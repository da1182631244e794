"""The images of this checkout: built with buildah when their inputs changed, given to a containerd.

`python -m cluster.images` builds them all ahead of time, and has them in stock for new nodes.
"""

import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from filelock import Timeout

from cluster.base_image import base_image, base_name
from cluster.buildah import buildah, call, folder, keep_only, lock, names, prune
from cluster.layout import hand_over, layout
from cluster.stock import restock
from offsite_testing.minio_server import minio_binary

ROOT = Path(__file__).parents[2]
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_INDEX_SETTINGS = {"pip.conf": "PIP_CONFIG_FILE", "uv.toml": "UV_CONFIG_FILE"}
"""Secrets that the Dockerfiles mount, and the variables that name this machine's."""


@dataclass(frozen=True)
class Image:
    """A Dockerfile, and how it is built here."""

    name: str
    dockerfile: str
    program: Callable[[], Path] | None = None
    """Gives a program that this machine has built, in place of the Dockerfile's stage `built`."""
    root: Path = ROOT
    """The checkout."""


CHANGED = "-changed"
"""What the names of images end with that a test builds for itself."""

RUNTIME = Image("runtime", "images/runtime/Dockerfile")
OPERATOR = Image("operator", "images/operator/Dockerfile")
MINIO = Image("minio", "images/minio/Dockerfile", minio_binary)
IMAGES = (RUNTIME, OPERATOR, MINIO)


def reference(image: Image) -> str:
    """Name an image as pods do. The tag is the digest of all that it is built from."""
    digest = hashlib.sha256()
    for path in inputs(image):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(image.root)
        runs = bool(path.stat().st_mode & stat.S_IXUSR)
        digest.update(f"{name} {runs} {content}\n".encode())
    digest.update(image.program().read_bytes() if image.program else base_name().encode())
    return f"localhost/offsite-{image.name}:{digest.hexdigest()[:12]}"


def inputs(image: Image) -> list[Path]:
    """List the files of this checkout that an image is built from: what its Dockerfile copies."""
    dockerfile = image.root / image.dockerfile
    text = dockerfile.read_text(encoding="utf-8")
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    copied = [name for line in lines for name in line.split()]
    sources = [path for name in copied for path in _files(image.root / name)]
    return [dockerfile, image.root / ".dockerignore", *sources]


def build(image: Image) -> str:
    """Build an image, unless that was done; give its reference.

    Raises:
        RuntimeError: it cannot be built.
    """
    name = reference(image)
    with lock():
        if name not in names():
            with _options(image) as options:
                buildah("build", *options, "--tag", name, str(image.root))
            keep_only(name)
    return name


def load(image: Image, ctr: Sequence[str]) -> str:
    """Bring an image into a containerd, unless it is there; give its reference.

    Args:
        ctr: how the client of that containerd is called.

    Raises:
        RuntimeError: it cannot be built, or containerd does not take it.
    """
    with lock():
        name = build(image)
        hand_over(name, ctr)
    return name


def push(name: str, registry: str) -> str:
    """Push an image that was built to a registry; give its reference there.

    Raises:
        RuntimeError: the registry does not take it.
    """
    there = f"{registry}/{name.rpartition('/')[2]}"
    with lock():
        buildah("push", name, f"docker://{there}")
    return there


def discard(image: Image) -> None:
    """Remove what is kept of an image."""
    with lock():
        buildah("rmi", build(image))
        shutil.rmtree(layout(reference(image)), ignore_errors=True)


def sweep() -> list[str]:
    """Remove what killed runs left, unless another run is active; return the images.

    Raises:
        RuntimeError: buildah failed.
    """
    if not folder().exists():
        return []
    with suppress(Timeout), lock().acquire(timeout=0):
        prune()
        for scratch in folder().glob("tmp*"):
            _clear(scratch)
        left = [name for name in names() if name.rpartition(":")[0].endswith(CHANGED)]
        for name in left:
            buildah("rmi", name)
            shutil.rmtree(layout(name), ignore_errors=True)
        return left
    return []


def _clear(scratch: Path) -> None:
    """Remove the folder of a killed run, and unmount what is mounted in it."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for mount in reversed([line.split()[1] for line in lines]):
        if mount.startswith(f"{scratch}/"):
            call("umount", mount)
    shutil.rmtree(scratch)


def _files(place: Path) -> list[Path]:
    """List what a copy takes, as `.dockerignore` leaves it."""
    if place.is_file():
        return [place]
    within = sorted(place.rglob("*"))
    return [path for path in within if path.is_file() and "__pycache__" not in path.parts]


@contextmanager
def _options(image: Image) -> Iterator[list[str]]:
    common = ["--isolation", "chroot", "--layers", "--file", str(image.root / image.dockerfile)]
    if image.program is None:
        yield [*common, "--build-arg", f"BASE={base_image()}", *_network()]
        return
    with TemporaryDirectory(dir=folder()) as built:
        shutil.copy(image.program(), Path(built) / image.name)
        yield [*common, "--build-context", f"built={built}"]


def _network() -> list[str]:
    """Let a build reach what this machine reaches; nothing of this remains in the image."""
    authorities = os.environ.get("SSL_CERT_FILE", _AUTHORITIES)
    found = {secret: os.environ.get(name) for secret, name in _INDEX_SETTINGS.items()}
    secrets = [f"--secret=id={secret},src={path}" for secret, path in found.items() if path]
    return ["--network=host", f"--volume={authorities}:{_AUTHORITIES}:ro", *secrets]


def archive(name: str, place: Path) -> None:
    """Write an image that was built as `kind load image-archive` and `docker load` read it.

    Raises:
        RuntimeError: it cannot be written.
    """
    with lock():
        buildah("push", name, f"docker-archive:{place}:{name}")


def main(
    archives: Annotated[Path | None, typer.Option(help="A folder for archives.")] = None,
) -> None:
    """Build all images, and have them in stock where there is a containerd."""
    for image in IMAGES:
        name = build(image)
        if shutil.which("containerd"):
            restock([name])
        if archives is not None:
            archives.mkdir(parents=True, exist_ok=True)
            archive(name, archives / f"{image.name}.tar")
        typer.echo(name)


if __name__ == "__main__":
    try:
        typer.run(main)
    except RuntimeError as error:
        sys.exit(f"images: {error}")
