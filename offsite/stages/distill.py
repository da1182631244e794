"""The first stage, of the model owner: make an emulator."""

from dataclasses import replace
from pathlib import Path

from offsite.api import Distill
from offsite.emulator import METHODS
from offsite.layers import Loaded, load, open_lazily
from offsite.release.capability import required_recovery
from offsite.stages.context import Context
from offsite.stages.emulating import fit_emulator, record_of
from offsite.stages.evaluation import Evaluations
from offsite.stages.package import check_sendable, finish_emulator
from offsite.stages.recovery import begin_recovery
from offsite.steps.disclosing import check_blocks, model_before, read_disclosed
from offsite.steps.feasibility import check_emulator_job
from offsite.steps.workspace import Workspace
from offsite.store import check_room


def make_emulator(context: Context, job: Distill) -> None:
    """Make the emulator bundle of a job.

    Raises:
        ModelError, DataError: the model or a data set cannot be used.
        DisclosureError: the emulator would disclose more of the model than the party allows.
        ReleaseRefused: more of the model's skill can be recovered from it than is allowed.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    space, monitor, model = context.space, context.monitor, context.model
    texts, digest = context.inputs.texts, context.digests["model"]
    chosen, sent = _choose(space, job, model, digest)
    loaded = _opened(context, job)
    made = METHODS[job.emulator.method].compress(loaded.model, job.ends, job.emulator, chosen)
    if made.share >= 1:
        monitor.log("the emulator keeps every block: the peer gets the whole model")
    emulator = replace(loaded, model=made.model)
    check_sendable(emulator, model)
    # the step that seals marks a copy: on a laptop, on this disk
    copies = 2 if space.party.limits.watermark and space.uid is None else 1
    check_room(space.folder, copies * emulator.size)
    evaluations = Evaluations.read(context.inputs, loaded, monitor)
    audit = begin_recovery(context, job, loaded)
    facts = fit_emulator(loaded, made, job, texts, context.trainer, space.folder)
    full = evaluations.report(loaded, "full_zero_shot", monitor)
    evaluations.report(emulator, "emulator_zero_shot", monitor, full)
    draft = record_of(made, digest, space.name, space.peer_id)
    recovery = audit.check(made, sent) if audit else None
    finish_emulator(space, emulator, facts, draft, recovery)


def _opened(context: Context, job: Distill) -> Loaded:
    """Open the model: as a whole where this worker alone trains it, else a block at a time."""
    audited = required_recovery(context.space.party.limits.emulator_release, job.release)
    if (job.training or audited) and not context.shared:
        return load(context.model)
    return open_lazily(context.model, context.space.folder)


def _choose(
    space: Workspace, job: Distill, folder: Path, digest: str
) -> tuple[tuple[int, ...], frozenset[int]]:
    """Choose the blocks that the emulator is made from, those first that were sent before.

    Returns:
        them, and all that it and the emulators before it disclose together.
    """
    entries = read_disclosed(space)
    depth = check_emulator_job(space.party.limits, job, folder / "config.json", entries)
    model = model_before(folder, digest, depth, entries)
    sent, ends = model.disclosed(entries).blocks, job.ends
    chosen = METHODS[job.emulator.method].choose(depth, ends, job.emulator, sent)
    at_ends = (*range(ends.bottom), *range(depth - ends.top, depth))
    check_blocks(space.party, model, entries, chosen, at_ends)
    return chosen, sent | {*chosen}
