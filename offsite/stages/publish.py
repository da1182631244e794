"""From what a stage made to a bundle in the exchange, exactly once."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorFacts,
    check_files,
    read_manifest,
    write_manifest,
)
from offsite.errors import BundleError, InputError
from offsite.events import Monitor
from offsite.layers import Loaded, family, save
from offsite.stages.workspace import Workspace
from offsite.store import whole_folder


def already_published(space: Workspace, peer: str, monitor: Monitor) -> bool:
    """Look whether this very job's result is in the exchange and sound, and tell so.

    Raises:
        InputError: the name was used before, for something else.
    """
    party = space.party
    place, note = party.exchange.path(party.id, peer, space.job), space.published()
    if not place.exists():
        return False
    try:
        manifest, digest = read_manifest(place)
        ours = note is not None and (note.fingerprint, note.digest) == (space.fingerprint, digest)
        if ours:
            check_files(place, manifest)
    except BundleError as error:
        monitor.log(f"what was published before is damaged, so it is made again: {error}")
        return False
    if not ours:
        raise InputError(
            f"{party.id} has published another bundle named {space.job} to {peer} already; "
            "give this job a name of its own"
        )
    monitor.artifact(space.job, digest, place.as_uri(), manifest.size)
    return True


def publish_emulator(
    space: Workspace,
    peer: str,
    made: Loaded,
    facts: EmulatorFacts,
    remember: Callable[[str], None],
    monitor: Monitor,
) -> None:
    """Write an emulator bundle and send it; `remember` gets its digest before that."""

    def fill(folder: Path) -> None:
        save(made, folder)

    fields = {"architecture": family(made.model).architecture, "dtype": str(made.dtype)[6:]}
    _publish(space, peer, fill, {**fields, "facts": facts}, remember, monitor)


def publish_adapter(
    space: Workspace,
    peer: str,
    changes: Mapping[str, Tensor],
    facts: AdapterFacts,
    architecture: str,
    monitor: Monitor,
) -> None:
    """Write an adapter bundle and send it."""

    def fill(folder: Path) -> None:
        tensors = {name: value.cpu().contiguous() for name, value in changes.items()}
        save_file(tensors, folder / ADAPTER)

    fields = {"architecture": architecture, "dtype": "float32", "facts": facts}
    _publish(space, peer, fill, fields, lambda digest: None, monitor)


def _publish(
    space: Workspace,
    peer: str,
    fill: Callable[[Path], None],
    fields: Mapping[str, object],
    remember: Callable[[str], None],
    monitor: Monitor,
) -> None:
    result = space.folder / "result"
    with whole_folder(result) as folder:
        fill(folder)
        digest = write_manifest(folder, name=space.job, made_by=space.party.id, **fields)
    monitor.check()
    remember(digest)
    space.remember(digest)
    manifest, _ = read_manifest(result)
    uri = space.party.exchange.publish(result, space.party.id, peer, space.job)
    monitor.artifact(space.job, digest, uri, manifest.size)
