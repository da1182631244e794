"""The stage of the model owner that comes last: put the returned adapter into the full model."""

from pathlib import Path

from safetensors.torch import load_file

from offsite.api import JobSpec, PlugIn
from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorRecord,
    Manifest,
    check_adapter,
    read_manifest,
)
from offsite.errors import BundleError, InputError, ModelError
from offsite.events import Monitor
from offsite.layers import save
from offsite.plugin import plug_in
from offsite.stages.own import load_own
from offsite.stages.report import Yardstick
from offsite.stages.workspace import (
    Party,
    Workspace,
    model_digest,
    text_digest,
    workspace,
)
from offsite.store import whole_folder


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
    manifest, inputs["adapter"] = read_manifest(party.sent(spec.peer, job.adapter))
    if job.evaluate:
        inputs["evaluate"] = text_digest(party.resolve(job.evaluate))
    with workspace(party, name, spec, inputs) as space:
        if _finished(space, target, monitor):
            return
        record = _record(party, manifest, inputs["model"], model)
        folder, facts = _open(space, spec.peer, job.adapter, inputs["adapter"], record)
        loaded = load_own(model)
        text = party.resolve(job.evaluate) if job.evaluate else None
        yard = Yardstick.read(text, loaded, monitor) if text else None
        if yard:
            yard.report(loaded, "full_zero_shot", monitor)
        plug_in(loaded.model, load_file(folder / ADAPTER), facts, record, alpha=job.alpha)
        if yard:
            yard.report(loaded, "plug_in", monitor)
        monitor.check()
        with whole_folder(target) as scratch:
            save(loaded, scratch)
            digest = model_digest(scratch)
            space.remember(digest)
        _tell(space, target, digest, monitor)


def _finished(space: Workspace, target: Path, monitor: Monitor) -> bool:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    note = space.published()
    if note is None or note.fingerprint != space.fingerprint:
        raise InputError(f"{target} is there already; name another folder, or another job")
    if not _is_sound(target, note.digest):
        monitor.log(f"{target} was damaged, so it is made again")
        return False
    _tell(space, target, note.digest, monitor)
    return True


def _is_sound(target: Path, digest: str) -> bool:
    try:
        return model_digest(target) == digest
    except ModelError:
        return False


def _tell(space: Workspace, target: Path, digest: str, monitor: Monitor) -> None:
    size = sum(path.stat().st_size for path in target.iterdir())
    monitor.artifact(space.job, digest, target.as_uri(), size)


def _record(party: Party, manifest: Manifest, digest: str, model: Path) -> EmulatorRecord:
    """Find what we remember of the emulator that an adapter says it answers."""
    if not isinstance(manifest.facts, AdapterFacts):
        raise BundleError(f"the bundle {manifest.name} is an emulator, not an adapter")
    record = party.record(manifest.facts.answers)
    if record.model_digest != digest:
        raise ModelError(f"{model} is not the model that the emulator {record.bundle} is made of")
    return record


def _open(
    space: Workspace, peer: str, adapter: str, digest: str, record: EmulatorRecord
) -> tuple[Path, AdapterFacts]:
    """Copy the peer's adapter to a folder of our own, and check it there."""
    folder, party = space.folder / "opened", space.party
    party.exchange.fetch(peer, party.id, adapter, folder)
    manifest, found = check_adapter(folder, record)
    if found != digest:
        raise BundleError(f"the adapter {adapter} was changed while it was read; run it again")
    assert isinstance(manifest.facts, AdapterFacts)
    return folder, manifest.facts
