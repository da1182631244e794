"""From a bundle in the exchange to a checked copy in the party's own folder."""

from collections.abc import Callable
from pathlib import Path

from offsite.bundle import MANIFEST, Manifest, read_manifest
from offsite.errors import BundleError
from offsite.stages.workspace import Workspace

Check = Callable[[Path], tuple[Manifest, str]]


def receive(space: Workspace, name: str, digest: str, check: Check) -> tuple[Path, Manifest]:
    """Copy the peer's bundle to a folder of our own, and check it there.

    Args:
        digest: of the manifest that the job began with.
        check: decides whether the copy may be opened; gives its manifest and digest.

    Raises:
        BundleError: it may not be opened, is meant for somebody else, or was changed meanwhile.
    """
    folder, party, peer = space.folder / "opened", space.party, space.peer
    source = party.sent(peer, name)
    manifest, _ = read_manifest(source)
    sizes = {file: entry.size for file, entry in manifest.files.items()}
    sizes[MANIFEST] = (source / MANIFEST).stat().st_size
    party.exchange.fetch(peer, party.id, name, sizes, folder)
    manifest, found = check(folder)
    if found != digest:
        raise BundleError(f"the bundle {name} was changed while it was read; run the job again")
    told = (manifest.name, manifest.made_by, manifest.made_for)
    if told != (name, peer, party.id):
        raise BundleError(
            f"the bundle {name} of {peer} for {party.id} says that it is {told[0]} of {told[1]} "
            f"for {told[2]}"
        )
    return folder, manifest
