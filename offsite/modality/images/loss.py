"""The loss of a classifier: the cross entropy of what its head says of each image."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.modality.batch import IGNORED, Batch
from offsite.modality.images.head import head_of, pooled


def summed_loss(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Sum up the cross entropy, in nats, of the images that have a target.

    Args:
        hidden: of the last layer, (B, T, D).
    """
    return _losses(model, hidden, batch).sum()


def losses(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Compute the cross entropy, in nats, of each image, (B,) in float64; 0 without a target.

    Args:
        hidden: of the last layer, (B, T, D).
    """
    return _losses(model, hidden, batch).double()


def logits(model: PreTrainedModel, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute what the head says of each image, (B, classes), in float32.

    Args:
        hidden: of the last layer, (B, T, D).
        mask: (B, T), where a hidden state stands for a patch; None: everywhere.
    """
    head, read = head_of(model), pooled(model, hidden, mask)
    # one that is trained is in float32, also behind blocks of another dtype
    dtype = next((each.dtype for each in head.parameters()), read.dtype)
    said: Tensor = head(read.to(dtype))
    return said.float()


def _losses(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    said = logits(model, hidden, batch.mask)
    return nn.functional.cross_entropy(said, batch.targets, ignore_index=IGNORED, reduction="none")
