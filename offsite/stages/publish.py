"""From what a stage made to a bundle in the exchange, exactly once."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorFacts,
    check_emulator,
    check_files,
    read_manifest,
    strip_companions,
    write_manifest,
)
from offsite.errors import BundleError, InputError
from offsite.events import Monitor
from offsite.layers import Loaded, family, save
from offsite.stages.workspace import Workspace
from offsite.store import whole_folder


def already_published(space: Workspace, monitor: Monitor) -> bool:
    """Look whether this very job's result is in the exchange and sound, and tell so.

    Raises:
        InputError: the name was used before, for something else.
    """
    party, peer = space.party, space.peer
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
    made: Loaded,
    facts: EmulatorFacts,
    remember: Callable[[str], None],
    monitor: Monitor,
) -> None:
    """Write an emulator bundle and send it; `remember` gets its digest before that.

    Raises:
        BundleError: the receiver's own check would refuse it.
    """

    def fill(folder: Path) -> None:
        save(made, folder)
        strip_companions(folder)

    def approve(folder: Path, digest: str) -> None:
        check_emulator(folder)
        remember(digest)

    fields = {"architecture": family(made.model).architecture, "dtype": str(made.dtype)[6:]}
    _publish(space, fill, {**fields, "facts": facts}, approve, monitor)


def publish_adapter(
    space: Workspace,
    changes: Mapping[str, Tensor],
    facts: AdapterFacts,
    architecture: str,
    monitor: Monitor,
) -> None:
    """Write an adapter bundle and send it. Its changes are float32, as the receiver demands."""

    def fill(folder: Path) -> None:
        tensors = {name: value.cpu().contiguous() for name, value in changes.items()}
        save_file(tensors, folder / ADAPTER)

    fields = {"architecture": architecture, "dtype": "float32", "facts": facts}
    _publish(space, fill, fields, lambda folder, digest: None, monitor)


def _publish(
    space: Workspace,
    fill: Callable[[Path], None],
    fields: Mapping[str, object],
    approve: Callable[[Path, str], None],
    monitor: Monitor,
) -> None:
    result, us, peer = space.folder / "result", space.party.id, space.peer
    with whole_folder(result) as folder:
        fill(folder)
        digest = write_manifest(folder, name=space.job, made_by=us, made_for=peer, **fields)
    monitor.check()
    approve(result, digest)
    space.remember(digest)
    manifest, _ = read_manifest(result)
    uri = space.party.exchange.publish(result, us, peer, space.job)
    monitor.artifact(space.job, digest, uri, manifest.size)
