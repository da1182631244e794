"""The language-model loss: the cross entropy of what the head says of each next token."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from offsite.modality.batch import IGNORED, Batch

_MOST_LOGITS = 1 << 26
"""256 MB in float32: as many at once are faster than chunks of them."""
_PREDICTED = 64


def summed_loss(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Sum up the cross entropy, in nats, of every scored token of a batch.

    Logits are computed where a loss is taken only, and never all at once if they are many.

    Args:
        hidden: what the head reads, (B, T, D).
    """
    scored = batch.targets != IGNORED
    read, targets = hidden[scored], batch.targets[scored]
    head = model.get_output_embeddings()
    if len(targets) * head.weight.shape[0] <= _MOST_LOGITS:
        return nn.functional.cross_entropy(_logits(model, read), targets, reduction="sum")
    if _cap(model) is not None:
        return token_losses(model, read, targets).sum()
    return nn.functional.linear_cross_entropy(
        read.to(head.weight.dtype),
        head.weight,
        targets,
        linear_bias=head.bias,
        reduction="sum",
        options=nn.LinearCrossEntropyOptions(),
    )


def losses(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Sum up the cross entropy, in nats, of each example's scored tokens, (B,) in float64.

    Args:
        hidden: what the head reads, (B, T, D).
    """
    scored = batch.targets != IGNORED
    each = token_losses(model, hidden[scored], batch.targets[scored])
    summed = torch.zeros(len(batch), device=each.device, dtype=torch.float64)
    return summed.index_add(0, scored.nonzero()[:, 0], each.double())


def likelihoods(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Sum up the log-likelihood of each example's scored tokens, and say if all are greedy, (B, 2).

    Args:
        hidden: what the head reads, (B, T, D).
    """
    scored = batch.targets != IGNORED
    each = _token_likelihoods(model, hidden[scored], batch.targets[scored])
    summed = torch.zeros(len(batch), 2, device=each.device, dtype=torch.float64)
    summed.index_add_(0, scored.nonzero()[:, 0], each)
    return torch.stack([summed[:, 0], summed[:, 1] == 0], dim=1)


def token_losses(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy in nats of each target (N,) from what the head reads, (N, D).

    Logits are never all in memory if they are many: for gradients they are computed again.
    """
    rows = max(1, _MOST_LOGITS // model.get_output_embeddings().weight.shape[0])
    parts = list(zip(hidden.split(rows), targets.split(rows), strict=True))
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([_cross_entropies(model, *part) for part in parts])
    again = partial(checkpoint, _cross_entropies, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([again(model, *part) for part in parts])


def predictions(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Compute the logits of some positions, (N, V), evenly chosen.

    Args:
        hidden: what the head reads, (B, T, D).
    """
    read = hidden.flatten(0, 1)
    chosen = read[:: max(1, len(read) // _PREDICTED)][:_PREDICTED]
    return _logits(model, chosen.to(model.get_output_embeddings().weight.dtype))


def _token_likelihoods(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    """Return the log-likelihood of each target, and 1 if another token is likelier, (N, 2)."""
    rows = max(1, _MOST_LOGITS // model.get_output_embeddings().weight.shape[0])
    found = [torch.zeros(0, 2, device=hidden.device, dtype=torch.float64)]
    for read, wanted in zip(hidden.split(rows), targets.split(rows), strict=True):
        logits = _logits(model, read)
        losses = nn.functional.cross_entropy(logits, wanted, reduction="none")
        found.append(torch.stack([-losses, logits.argmax(-1) != wanted], dim=1).double())
    return torch.cat(found)


def _cross_entropies(model: PreTrainedModel, hidden: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(_logits(model, hidden), targets, reduction="none")


def _cap(model: PreTrainedModel) -> float | None:
    """Gemma 2 and 3 press their logits below a limit."""
    cap: float | None = model.config.to_dict().get("final_logit_softcapping")
    return cap


def _logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden).float()
    cap = _cap(model)
    return logits if cap is None else torch.tanh(logits / cap) * cap
