"""Resolves a job's locations to local files, and computes their digests."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from offsite.bundle import check_original, files_read, is_plain, labelled
from offsite.bundle.manifest import file_digest
from offsite.errors import InputError, ModelError, StorageError
from offsite.rows import DataFile, image_files, unreadable
from offsite.store import disk_errors, privately
from offsite.store.beneath import read_below
from offsite.wire import canonical, digest_of

COMPANIONS = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*")
"""The files beside a model's weights, including its config."""
MODEL_FILES = ("*.safetensors", *COMPANIONS)
"""The files of a model that are read."""
_LARGEST_COMPANION = 256 << 20


def is_companion(name: str) -> bool:
    """Return whether a file belongs beside a model's weights, and is not regenerated with them.

    Hidden files, and names such as `LICENSE (copy)`, do not.
    """
    made_anew = name.endswith(".index.json")
    return is_plain(name) and not made_anew and any(fnmatchcase(name, p) for p in COMPANIONS)


def copy_companions(model: Path, folder: Path, root: Path | None = None) -> None:
    """Copy the files beside a model's weights.

    Args:
        root: Folder that links must stay in; None: no restriction.

    Raises:
        InputError: A file links out of it, or is not a regular file.
    """
    with privately():
        for path in sorted(model.iterdir()):
            if is_companion(path.name) and path.is_file():
                _copy_companion(path, folder / path.name, root)


def _copy_companion(path: Path, target: Path, root: Path | None) -> None:
    if root is None:
        shutil.copyfile(path, target)
        return
    real = path.resolve()
    if not real.is_relative_to(root):
        raise InputError(f"{path} links out of {root}; replace the link with a copy")
    target.write_bytes(read_below(root, str(real.relative_to(root)), _LARGEST_COMPANION))


def write_labels(folder: Path, labels: Sequence[str]) -> None:
    """Write the classes of a model's new head into its config."""
    path = folder / "config.json"
    config = labelled(json.loads(path.read_bytes()), labels)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def from_hub(name: str) -> Path:
    """Download a model from the model hub, `org/name` or `org/name@revision`; returns its folder.

    Raises:
        ModelError: The hub did not provide it.
    """
    # not imported by the steps that hold keys, which have no hub access
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repo, revision=revision or None, allow_patterns=list(MODEL_FILES), ignore_patterns="*/*"
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"cannot get hf://{name} from the model hub: {' '.join(str(error).split())}"
        ) from error
    return Path(folder)


def model_digest(folder: Path, known: Mapping[str, str] | None = None) -> str:
    """Compute one digest over all files of a model that affect its output.

    Args:
        known: SHA-256 of some files in hex, by name; they are not read again.

    Raises:
        ModelError: The folder has no model, or the model is not readable.
    """
    try:
        with disk_errors(folder):
            names, found = check_original(folder), known or {}
            left = {name: file_digest(folder / name) for name in names if name not in found}
            return digest_of_model({**found, **left})
    except StorageError as error:
        raise ModelError(f"cannot read the model {folder}: {error}") from error


def size_of(model: Path) -> int:
    """Return the total size in bytes of a model's files that are read."""
    return sum((model / name).stat().st_size for name in check_original(model))


def digest_of_model(files: Mapping[str, str]) -> str:
    """Compute a model's digest from the digests of its files.

    Args:
        files: SHA-256 of each file in hex, by name; files that do not affect the output are
            ignored.
    """
    return digest_of(canonical({name: files[name] for name in files_read(files)}))


def data_digest(data: DataFile) -> str:
    """Compute the digest of a data set, by which parties recognize the same data.

    Of images in files of their own it includes each name and content, at constant memory.

    Raises:
        DataError: A file is missing or not readable.
    """
    several = data.is_folder
    try:
        own = "" if data.is_folder else file_digest(data.path)
        every = hashlib.sha256(own.encode())
        for name, file in image_files(data):
            several = True
            with file() as opened:
                every.update(canonical([name, hashlib.file_digest(opened, "sha256").hexdigest()]))
    except OSError as error:
        raise unreadable(data, error) from error
    return f"sha256:{every.hexdigest() if several else own}"
