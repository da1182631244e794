"""The loss of a batch of any modality: the mean that is minimized, or that of each example."""

from torch import Tensor
from transformers import PreTrainedModel

from offsite.layers.group import total
from offsite.layers.stack import final_hidden
from offsite.modality import Batch, Modality


def batch_loss(
    model: PreTrainedModel,
    modality: Modality,
    batch: Batch,
    count: Tensor | None = None,
    hidden: Tensor | None = None,
) -> Tensor:
    """Compute the mean loss, in nats per scored target, of a batch.

    Of a batch that is spread over workers it is this one's part: their sum is the mean.

    Args:
        count: how many targets are scored in all parts of the batch; None: in those of all workers.
        hidden: what the head reads, (B, T, D), where it is known already.
    """
    if hidden is None:
        hidden = final_hidden(model, batch.inputs)
    if count is None:
        count = total(batch.weights.sum())
    # nothing to predict is no loss, no failure
    return modality.summed_loss(model, hidden, batch) / count.clamp(min=1)


def example_losses(model: PreTrainedModel, modality: Modality, batch: Batch) -> Tensor:
    """Compute the loss of each example of a batch, (B,) in float64, summed over its targets.

    Other workers take no part in it. `batch_loss` is their sum over the sum of `batch.weights`.
    """
    return modality.losses(model, final_hidden(model, batch.inputs), batch)
