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
    admit_adapter,
    check_adapter,
    read_manifest,
)
from offsite.errors import BundleError, InputError, ModelError
from offsite.events import Monitor
from offsite.exchange import Checks, Reference, pull
from offsite.layers import Loaded, load, save
from offsite.plugin import plug_in
from offsite.sealing import Envelope
from offsite.sealing.parts import canonical
from offsite.stages.report import Yardstick
from offsite.stages.workspace import (
    COMPANIONS,
    Party,
    Workspace,
    model_digest,
    text_digest,
    workspace,
)
from offsite.store import whole_folder, write_whole

PROVENANCE = "provenance.json"


def run_plug_in(name: str, spec: JobSpec, job: PlugIn, party: Party, monitor: Monitor) -> None:
    """Plug a returned adapter into the full model and write the result where the job says.

    Raises:
        BundleError: the adapter may not be used: damaged, of another emulator or party, or not
            what the record of the emulator allows.
        ModelError: this is not the model that the emulator was made from.
        InputError: there is something else where the result should go.
    """
    model = party.resolve(job.model)
    target = party.resolve(job.export.to) if job.export else party.home / "models" / name
    inputs = {"model": model_digest(model)}
    envelope = party.mailbox.incoming(spec.peer, Reference.parse(job.adapter))
    inputs["adapter"] = envelope.digest
    if job.evaluate:
        inputs["evaluate"] = text_digest(party.resolve(job.evaluate))
    with workspace(party, name, spec, inputs) as space:
        if _finished(space, target, monitor):
            return
        record = _record(party, envelope, inputs["model"], model)
        folder = _receive(space, envelope, record, monitor)
        manifest, _ = read_manifest(folder)
        loaded = load(model)
        text = party.resolve(job.evaluate) if job.evaluate else None
        yard = Yardstick.read(text, loaded, monitor) if text else None
        if yard:
            yard.report(loaded, "full_zero_shot", monitor)
        _plug_in(loaded, folder, manifest, record, job.alpha)
        if yard:
            yard.report(loaded, "plug_in", monitor)
        monitor.check()
        with whole_folder(target) as scratch:
            save(loaded, scratch)
            _copy_companions(model, scratch)
            write_whole(scratch / PROVENANCE, canonical(_provenance(envelope, job.alpha)))
            digest = model_digest(scratch)
            space.remember(digest, _size(scratch))
        _tell(space, target, digest, monitor)


def _plug_in(
    loaded: Loaded, folder: Path, manifest: Manifest, record: EmulatorRecord, alpha: float
) -> None:
    assert isinstance(manifest.facts, AdapterFacts)
    tensors = load_file(folder / ADAPTER)
    plug_in(loaded.model, tensors, manifest.facts, record, alpha=alpha, dtype=loaded.dtype)


def _copy_companions(model: Path, target: Path) -> None:
    """Give the model what stood beside the original: tokenizer, chat template, licence."""
    for path in {found for pattern in COMPANIONS for found in model.glob(pattern)}:
        if path.is_file() and path.name != "config.json" and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)


def _finished(space: Workspace, target: Path, monitor: Monitor) -> bool:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    note = space.published()
    if note is None or note.fingerprint != space.fingerprint:
        raise InputError(f"{target} is there already; name another folder, or another job")
    if not _is_sound(target, note.digest):
        raise InputError(f"{target} is not what this job wrote; move it away to have it made again")
    _tell(space, target, note.digest, monitor)
    return True


def _is_sound(target: Path, digest: str) -> bool:
    try:
        return model_digest(target) == digest
    except ModelError:
        return False


def _tell(space: Workspace, target: Path, digest: str, monitor: Monitor) -> None:
    monitor.artifact(space.job, digest, target.as_uri(), _size(target))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _provenance(envelope: Envelope, alpha: float) -> dict[str, object]:
    """Say what a plugged-in model was made of; `offsite bundles verify --chain` begins here."""
    return {"adapter": envelope.digest, "alpha": alpha, "emulator": envelope.header.parent}


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
    folder, mailbox, grant = space.folder / "opened", space.party.mailbox, record.grant

    def check(opened: Path) -> Manifest:
        manifest = check_adapter(opened, record)
        mailbox.books.use(record.digest, envelope.digest, grant)
        return manifest

    checks = Checks(partial(admit_adapter, record=record), check)
    pull(mailbox, envelope, folder, checks, monitor)
    return folder
