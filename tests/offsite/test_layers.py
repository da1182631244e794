"""Losses are the same whether logits are computed all at once or in parts."""

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.layers import batch_loss, example_losses, final_hidden
from offsite.modality import IGNORED, Batch
from offsite.modality.text.loss import token_losses
from offsite_testing.core import (
    batch_of,
    each_text_family,
    input_ids,
    loaded,
    logits,
    some_batch,
    some_tokens,
)
from offsite_testing.tiny import tiny_model

each_limit = pytest.mark.parametrize("most", [1 << 26, 1000], ids=["at-once", "in-parts"])


def scored_batch() -> Batch:
    batch = some_batch(rows=3, length=20)
    batch.targets[0, :11] = IGNORED
    return batch


def plain_loss(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Compute the loss from all logits."""
    scores = model.get_output_embeddings()(hidden)
    if cap := getattr(model.config, "final_logit_softcapping", None):
        scores = cap * torch.tanh(scores / cap)
    return nn.functional.cross_entropy(scores.flatten(0, 1), batch.targets.flatten())


@each_limit
@each_text_family
def test_loss_and_gradient_are_those_of_all_logits(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.modality.text.loss._MOST_LOGITS", most)
    model, batch, results = tiny_model(name), scored_batch(), []
    with torch.no_grad():
        hidden = final_hidden(model, batch.inputs)
    modality = loaded(model).modality
    for ours in (True, False):
        read = hidden.clone().requires_grad_()
        plain = plain_loss(model, read, batch)
        loss = batch_loss(model, modality, batch, hidden=read) if ours else plain
        loss.backward()
        assert read.grad is not None
        results.append((loss.detach(), read.grad))
    assert torch.allclose(results[0][0], results[1][0], rtol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-6)


@each_limit
@each_text_family
def test_the_loss_of_each_token_is_that_of_the_models_logits(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.modality.text.loss._MOST_LOGITS", most)
    model, batch = tiny_model(name), scored_batch()
    scored = batch.targets != IGNORED
    with torch.no_grad():
        hidden = final_hidden(model, batch.inputs)[scored]
        found = token_losses(model, hidden, batch.targets[scored])
    likely = logits(model, input_ids(batch))[scored].log_softmax(-1)
    expected = -likely.gather(1, batch.targets[scored][:, None])[:, 0]
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_batch_without_targets_has_a_loss_of_nothing() -> None:
    model, tokens = tiny_model("llama"), some_tokens()
    model.requires_grad_(True)
    nothing = torch.full_like(tokens, IGNORED)
    batch = batch_of(tokens, nothing, torch.ones_like(tokens, dtype=torch.bool))
    loss = batch_loss(model, loaded(model).modality, batch)
    assert loss == 0
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@each_limit
@each_text_family
def test_the_loss_is_the_mean_of_that_of_each_example(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.modality.text.loss._MOST_LOGITS", most)
    model, batch = tiny_model(name), scored_batch()
    text = loaded(model).modality
    with torch.no_grad():
        mean, each = batch_loss(model, text, batch), example_losses(model, text, batch)
        alone = [example_losses(model, text, batch.part(i, 3)).item() for i in range(3)]
    assert float(each.sum() / batch.weights.sum()) == pytest.approx(float(mean), rel=1e-5)
    assert each.tolist() == pytest.approx(alone, rel=1e-4)
    assert batch.weights.tolist() == [8, 19, 19]
