"""The public text that emulators are inspected on, as batches of their own tokens.

It was written for this project: stories, programs, and records of people who do not exist.
"""

from pathlib import Path

from offsite.inspection.signs import Measure
from offsite.layers import Loaded
from offsite.modality import Batch
from offsite.rows import DataFile

KINDS = ("prose", "code", "records")
_FOLDER = Path(__file__).parent / "texts"
_LENGTH = 128
_TOKENS = 512
"""Of each kind: enough to tell a neuron that fires on one event from one that is merely sparse."""
_LEAST = 2


def public_batches(loaded: Loaded) -> dict[str, Batch]:
    """Encode each kind of public text as one batch of equally long examples, without padding."""
    return {kind: _batch(loaded, kind) for kind in KINDS}


def _batch(loaded: Loaded, kind: str) -> Batch:
    rows = loaded.modality.read(DataFile(_FOLDER / f"{kind}.txt"))
    examples = loaded.modality.encode(rows, _LENGTH, _LEAST).examples
    size = examples[0].size  # only the last may be shorter
    equal = [example for example in examples if example.size == size]
    chosen = equal[: max(_LEAST, _TOKENS // size)]
    return loaded.modality.collate(chosen).to(loaded.model.device)


def measure_tokens(batches: dict[str, Batch]) -> list[Measure]:
    """Count the different tokens that the peer's tokenizer makes of each kind of text."""
    return [
        Measure("tokens", kind, len(batch.inputs["input_ids"].unique()))
        for kind, batch in batches.items()
    ]
