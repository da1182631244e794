"""Packages what a stage made as a finished result, which stays in the workspace until it is sent.

Of several workers, which have all made it, one writes it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file
from torch import Tensor

from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorFacts,
    EmulatorRecord,
    check_companions,
    check_emulator,
    read_manifest,
    strip_companions,
    write_manifest,
)
from offsite.bundle.manifest import FileEntry
from offsite.errors import BundleError, ModelError
from offsite.layers import Loaded, family, leads, save, save_companions
from offsite.release.capability import Recovery
from offsite.release.figures import AUDITED, Figures
from offsite.steps.places import copy_companions, write_labels
from offsite.steps.publishing import DRAFT
from offsite.steps.workspace import Workspace
from offsite.store import whole_folder, write_whole
from offsite.wire import canonical


def check_sendable(made: Loaded, original: Path) -> None:
    """Check, before any work, that a receiver would take what is beside an emulator's weights.

    Args:
        original: the full model, whose files are named.

    Raises:
        ModelError: a file of it holds what no bundle may hold.
    """
    with TemporaryDirectory(prefix="offsite-companions-") as scratch:
        folder = Path(scratch)
        save_companions(made, folder)
        strip_companions(folder)
        try:
            check_companions(folder, [path.name for path in folder.iterdir()])
        except BundleError as error:
            detail = str(error).replace(scratch, str(original))
            raise ModelError(f"an emulator of this model would be refused: {detail}") from error


def finish_emulator(
    space: Workspace,
    made: Loaded,
    facts: EmulatorFacts,
    draft: EmulatorRecord,
    recovery: Recovery | None,
) -> None:
    """Write an emulator bundle, and beside it what its audit found.

    Raises:
        BundleError: the receiver's own check would refuse it.
    """

    write_whole(space.folder / DRAFT, canonical(draft.wire()))
    if recovery is not None:
        write_whole(space.folder / AUDITED, canonical(recovery.wire()))
    fields = {"architecture": family(made.model).architecture, "dtype": str(made.dtype)[6:]}
    _finish(space, partial(write_emulator, made), {**fields, "facts": facts}, check_emulator)


def write_emulator(made: Loaded, folder: Path) -> dict[str, FileEntry]:
    """Write the files of an emulator's bundle, without a manifest; returns those of its weights."""
    files = save(made, folder)
    strip_companions(folder)
    return files


def finish_adapter(
    space: Workspace,
    changes: Mapping[str, Tensor],
    facts: AdapterFacts,
    architecture: str,
    figures: Figures,
) -> None:
    """Write an adapter bundle, and beside it what its audits found. Its changes are float32."""

    def fill(folder: Path) -> None:
        tensors = {name: value.cpu().contiguous() for name, value in changes.items()}
        save_file(tensors, folder / ADAPTER)
        write_whole(space.folder / AUDITED, canonical(figures.wire()))

    fields = {"architecture": architecture, "dtype": "float32", "facts": facts}
    _finish(space, fill, fields, read_manifest)


def finish_model(
    space: Workspace, made: Loaded, original: Path, labels: Sequence[str] = ()
) -> None:
    """Write a plugged-in model, with what stood beside the original, such as its licence.

    It is signed when it is delivered.

    Args:
        labels: The classes of its new head; none: it has the original's.
    """
    if not leads():
        return
    space.begin_result()
    with whole_folder(space.result) as folder:
        save(made, folder)
        copy_companions(original, folder)
        if labels:
            write_labels(folder, labels)


def _finish(
    space: Workspace,
    fill: Callable[[Path], Mapping[str, FileEntry] | None],
    fields: Mapping[str, object],
    check: Callable[[Path], object],
) -> None:
    if not leads():
        return
    space.begin_result()
    parties = {"made_by": space.party.id, "made_for": space.peer_id}
    with whole_folder(space.result) as folder:
        known = fill(folder)
        write_manifest(folder, known, name=space.name, **parties, **fields)
        check(folder)
