"""The language-model loss: batches of tokens, and the cross entropy of what the head says."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.layers.group import total
from offsite.layers.stack import final_hidden

IGNORED = -100
"""The target of a position where no loss is taken, as torch has it."""

_MOST_LOGITS = 1 << 26
"""256 MB in float32: as many at once are faster than chunks of them."""


@dataclass(frozen=True)
class Batch:
    """Sequences of tokens, and what to predict where."""

    tokens: Tensor
    """(B, T) ids, padded on the right."""
    targets: Tensor
    """(B, T): the token that follows each position, or `IGNORED` where no loss is taken."""
    mask: Tensor
    """(B, T): where there is a token, and no padding."""

    def to(self, where: torch.device) -> "Batch":
        """Copy the batch to a device."""
        return Batch(self.tokens.to(where), self.targets.to(where), self.mask.to(where))

    def part(self, rank: int, workers: int) -> "Batch":
        """Take the sequences of one of several workers; where none is left, one that counts not."""
        if rank >= len(self.tokens):
            nothing = torch.zeros_like(self.mask[:1])
            return Batch(self.tokens[:1], torch.full_like(self.targets[:1], IGNORED), nothing)
        mine = slice(rank, None, workers)
        return Batch(self.tokens[mine], self.targets[mine], self.mask[mine])


def lm_loss(model: PreTrainedModel, batch: Batch, hidden: Tensor | None = None) -> Tensor:
    """Compute the mean cross entropy, in nats per scored token, of a batch.

    Of a batch that is spread over workers it is this one's part: their sum is the mean. Logits are
    computed where a loss is taken only, and never all at once if they are many.

    Args:
        hidden: what the head reads, (B, T, D), where it is known already.
    """
    if hidden is None:
        hidden = final_hidden(model, batch.tokens)
    scored = batch.targets != IGNORED
    read, targets = hidden[scored], batch.targets[scored]
    head = model.get_output_embeddings()
    count = total(scored.sum()).clamp(min=1)  # nothing to predict is no loss, and no failure
    if len(targets) * head.weight.shape[0] <= _MOST_LOGITS or _cap(model) is not None:
        return nn.functional.cross_entropy(_logits(model, read), targets, reduction="sum") / count
    summed = nn.functional.linear_cross_entropy(
        read.to(head.weight.dtype),
        head.weight,
        targets,
        linear_bias=head.bias,
        reduction="sum",
        options=nn.LinearCrossEntropyOptions(),
    )
    return summed / count


def each_loss(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy in nats of each target (N,) from what the head reads, (N, D)."""
    rows = max(1, _MOST_LOGITS // model.get_output_embeddings().weight.shape[0])
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    losses = [
        nn.functional.cross_entropy(_logits(model, read), wanted, reduction="none")
        for read, wanted in parts
    ]
    return torch.cat(losses)


def _cap(model: PreTrainedModel) -> float | None:
    """Gemma 2 and 3 press their logits below a limit."""
    cap: float | None = model.config.to_dict().get("final_logit_softcapping")
    return cap


def _logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    cap = _cap(model)
    return logits if cap is None else torch.tanh(logits / cap) * cap
