"""Checks that a result is what its job was to make, before it is sealed or exported.

A job's author may choose the image that made it, so its own statements are not trusted. A result is
compared with the job, and with what was known before the work (`opening.prepare`).
"""

import json
from collections.abc import Collection, Sequence
from datetime import timedelta
from math import prod
from pathlib import Path
from typing import Any

from offsite.api import Distill, Grant, PlugIn, Tune
from offsite.bundle import (
    AdapterFacts,
    BlockRecord,
    EmulatorFacts,
    EmulatorRecord,
    Manifest,
    check_adapter,
    check_emulator,
    check_original,
    check_tensors,
    check_whole,
    outside_of,
)
from offsite.bundle.original import INDEX
from offsite.bundle.plugged import check_plugged_weights
from offsite.bundle.verbatim import check_outside, check_verbatim
from offsite.errors import BundleError, ModelError
from offsite.families import Family, family_of
from offsite.sealing.envelope import GrantTerms
from offsite.steps.answers import rank_of
from offsite.steps.places import is_companion, model_digest
from offsite.steps.workspace import Source, Workspace
from offsite.wire import now

_BESIDE = 256 << 20
"""Bytes allowed beside a model's weights: tokenizer and manifests."""
_WIDER = 4
"""Growth allowed for weights that are written in another dtype."""
_UNKNOWN = 1 << 50
"""Limit for a model at a hub; the pod's disk limit applies."""
_LARGEST_CONFIG = 1 << 20
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}


def most_of(space: Workspace) -> int:
    """Return the size limit of a job's result in bytes."""
    if space.spec.tune is not None:
        adapter, record = space.spec.tune.adapter, space.answered()
        rank = rank_of(adapter, record.linears)
        outside = tuple(sorted(record.modules))
        shapes = record.expected(adapter.method, adapter.scope, rank, outside)
        return sum(4 * prod(shape) for shape in shapes.values()) + _BESIDE
    source = _source(space)
    return _UNKNOWN if source is None else _WIDER * source.size + _BESIDE


def checked_emulator(space: Workspace, job: Distill, draft: EmulatorRecord) -> EmulatorRecord:
    """Check an emulator that is about to be sent; returns its record, without the digest.

    Args:
        draft: The maker's record. Only its choice of blocks, and a model at a hub, are trusted.

    Raises:
        BundleError: It is not a valid emulator, or not the job's.
    """
    check_whole(space.result)
    manifest = check_emulator(space.result)
    _check_maker(space, manifest)
    config = _config_of(space.result)
    row, source = family_of(config), _source(space)
    highest = max((block.full for block in draft.blocks), default=-1)
    depth = highest + 1 if source is None else _count(source.config, row)
    _check_blocks(draft.blocks, job, depth, row.count(config))
    _check_emulator_facts(space, manifest, job)
    blocks = _recorded(draft.blocks, job, row, config)
    if source is not None:
        full = row.block_tensors(source.config)
        for block in blocks:
            block.check_parts(full)
        check_verbatim(space.result, blocks, job, source.config, source.blocks)
        check_outside(space.result, source.outside)
    return EmulatorRecord(
        bundle=space.name,
        digest=draft.digest,
        grant=_terms(job.grant),
        recipient=space.peer_id,
        architecture=row.architecture,
        model_digest=draft.model_digest if source is None else source.digest,
        blocks=blocks,
        outside=outside_of(row, config),
    )


def check_answer(space: Workspace, job: Tune) -> str:
    """Check an adapter that is about to be sent, as its receiver will, and against the job.

    Returns:
        The envelope that it answers.

    Raises:
        BundleError: It is not the job's adapter.
    """
    check_whole(space.result)
    record, adapter = space.answered(), job.adapter
    manifest = check_adapter(space.result, record)
    _check_maker(space, manifest)
    rank = rank_of(adapter, record.linears)
    wanted = AdapterFacts(
        method=adapter.method,
        scope=adapter.scope,
        rank=rank,
        outside=tuple(sorted(record.modules)),
        answers=record.digest,
    )
    told = (manifest.facts, manifest.architecture, manifest.dtype)
    if told != (wanted, record.architecture, "float32"):
        raise _another(space.result)
    return record.digest


