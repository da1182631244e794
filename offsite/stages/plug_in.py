"""The last stage, of the model owner: plug the returned adapter into the full model."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from offsite.adapter import heads
from offsite.api import PlugIn
from offsite.bundle import ADAPTER, AdapterFacts, read_manifest
from offsite.layers import Loaded, leads, open_lazily
from offsite.layers.tensors import Stored
from offsite.plugin import plug_in
from offsite.stages.context import Context
from offsite.stages.evaluation import Evaluation, Evaluations
from offsite.stages.judging import check_accepted, judge_changes
from offsite.stages.package import finish_model
from offsite.stages.scaling import Returned, choose_scale
from offsite.steps.opening import not_the_model
from offsite.steps.scale import Scale
from offsite.store import check_room


def make_model(context: Context, job: PlugIn) -> None:
    """Plug the adapter that was opened into the full model.

    Raises:
        BundleError: the adapter makes numbers that are none, changes more than the party allows,
            or makes the model worse than the job accepts.
        ModelError: this is not the model that the emulator was made from.
    """
    space, monitor = context.space, context.monitor
    manifest, _ = read_manifest(space.opened)
    assert isinstance(manifest.facts, AdapterFacts)
    # what the private store has of it, the step that trains cannot see
    record = space.answered()
    if record.model_digest != context.digests["model"]:
        raise not_the_model(space.spec, record)
    loaded = open_lazily(context.model)
    check_room(space.folder, loaded.size)
    tensors = Stored.in_file(space.opened / ADAPTER)
    scale = _scale(context, job, loaded, Returned(tensors, manifest.facts, record))
    labels = manifest.facts.labels
    loaded = bring_head(loaded, labels, tensors)
    evaluations = Evaluations.read(context.inputs, loaded, monitor)
    before = evaluations.report(loaded, "full_zero_shot", monitor)
    changes = plug_in(
        loaded.model,
        tensors,
        manifest.facts,
        record,
        alpha=scale.alpha,
        factors=scale.factors,
        dtype=loaded.dtype,
    )
    judge_changes(changes, space.party.limits.max_change, job.adapter, monitor)
    after = evaluations.report(loaded, "plug_in", monitor, before)
    check_accepted(job, before.data, after.data)
    monitor.check()
    finish_model(space, loaded, context.model, labels)


def bring_head(loaded: Loaded, labels: tuple[str, ...], tensors: Mapping[str, Tensor]) -> Loaded:
    """Give a full model, in place, the head of an adapter; returns it with the head's modality.

    Args:
        labels: the classes of the head; none: the adapter brings none.
        tensors: the adapter.
    """
    if not labels:
        return loaded
    heads.bring(loaded.model, labels, tensors, loaded.dtype)
    return replace(loaded, modality=loaded.modality.with_labels(labels))


def _scale(context: Context, job: PlugIn, loaded: Loaded, adapter: Returned) -> Scale:
    """Return the scale of the change: the job's, or what the rule chooses within it."""
    limit, auto = Scale.of(job), job.alpha_auto
    if auto is None:
        return limit
    own = Evaluation.read(context.inputs.texts["alpha"], loaded, context.monitor)
    scale = choose_scale(loaded, adapter, limit, auto, own, context.monitor)
    if leads():
        scale.note(context.space)
    return scale
