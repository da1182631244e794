"""Checks against config.json whether a job's emulator can be made from its model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offsite.api import Distill, Limits
from offsite.bundle.disclosure import Disclosed, check_alone
from offsite.bundle.ledger_entry import DisclosureEntry
from offsite.errors import InputError, ModelError
from offsite.families import Family, family_of
from offsite.release.capability import required_recovery
from offsite.steps.party import Party


def check_emulator_job(
    limits: Limits, job: Distill, config: Path, entries: Sequence[DisclosureEntry]
) -> int:
    """Check, before a model is loaded, that the requested emulator can be made from it.

    Args:
        limits: What the organization allows.
        config: The model's config.json.
        entries: Entries of the disclosure ledger. If one may concern this model, only its weights
            can show whether the emulator adds to earlier disclosures; that check comes later.

    Returns:
        The number of the model's blocks.

    Raises:
        ModelError: The model has too few blocks, or its family cannot be healed.
        InputError: An audit is required, and there is no data for it.
        DisclosureError: The emulator would keep more of the model than the organization allows.
    """
    raw = _read(config)
    row = family_of(raw)
    if refusals := row.refusals(raw):
        raise ModelError(f"{config}: this model cannot be used: {'; '.join(refusals)}")
    if job.emulator.heal:
        check_healable(row, raw)
    if required_recovery(limits.emulator_release, job.release) and not job.has_public_data:
        raise InputError(
            "distill has no data to measure with how much of the model can be recovered, which "
            "this organization requires (emulatorRelease): set emulator.calibration or training"
        )
    depth, bottom, top = row.count(raw), job.ends.bottom, job.ends.top
    keep = job.emulator.count(depth - bottom - top)
    check_depth(depth, bottom, top, keep)
    ends = (*range(bottom), *range(depth - top, depth))
    own = Disclosed(frozenset(ends), frozenset((*ends, *range(bottom, bottom + keep))))
    sent = Disclosed.of(b for entry in entries if entry.depth == depth for b in entry.blocks)
    # emulators that may add nothing to earlier ones are checked later, by the weights
    if not (own.ends <= sent.ends and len(own.blocks) <= len(sent.blocks)):
        check_alone(limits, depth, own)
    return depth


def check_depth(depth: int, bottom: int, top: int, keep: int) -> None:
    """Check that a model has enough blocks for the ends and the emulator.

    Raises:
        ModelError: It has too few.
    """
    middle = depth - bottom - top
    if keep > middle:
        raise ModelError(
            f"the model has {depth} blocks: ends of {bottom} + {top} leave {max(0, middle)} in the "
            f"middle, and emulator.blocks is {keep}; lower one of them"
        )


def check_healable(row: Family, config: Mapping[str, Any]) -> None:
    """Check that the model's family supports `emulator.heal`.

    Raises:
        ModelError: The model has no projection to fold a correction into.
    """
    if row.healed_by(config) is None:
        raise ModelError(
            f"emulator.heal: a {row.model_type} model has no projection to fold a correction "
            "into; leave heal out, or train the emulator instead"
        )


def config_of(party: Party, model: str) -> Path:
    """Return the config.json of a model that is not at the hub."""
    return party.file(f"{model.rstrip('/')}/config.json")


def _read(path: Path) -> dict[str, Any]:
    """Read the config of a supported family."""
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
        family_of(config).count(config)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"cannot read {path}, which gives the share of the model that an emulator keeps: "
            f"{error}; check the location"
        ) from error
    return config
