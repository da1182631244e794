"""What an adapter may hold that is tuned in the emulator which was opened: its receiver's rules.

The step that seals an adapter asks this of what the first step opened, and nothing of what trained.
"""

import json
from pathlib import Path

from offsite.api import Adapter, Tune
from offsite.bundle import BlockRecord, EmulatorFacts, EmulatorRecord, read_manifest
from offsite.families import family_of

_RANK = 16


def rank_of(adapter: Adapter) -> int:
    """Give the rank of the adapter that a job asks for; 0: it has none."""
    return (adapter.rank or _RANK) if adapter.method == "LoRA" else 0


def answerable(opened: Path, envelope: str, job: Tune, party: str) -> EmulatorRecord:
    """Describe an emulator that was opened as its owner's record does, as far as a job goes.

    Args:
        opened: the folder of the bundle, which was checked.
        envelope: its digest.
        party: who tunes.
    """
    manifest, _ = read_manifest(opened)
    assert isinstance(manifest.facts, EmulatorFacts), "it was checked"
    config = json.loads((opened / "config.json").read_bytes())
    row = family_of(config)
    count, facts, adapter = row.count(config), manifest.facts, job.adapter
    return EmulatorRecord(
        bundle=manifest.name,
        digest=envelope,
        recipient=party,
        architecture=row.architecture,
        model_digest="",  # nobody here knows the full model
        blocks=tuple(
            BlockRecord(full=place, end=place < facts.bottom or place >= count - facts.top)
            for place in range(count)
        ),
        tensors=row.block_tensors(config),
        linears=row.linear_sizes(config),
        allowed=((adapter.method, adapter.scope),),
        max_rank=rank_of(adapter) or 1,
    )