def check_plugged(space: Workspace, job: PlugIn) -> None:
    """Check a plugged-in model that is about to be exported, and add the original companion files.

    The files beside the weights, including the config, are copied from the original model, not from
    the training step. Weights that the adapter may not change must be identical to the model's,
    byte for byte, and no other may change by more than the party allows. For a model at a hub,
    which is not reachable from here, only the names and shapes of the tensors are checked.

    Raises:
        ModelError: Its tensors differ from the model's in name or shape, or there are extra files.
        BundleError: A weight changed by more than the party allows.
        StorageError: The private store did not provide the model.
    """
    folder, source, config = space.result, _source(space), _config_of(space.result)
    weights = {name for name in check_original(folder) if name.endswith(".safetensors")}
    if source is None:
        _check_unknown(folder, config, {*weights, "config.json", INDEX})
        return
    for path in folder.iterdir():
        if path.name not in {*weights, INDEX}:
            path.unlink()
    party = space.party
    party.copy_companions(job.model, folder)
    model = party.model(job.model)
    if model_digest(model) != source.digest:
        raise ModelError(f"{job.model} has changed since {space.name} began; run the job again")
    most = party.limits.max_change
    check_plugged_weights(folder, model, source.config, space.answered(), most, job.adapter)


def _check_unknown(folder: Path, config: dict[str, Any], kept: Collection[str]) -> None:
    """Check a model made from one at a hub: its tensors, and that it has no code references.

    Raises:
        ModelError: It lacks tensors that its config names, or has extra files.
    """
    check_tensors(folder, family_of(config), config)
    if "auto_map" in config:
        raise ModelError(f"{folder / 'config.json'}: remove auto_map, which names code to run")
    for path in sorted(folder.iterdir()):
        if path.name not in kept and not is_companion(path.name):
            raise ModelError(f"{path} is not a file of the model")


def _source(space: Workspace) -> Source | None:
    """Read the baseline of a job's model; None: the model is at a hub, and so no secret."""
    model, source = space.spec.model, space.source()
    if source is None and not (model and model.startswith("hf://")):
        raise space.forgotten("of the model")
    return source


def _check_maker(space: Workspace, manifest: Manifest) -> None:
    told = (manifest.name, manifest.made_by, manifest.made_for)
    if told != (space.name, space.party.id, space.peer_id):
        raise _another(space.result)


def _check_emulator_facts(space: Workspace, manifest: Manifest, job: Distill) -> None:
    facts = manifest.facts
    assert isinstance(facts, EmulatorFacts), "checked by check_emulator"
    steps = job.training.steps if job.training else 0
    wanted, healed = job.emulator, job.emulator.heal in (None, facts.healed)
    # images of earlier versions report no parameters
    parameters = facts.parameters if manifest.format > 1 else wanted.parameters
    told = (facts.method, parameters, facts.bottom, facts.top, facts.distilled_steps)
    asked = (wanted.method, wanted.parameters, job.ends.bottom, job.ends.top, steps)
    if told != asked or not healed:
        raise _another(space.result)


def _recorded(
    told: Sequence[BlockRecord], job: Distill, row: Family, config: dict[str, Any]
) -> tuple[BlockRecord, ...]:
    """Describe the blocks of an emulator: their place in the model, and their tensors.

    Args:
        told: The blocks as their maker reports them.
        config: The emulator's config, which determines its tensors.
    """
    if any(block.index for block in told) and not job.emulator.selects:
        raise BundleError(f"an emulator of {job.emulator.method} must have whole tensors")
    sizes = {"tensors": row.block_tensors(config), "linears": row.linear_sizes(config)}
    return tuple(block.model_copy(update=sizes) for block in told)


def _check_blocks(told: Sequence[BlockRecord], job: Distill, depth: int, kept: int) -> None:
    """Check which of the model's blocks the maker kept: the ends, and some between, in order.

    Args:
        depth: Number of blocks of the full model.
        kept: Number of blocks of the emulator.
    """
    full, (bottom, top) = [block.full for block in told], (job.ends.bottom, job.ends.top)
    ends = [*range(bottom), *range(kept - top, kept)]
    wanted = bottom + job.emulator.count(depth - bottom - top) + top
    in_order = full == sorted(set(full)) and len(full) == wanted == kept
    at_ends = [*range(bottom), *range(depth - top, depth)]
    if not in_order or [full[place] for place in ends] != at_ends:
        raise BundleError("the blocks of the emulator are not those that its job requests")
    if [place for place, block in enumerate(told) if block.end] != ends:
        raise BundleError("the ends of the emulator are not those that its job requests")


def _config_of(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise BundleError(f"{path} is larger than {_LARGEST_CONFIG} bytes")
        config: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot read {path}: {error}") from error
    return config


def _count(config: dict[str, Any], row: Family) -> int:
    if family_of(config) != row:
        raise BundleError("the emulator has another architecture than its model")
    return row.count(config)


def _another(folder: Path) -> BundleError:
    return BundleError(f"{folder} is not what the job was to make; check the image that made it")


def _terms(grant: Grant) -> GrantTerms:
    """Convert a job's grant to an envelope's: a duration becomes a time."""
    if grant.expires_after is None:
        return GrantTerms(max_uses=grant.max_uses)
    number, unit = int(grant.expires_after[:-1]), _UNITS[grant.expires_after[-1]]
    return GrantTerms(max_uses=grant.max_uses, expires=now() + timedelta(**{unit: number}))
