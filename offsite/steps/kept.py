"""How much of its model an organization lets an emulator keep.

The pod that trains checks it first. It runs an image that a job's author may choose, so the pod
that seals checks it again (`results`), by what was known of the model before the work.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offsite.api import Distill
from offsite.errors import InputError, ModelError
from offsite.families import Family, family_of
from offsite.steps.party import Party


def check_layout(party: Party, job: Distill, config: Path) -> None:
    """Check, before a model is loaded, that the emulator that a job asks for can be made of it.

    Args:
        config: the model's config.json.

    Raises:
        ModelError: the model has too few blocks, or its family cannot be healed.
        InputError: the emulator would keep more of it than the party allows.
    """
    raw = _read(config)
    row = family_of(raw)
    if refusals := row.refusals(raw):
        raise ModelError(f"{config}: this model cannot be used: {'; '.join(refusals)}")
    if job.emulator.heal:
        check_healable(row, raw)
    depth, ends = row.count(raw), job.ends.bottom + job.ends.top
    check_depth(depth, job.ends.bottom, job.ends.top, job.emulator.blocks)
    check_kept(party, job, depth, ends + job.emulator.blocks)


def check_depth(depth: int, bottom: int, top: int, keep: int) -> None:
    """Check that a model of `depth` blocks has as many as its ends and its emulator are to have.

    Raises:
        ModelError: it has fewer.
    """
    middle = depth - bottom - top
    if keep > middle:
        raise ModelError(
            f"the model has {depth} blocks: ends of {bottom} + {top} leave {max(0, middle)} in the "
            f"middle, and emulator.blocks asks for {keep}; lower one of them"
        )


def check_healable(row: Family, config: Mapping[str, Any]) -> None:
    """Check that a job may insist on healing.

    Raises:
        ModelError: the model has nothing to fold a correction into.
    """
    if row.healed_by(config) is None:
        raise ModelError(
            f"emulator.heal: a {row.model_type} model has no projection to fold a correction "
            "into; leave heal out, or train the emulator instead"
        )


def check_kept(party: Party, job: Distill, blocks: int, kept: int) -> None:
    """Check that an emulator keeps no more of its model than the party allows.

    Args:
        blocks: of the model.
        kept: of the emulator, its ends included.

    Raises:
        InputError: there is more of the ends, or of the middle between them.
    """
    ends = job.ends.bottom + job.ends.top
    shares = (
        ("ends.bottom and ends.top", "", ends, blocks, party.limits.max_end_blocks),
        ("emulator.blocks", "middle ", kept - ends, blocks - ends, party.limits.max_kept_blocks),
    )
    for field, which, count, every, most in shares:
        if count > most * every:
            raise InputError(
                f"{field}: {count} of {every} {which}blocks is more than the share that this "
                f"organization allows ({most:g}); keep at most {int(most * every)}"
            )


def config_of(party: Party, model: str) -> Path:
    """Find the config.json of a model that is not at the hub."""
    return party.text(f"{model.rstrip('/')}/config.json")


def _read(path: Path) -> dict[str, Any]:
    """Read a config whose family is known, and which says how many blocks there are."""
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
        family_of(config).count(config)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read, so nobody knows how much of the model an emulator keeps: "
            f"{error}; check the location"
        ) from error
    return config
