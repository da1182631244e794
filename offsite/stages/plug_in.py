"""The stage of the model owner that comes last: put the returned adapter into the full model."""

import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import load_file

from offsite.api import JobSpec, PlugIn
from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorRecord,
    Manifest,
    Origin,
    admit_adapter,
    check_adapter,
    is_plain,
    read_manifest,
    write_provenance,
)
from offsite.errors import BundleError, InputError, ModelError
from offsite.events import Monitor
from offsite.exchange import Checks, Reference, pull
from offsite.layers import Loaded, load, save
from offsite.plugin import plug_in
from offsite.sealing import Envelope
from offsite.stages.export import Export, export_of
from offsite.stages.places import COMPANIONS, model_digest, text_digest
from offsite.stages.report import Yardstick
from offsite.stages.workspace import Party, Workspace, workspace


def run_plug_in(name: str, spec: JobSpec, job: PlugIn, party: Party, monitor: Monitor) -> None:
    """Plug a returned adapter into the full model and write the result where the job says.

    Raises:
        BundleError: the adapter may not be used: damaged, of another emulator or party, or not
            what the record of the emulator allows.
        ModelError: this is not the model that the emulator was made from.
        InputError: there is something else where the result should go.
    """
    model = party.model(job.model)
    inputs = {"model": model_digest(model)}
    envelope = party.mailbox.incoming(spec.peer, Reference.parse(job.adapter))
    inputs["adapter"] = envelope.digest
    text = party.text(job.evaluate) if job.evaluate else None
    if text:
        inputs["evaluate"] = text_digest(text)
    with workspace(party, name, spec, inputs) as space:
        export = export_of(space, job.export.to if job.export else None)
        if _finished(space, export, monitor):
            return
        record = _record(party, envelope, inputs["model"], model)
        folder = _receive(space, envelope, record, monitor)
        manifest, _ = read_manifest(folder)
        loaded = load(model)
        yard = Yardstick.read(text, loaded, monitor) if text else None
        if yard:
            yard.report(loaded, "full_zero_shot", monitor)
        _plug_in(loaded, folder, manifest, record, job.alpha)
        if yard:
            yard.report(loaded, "plug_in", monitor)
        monitor.check()
        origin = Origin(emulator=record.digest, adapter=envelope.digest, alpha=job.alpha)
        with export.filling() as scratch:
            save(loaded, scratch)
            _copy_companions(model, scratch)
            write_provenance(scratch, party.mailbox.ring, origin)
            space.remember(model_digest(scratch), _size(scratch))
        _deliver(space, export, monitor)


def _plug_in(
    loaded: Loaded, folder: Path, manifest: Manifest, record: EmulatorRecord, alpha: float
) -> None:
    assert isinstance(manifest.facts, AdapterFacts)
    tensors = load_file(folder / ADAPTER)
    plug_in(loaded.model, tensors, manifest.facts, record, alpha=alpha, dtype=loaded.dtype)


def _copy_companions(model: Path, target: Path) -> None:
    """Give the model what stood beside the original: tokenizer, chat template, licence.

    Hidden files, and such as `LICENSE (copy)`, stay behind.
    """
    for path in {found for pattern in COMPANIONS for found in model.glob(pattern)}:
        made = path.name == "config.json" or path.name.endswith(".index.json")
        if path.is_file() and is_plain(path.name) and not made:
            shutil.copyfile(path, target / path.name)


def _finished(space: Workspace, export: Export, monitor: Monitor) -> bool:
    """Look whether this very job's model is made already; one that waits is delivered."""
    note = space.published()
    ours = note is not None and note.fingerprint == space.fingerprint
    if not (ours and export.is_waiting()):
        if not export.is_taken():
            return False
        if note is None or not ours:
            raise InputError(f"{export.uri} is there already; name another place, or another job")
        if not export.holds(note.digest):
            raise InputError(
                f"{export.uri} is not what this job wrote; move it away to have it made again"
            )
    _deliver(space, export, monitor)
    return True


def _deliver(space: Workspace, export: Export, monitor: Monitor) -> None:
    if export.is_waiting():
        export.deliver(monitor)
    note = space.published()
    assert note is not None
    monitor.artifact(space.job, note.digest, export.uri, note.size)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _record(party: Party, envelope: Envelope, digest: str, model: Path) -> EmulatorRecord:
    """Find what we remember of the emulator that an adapter answers, and whether it still may."""
    header = envelope.header
    if header.kind != "adapter" or header.parent is None:
        raise BundleError(f"the bundle {header.name} is an {header.kind}, not an adapter")
    record = party.record(header.parent)
    if record.model_digest != digest:
        raise ModelError(f"{model} is not the model that the emulator {record.bundle} is made of")
    if header.sender != record.recipient:
        raise BundleError(
            f"{header.name} was made by {header.sender}, but the emulator that it answers was made "
            f"for {record.recipient}"
        )
    return record


def _receive(
    space: Workspace, envelope: Envelope, record: EmulatorRecord, monitor: Monitor
) -> Path:
    """Open the adapter, if the grant of its emulator allows it, and count the use."""
    folder, mailbox, grant = space.opened, space.party.mailbox, record.grant

    def check(opened: Path) -> Manifest:
        manifest = check_adapter(opened, record)
        mailbox.books.use(record.digest, envelope.digest, grant)
        return manifest

    checks = Checks(partial(admit_adapter, record=record), check)
    pull(mailbox, envelope, folder, checks, monitor)
    return folder
