"""Checks that an emulator is what its job requests, before it is sealed."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from offsite.api import Distill, Grant
from offsite.bundle import (
    BlockRecord,
    EmulatorFacts,
    EmulatorRecord,
    Manifest,
    check_emulator,
    check_whole,
    head_of,
    outside_of,
)
from offsite.bundle.verbatim import check_outside, check_verbatim
from offsite.errors import BundleError
from offsite.families import Family, family_of
from offsite.sealing.envelope import GrantTerms
from offsite.steps.results import check_maker, config_of, source_of, wrong_result
from offsite.steps.workspace import Workspace
from offsite.wire import now

_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}


def checked_emulator(space: Workspace, job: Distill, draft: EmulatorRecord) -> EmulatorRecord:
    """Check an emulator that is about to be sent; returns its record, without the digest.

    Args:
        draft: The record that the training step wrote. Only its choice of blocks is
            trusted, and the digest of a model at a hub.

    Raises:
        BundleError: It is not a valid emulator, or not the job's.
    """
    check_whole(space.result)
    manifest = check_emulator(space.result)
    check_maker(space, manifest)
    config = config_of(space.result)
    row, source = family_of(config), source_of(space)
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
        head=head_of(row, config),
    )


def _check_emulator_facts(space: Workspace, manifest: Manifest, job: Distill) -> None:
    facts = manifest.facts
    assert isinstance(facts, EmulatorFacts), "checked by check_emulator"
    steps = job.training.steps if job.training else 0
    wanted, healed = job.emulator, job.emulator.heal in (None, facts.healed)
    # images of earlier versions report no parameters
    parameters = facts.parameters if manifest.format > 1 else wanted.parameters
    stated = (facts.method, parameters, facts.bottom, facts.top, facts.distilled_steps)
    asked = (wanted.method, wanted.parameters, job.ends.bottom, job.ends.top, steps)
    if stated != asked or not healed:
        raise wrong_result(space.result)


def _recorded(
    stated: Sequence[BlockRecord], job: Distill, row: Family, config: dict[str, Any]
) -> tuple[BlockRecord, ...]:
    """Describe the blocks of an emulator: their place in the model, and their tensors.

    Args:
        stated: The blocks as the training step recorded them.
        config: The emulator's config, which determines its tensors.
    """
    if any(block.index for block in stated) and not job.emulator.selects:
        raise BundleError(f"an emulator of {job.emulator.method} must have whole tensors")
    sizes = {"tensors": row.block_tensors(config), "linears": row.linear_sizes(config)}
    return tuple(block.model_copy(update=sizes) for block in stated)


def _check_blocks(stated: Sequence[BlockRecord], job: Distill, depth: int, kept: int) -> None:
    """Check which of the model's blocks the maker kept: the ends, and some between, in order.

    Args:
        depth: Number of blocks of the full model.
        kept: Number of blocks of the emulator.
    """
    full, (bottom, top) = [block.full for block in stated], (job.ends.bottom, job.ends.top)
    ends = [*range(bottom), *range(kept - top, kept)]
    wanted = bottom + job.emulator.count(depth - bottom - top) + top
    in_order = full == sorted(set(full)) and len(full) == wanted == kept
    at_ends = [*range(bottom), *range(depth - top, depth)]
    if not in_order or [full[place] for place in ends] != at_ends:
        raise BundleError("the blocks of the emulator are not those that its job requests")
    if [place for place, block in enumerate(stated) if block.end] != ends:
        raise BundleError("the ends of the emulator are not those that its job requests")


def _count(config: dict[str, Any], row: Family) -> int:
    if family_of(config) != row:
        raise BundleError("the emulator has another architecture than its model")
    return row.count(config)


def _terms(grant: Grant) -> GrantTerms:
    """Convert a job's grant to an envelope's: a duration becomes a time."""
    if grant.expires_after is None:
        return GrantTerms(max_uses=grant.max_uses)
    number, unit = int(grant.expires_after[:-1]), _UNITS[grant.expires_after[-1]]
    return GrantTerms(max_uses=grant.max_uses, expires=now() + timedelta(**{unit: number}))
