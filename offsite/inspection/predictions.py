"""A sign in what an emulator predicts: nothing, because its head is scaled to almost nothing.

Then every loss is that of a guess, and AdamW's step is linear in a gradient that is far below its
epsilon.
"""

import torch
from torch import Tensor

from offsite.inspection.signs import Measure
from offsite.layers import Loaded


def measure_predictions(loaded: Loaded, hidden: Tensor, kind: str) -> Measure:
    """Measure the spread of the logits over the classes: 0 if all of them are equally likely.

    Args:
        hidden: what the head reads, (B, T, D).
    """
    with torch.no_grad():
        logits = loaded.modality.predictions(loaded.model, hidden.detach()).float()
    return Measure("spread", kind, float(logits.std(dim=-1).mean()))
