"""Computes what an adapter for an opened emulator may contain, by the receiver's rules.

The step that seals an adapter relies on what the first step opened, never on the training step.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from offsite.api import Adapter, Tune
from offsite.bundle import (
    BlockRecord,
    EmulatorFacts,
    EmulatorRecord,
    head_of,
    largest_rank,
    outside_of,
    read_manifest,
)
from offsite.errors import InputError
from offsite.families import family_of

_RANK = 16


def rank_of(adapter: Adapter, linears: Mapping[str, tuple[int, int]]) -> int:
    """Determine the rank of a job's adapter; 0 for methods without a rank.

    Args:
        linears: The weights that the adapter changes: name and (in, out).

    Raises:
        InputError: The model's owner does not accept the rank.
    """
    if adapter.method != "LoRA":
        return 0
    most = largest_rank(linears)
    if most < 1:
        raise InputError("this model is too narrow for LoRA; use method Blocks with scope Ends")
    if adapter.rank is not None and adapter.rank > most:
        raise InputError(
            f"tune.adapter.rank is {adapter.rank}, but the peer accepts at most {most} for this "
            "model, which is half the width of its narrowest weight; lower the rank"
        )
    return adapter.rank or min(_RANK, most)


def answerable(opened: Path, envelope: str, job: Tune, party: str) -> EmulatorRecord:
    """Build the record of an opened emulator, as its owner's record describes it.

    Args:
        opened: Folder of the verified bundle.
        envelope: Digest of its envelope.
        party: The party that tunes.

    Raises:
        InputError: The emulator's owner does not accept such an adapter.
    """
    manifest, _ = read_manifest(opened)
    assert isinstance(manifest.facts, EmulatorFacts), "verified before"
    config = json.loads((opened / "config.json").read_bytes())
    row = family_of(config)
    tensors, every = row.block_tensors(config), row.linear_sizes(config)
    count, facts, adapter = row.count(config), manifest.facts, job.adapter
    record = EmulatorRecord(
        bundle=manifest.name,
        digest=envelope,
        recipient=party,
        architecture=row.architecture,
        model_digest="",  # the full model is unknown here
        blocks=tuple(
            BlockRecord(
                full=place,
                end=place < facts.bottom or place >= count - facts.top,
                tensors=tensors,
                linears=every,
            )
            for place in range(count)
        ),
        outside=outside_of(row, config),
        head=head_of(row, config),
    ).narrowed(adapter.method, adapter.scope, adapter.targets)
    return record.model_copy(update={"max_rank": rank_of(adapter, record.linears) or 1})
