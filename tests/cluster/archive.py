"""Images of one static program and nothing else, without a builder of images."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_COMMAND = "program"


def image_of(program: Path, image: str, target: Path) -> Path:
    """Write an image, which runs the program, in an archive as `docker save` writes them.

    Args:
        image: the name with its tag.
    """
    layer = _tar({_COMMAND: program.read_bytes()}, mode=0o755)
    configuration = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{_COMMAND}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    files = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": json.dumps(configuration).encode(),
        "layer.tar": layer,
    }
    target.write_bytes(_tar(files, mode=0o644))
    return target


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
