"""Resolves the locations of a job to files on this disk, and computes their digests."""

import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from offsite.bundle import check_original, files_read, is_plain
from offsite.bundle.manifest import file_digest
from offsite.errors import InputError, ModelError, StorageError
from offsite.rows import DataFile, unreadable
from offsite.store import disk_errors, privately
from offsite.store.beneath import read_below
from offsite.wire import canonical, digest_of

COMPANIONS = ("*.json", "*.model", "*.txt", "*.jinja", "LICENSE*")
"""The files that stand beside a model's weights, its config among them."""
MODEL_FILES = ("*.safetensors", *COMPANIONS)
"""The files of a model that are read."""
_LARGEST_COMPANION = 256 << 20


def is_companion(name: str) -> bool:
    """Whether a file of that name stands beside a model's weights, and is not made anew with them.

    Hidden files, and such as `LICENSE (copy)`, do not.
    """
    made_anew = name.endswith(".index.json")
    return is_plain(name) and not made_anew and any(fnmatchcase(name, p) for p in COMPANIONS)


def copy_companions(model: Path, folder: Path, root: Path | None = None) -> None:
    """Copy what stands beside a model's weights.

    Args:
        root: what its files may be links into; None: anything.

    Raises:
        InputError: one leads out of there, or is no regular file.
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
        raise InputError(f"{path} leads out of {root}; put a copy in its place")
    target.write_bytes(read_below(root, str(real.relative_to(root)), _LARGEST_COMPANION))


def from_hub(name: str) -> Path:
    """Get a model from the model hub, `org/name` or `org/name@revision`; gives its folder.

    Raises:
        ModelError: the hub did not give it.
    """
    # the steps that hold keys have no hub
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


def model_digest(folder: Path) -> str:
    """Compute one digest over everything of a model that decides what it computes.

    Raises:
        ModelError: there is no model in the folder, or it cannot be read.
    """
    try:
        with disk_errors(folder):
            names = check_original(folder)
            return digest_of_model({name: file_digest(folder / name) for name in names})
    except StorageError as error:
        raise ModelError(f"cannot read the model {folder}: {error}") from error


def size_of(model: Path) -> int:
    """Count the bytes of the files of a model that are read."""
    return sum((model / name).stat().st_size for name in check_original(model))


def digest_of_model(files: Mapping[str, str]) -> str:
    """Compute that digest of files that are elsewhere.

    Args:
        files: the SHA-256 of each file, in hex, by name; also of those that decide nothing.
    """
    return digest_of(canonical({name: files[name] for name in files_read(files)}))


def text_digest(text: DataFile) -> str:
    """Compute the digest of a data file, by which parties know that they mean the same text.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        return f"sha256:{file_digest(text.path)}"
    except OSError as error:
        raise unreadable(text, error) from error
