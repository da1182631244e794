"""Marks an emulator for its recipient, in the step that seals it.

The step that trains has no keys, so it could neither mark an emulator nor, with an image of a job
author's own, leave the mark out.
"""

from pathlib import Path

from offsite.bundle import EmulatorRecord, read_manifest, write_manifest
from offsite.bundle.manifest import Manifest
from offsite.bundle.watermark import Watermark, add_watermark
from offsite.sealing import Ring
from offsite.steps.workspace import Workspace
from offsite.store import check_room, link_or_copy, privately, whole_folder

_MARKED = "marked"


def mark_emulator(
    space: Workspace, record: EmulatorRecord, ring: Ring
) -> tuple[Path, EmulatorRecord]:
    """Write a marked copy of an emulator, unless the party switched this off.

    The same result gets the same bytes, so a later attempt to send it can resume, and what was
    approved is what is sent.

    Args:
        record: Of the emulator, which was checked.

    Returns:
        The folder to send, and the record with the mark.

    Raises:
        DiskFullError: The copy does not fit.
    """
    if not space.party.limits.watermark:
        return space.result, record
    manifest, digest = read_manifest(space.result)
    mark = Watermark(key=ring.newest("sign").id, unmarked=digest)
    secret = mark.secret(ring, record.recipient)
    assert secret is not None, "the ring has its newest key"
    check_room(space.folder, manifest.size)
    blocks = [block.full for block in record.blocks]
    with privately(), whole_folder(space.folder / _MARKED) as folder:
        add_watermark(space.result, folder, secret, mark.strength, blocks)
        for name in manifest.files:
            if not (folder / name).exists():
                link_or_copy(space.result / name, folder / name)
        write_manifest(folder, **_facts(manifest))
    return space.folder / _MARKED, record.model_copy(update={"watermark": mark})


def _facts(manifest: Manifest) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in Manifest.model_fields if name != "files"}
