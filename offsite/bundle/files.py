"""What the checks of every kind of bundle share: names, bytes, headers of tensors."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from offsite.bundle.manifest import MANIFEST, FileEntry, Manifest, file_digest, read_manifest
from offsite.errors import BundleError

Kind = tuple[tuple[int, ...], str]
"""Shape and dtype of a tensor."""


def check_names(manifest: Manifest, allowed: Callable[[str], bool]) -> None:
    """Check that a manifest names nothing but what may be there.

    Raises:
        BundleError: it names another file.
    """
    for name in manifest.files:
        if not allowed(name):
            raise BundleError(
                f"{MANIFEST} of {manifest.name} names a file that is not allowed: {name!r}"
            )


def check_whole(folder: Path, digest: Callable[[Path], str] = file_digest) -> Manifest:
    """Check that a bundle is its manifest's, byte for byte; give the manifest.

    Args:
        digest: gives the SHA-256 of a file, in hex.

    Raises:
        BundleError: there is no manifest, or a file is missing, damaged, unknown, or no regular
            file.
    """
    manifest, _ = read_manifest(folder)
    check_files(folder, manifest.files, digest=digest)
    return manifest


def check_files(
    folder: Path,
    files: Mapping[str, FileEntry],
    listing: str = MANIFEST,
    digest: Callable[[Path], str] = file_digest,
) -> None:
    """Check that a folder holds the files that it should, byte for byte, and nothing else.

    Args:
        files: what there should be.
        listing: the file that says so, which is not among them.
        digest: gives the SHA-256 of a file, in hex.

    Raises:
        BundleError: a file is missing, damaged, unknown, or no regular file.
    """
    present = {path.name: path for path in folder.iterdir() if path.name != listing}
    for name, path in present.items():
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{str(path)!r} is not a regular file; there may be nothing else")
        if name not in files:
            raise BundleError(f"{str(path)!r} is not in {listing}")
    for name, entry in files.items():
        if name not in present:
            raise BundleError(f"{folder} lacks the file {name!r}")
        path = present[name]
        if path.stat().st_size != entry.size or digest(path) != entry.sha256:
            raise BundleError(f"{path} is not the file of {listing}: it was damaged or changed")


def headers(path: Path) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Read name, shape and dtype of every tensor in a file, but no data.

    Raises:
        BundleError: it is not a safetensors file.
    """
    try:
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                view = file.get_slice(name)
                yield name, tuple(view.get_shape()), view.get_dtype()
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error


def compare(where: Path, found: Mapping[str, Kind], expected: Mapping[str, Kind]) -> None:
    """Check that there are exactly the tensors that should be, each of its kind.

    Raises:
        BundleError: the first that is not.
    """
    if missing := sorted(expected.keys() - found.keys()):
        raise BundleError(f"{where} lacks {len(missing)} tensors, among them {missing[0]!r}")
    if surplus := sorted(found.keys() - expected.keys()):
        raise BundleError(f"{where} has {len(surplus)} tensors too many, such as {surplus[0]!r}")
    for name, facts in found.items():
        if facts != expected[name]:
            raise BundleError(f"{where}: {name!r} is {facts}, but must be {expected[name]}")
