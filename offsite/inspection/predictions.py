"""A sign in what an emulator predicts: nothing, because its head is scaled to almost nothing.

Then every loss is ln(V), and AdamW's step is linear in a gradient that is far below its epsilon.
"""

from torch import Tensor

from offsite.inspection.signs import Measure
from offsite.layers import Loaded

_POSITIONS = 64


def measure_predictions(loaded: Loaded, hidden: Tensor, kind: str) -> Measure:
    """Measure the spread of the logits over the vocabulary: 0 if all tokens are equally likely.

    Args:
        hidden: what the head reads, (B, T, D).
    """
    head = loaded.model.get_output_embeddings()
    read = hidden.detach().flatten(0, 1)
    chosen = read[:: max(1, len(read) // _POSITIONS)][:_POSITIONS]
    logits = head(chosen.to(head.weight.dtype)).detach().float()
    return Measure("spread", kind, float(logits.std(dim=-1).mean()))
