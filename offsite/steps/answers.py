"""What an adapter of the opened emulator may hold, by the rules of its receiver.

The step that seals an adapter asks this of what the first step opened, and nothing of what trained.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from offsite.api import Adapter, Tune
from offsite.bundle import (
    BlockRecord,
    EmulatorFacts,
    EmulatorRecord,
    largest_rank,
    outside_of,
    read_manifest,
)
from offsite.errors import InputError
from offsite.families import family_of

_RANK = 16


def rank_of(adapter: Adapter, linears: Mapping[str, tuple[int, int]]) -> int:
    """Decide the rank of the adapter that a job asks for; 0: it has none.

    Args:
        linears: the weights that it changes: name and (in, out).

    Raises:
        InputError: the model's owner accepts no such rank.
    """
    if adapter.method != "LoRA":
        return 0
    most = largest_rank(linears)
    if most < 1:
        raise InputError("this model is too narrow for LoRA; use method Blocks with scope Ends")
    if adapter.rank is not None and adapter.rank > most:
        raise InputError(
            f"tune.adapter.rank is {adapter.rank}, and the peer accepts {most} at most of this "
            "model, which is half of its narrowest weight; ask for less"
        )
    return adapter.rank or min(_RANK, most)


def answerable(opened: Path, envelope: str, job: Tune, party: str) -> EmulatorRecord:
    """Describe an emulator that was opened as its owner's record does, as far as a job goes.

    Args:
        opened: the folder of the bundle, which was checked.
        envelope: its digest.
        party: who tunes.

    Raises:
        InputError: the emulator's owner accepts no such adapter.
    """
    manifest, _ = read_manifest(opened)
    assert isinstance(manifest.facts, EmulatorFacts), "it was checked"
    config = json.loads((opened / "config.json").read_bytes())
    row = family_of(config)
    tensors, linears = row.block_tensors(config), row.linear_sizes(config)
    count, facts, adapter = row.count(config), manifest.facts, job.adapter
    return EmulatorRecord(
        bundle=manifest.name,
        digest=envelope,
        recipient=party,
        architecture=row.architecture,
        model_digest="",  # nobody here knows the full model
        blocks=tuple(
            BlockRecord(
                full=place,
                end=place < facts.bottom or place >= count - facts.top,
                tensors=tensors,
                linears=linears,
            )
            for place in range(count)
        ),
        outside=outside_of(row, config),
        allowed=((adapter.method, adapter.scope),),
        max_rank=rank_of(adapter, linears) or 1,
    )
