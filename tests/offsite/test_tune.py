"""Tuning, in every form: it moves the adapter and nothing else, and can be interrupted."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from offsite.bundle import outside_of
from offsite.emulator.layer_drop import drop_layers
from offsite.errors import InterruptedStage
from offsite.events import Monitor
from offsite.layers import family
from offsite.modality import IGNORED, Batch
from offsite.modality.text import TextExample
from offsite.training.checkpoints import Checkpoints
from offsite.training.evaluate import mean_loss
from offsite.training.run import Plan, Run
from offsite.training.step import PlainStep, TrainingStep, plain_step
from offsite.training.tune import Adapter, tune
from offsite_testing.core import (
    DROPPED,
    BatchAt,
    batch_of,
    drawn,
    each_text_family,
    input_ids,
    loaded,
    raw,
    record_of,
    same_bytes,
    silent,
    some_batch,
    some_tokens,
    stopped_at,
)
from offsite_testing.steps import ClippedEach
from offsite_testing.tiny import tiny_model

FORMS = {"LoRA-All": (0, 1, 2, 3), "LoRA-Ends": DROPPED.ends, "Blocks-Ends": DROPPED.ends}
each_form = pytest.mark.parametrize("form", FORMS)
VALIDATION = [TextExample(tuple(row)) for row in some_tokens(4, seed=50).tolist()]


def bundle(name: str = "llama") -> PreTrainedModel:
    """Make an emulator with memory of its own."""
    return copy.deepcopy(drop_layers(tiny_model(name), DROPPED))


def tuned(
    model: PreTrainedModel,
    form: str,
    folder: Path,
    steps: int = 4,
    batch_at: BatchAt | None = None,
    monitor: Monitor | None = None,
    *,
    rate: float = 5e-3,
    validate_every: int = 2,
    gradient_checkpointing: bool = False,
    step: TrainingStep[Batch] = plain_step,
) -> dict[str, Tensor]:
    folder.mkdir(exist_ok=True)
    plan = Plan(
        steps=steps,
        learning_rate=rate,
        seed=3,
        validate_every=validate_every,
        gradient_checkpointing=gradient_checkpointing,
    )
    run = Run(plan, Checkpoints(folder / "checkpoint.safetensors"), monitor or silent(), step)
    adapter = Adapter(form.partition("-")[0], 3, FORMS[form])
    return tune(loaded(model), adapter, batch_at or drawn(), VALIDATION, run)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_bytes(one[n], other[n]) for n in one)


@each_form
@each_text_family
def test_tuning_changes_the_adapter_alone(name: str, form: str, tmp_path: Path) -> None:
    emulator = bundle(name)
    own = {name: (value, raw(value)) for name, value in emulator.named_parameters()}
    changes = tuned(emulator, form, tmp_path, steps=2)
    moved = {name for name, (value, before) in own.items() if raw(value) != before}
    row = family(emulator)
    ends = {name for name in own if (at := row.block_of(name)) and at[0] in DROPPED.ends}
    assert moved == (ends if form == "Blocks-Ends" else set())
    assert all(change.count_nonzero() for change in changes.values())


@each_form
def test_tuning_learns(form: str, tmp_path: Path) -> None:
    emulator, batch = bundle(), some_batch()
    seen = [TextExample(tuple(row)) for row in input_ids(batch).tolist()]
    before = mean_loss(loaded(emulator), seen, silent())
    tuned(emulator, form, tmp_path, 12, lambda step: batch, rate=2e-2)
    assert mean_loss(loaded(emulator), seen, silent()) < before - 0.05


@pytest.mark.parametrize("step", [0, 1, 2])
@each_form
def test_an_interrupted_run_goes_on_to_the_same_bytes(form: str, step: int, tmp_path: Path) -> None:
    straight = tuned(bundle(), form, tmp_path / "straight")
    asking, monitor = stopped_at(step, drawn())
    with pytest.raises(InterruptedStage):
        tuned(bundle(), form, tmp_path / "stopped", 4, asking, monitor)
    assert same(tuned(bundle(), form, tmp_path / "stopped"), straight)


@each_form
def test_seed_and_batches_decide_every_byte(form: str, tmp_path: Path) -> None:
    first, second = (tuned(bundle(), form, tmp_path / each) for each in "ab")
    assert same(first, second)
    other = tuned(bundle(), form, tmp_path / "c", 4, drawn(1))
    assert not same(first, other)


@each_form
def test_the_best_state_on_the_validation_data_is_kept(form: str, tmp_path: Path) -> None:
    # one token over and over: the longer, the worse for any other text
    fives, losses = torch.full((2, 9), 5), []
    harmful = batch_of(fives, fives, fives > 0)
    for every in (1, 0):
        emulator, folder = bundle(), tmp_path / str(every)
        tuned(emulator, form, folder, 6, lambda step: harmful, rate=0.2, validate_every=every)
        losses.append(mean_loss(loaded(emulator), VALIDATION, silent()))
    assert losses[0] < losses[1] - 0.02


@pytest.mark.parametrize("name", ["llama", "opt"])
@each_form
def test_gradient_checkpointing_gives_the_same_changes(
    name: str, form: str, tmp_path: Path
) -> None:
    plain = tuned(bundle(name), form, tmp_path / "plain", 1)
    other = tuned(bundle(name), form, tmp_path / "other", 1, gradient_checkpointing=True)
    assert plain.keys() == other.keys()
    assert all(torch.allclose(plain[name], other[name], atol=1e-6) for name in plain)


def first_moment(folder: Path) -> dict[str, Tensor]:
    """Get the gradients of a run of one step: Adam's first moment is a tenth of them."""
    state = load_file(folder / "checkpoint.safetensors")
    return {name: 10 * value for name, value in state.items() if name.endswith("/exp_avg")}


def one_vector(gradients: dict[str, Tensor]) -> Tensor:
    """Compare gradients as one vector, since some of them are zero but for rounding."""
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_parts_of_a_batch_have_its_gradient(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where parts count differently, and where there are more parts than examples."""
    monkeypatch.setattr("offsite.layers.hardware.multiplies_bfloat16", lambda kind: False)
    batch = some_batch(rows=3)
    batch.targets[1, :9] = IGNORED
    for step, name in ((plain_step, "whole"), (PlainStep(parts), "parts")):
        tuned(bundle(), "LoRA-All", tmp_path / name, 1, lambda step: batch, step=step)
    whole, split = (one_vector(first_moment(tmp_path / each)) for each in ("whole", "parts"))
    assert torch.allclose(whole, split, rtol=1e-4, atol=1e-6)


@each_form
def test_examples_one_by_one_have_the_gradient_of_their_batch(form: str, tmp_path: Path) -> None:
    """Also where examples count differently, since some of their tokens are not scored."""
    batch = some_batch(rows=3)
    batch.targets[1, :9] = IGNORED
    for step, name in ((plain_step, "plain"), (ClippedEach(), "each")):
        tuned(bundle(), form, tmp_path / name, 1, lambda step: batch, step=step)
    a, b = (one_vector(first_moment(tmp_path / each)) for each in ("plain", "each"))
    # bfloat16 is not exact, where the machine multiplies in it
    assert float((a - b).norm()) < 0.05 * float(a.norm())


@each_form
def test_another_step_takes_the_place_of_the_plain_one(form: str, tmp_path: Path) -> None:
    bound, step = 1e-3, ClippedEach(1e-3)
    straight = tuned(bundle(), form, tmp_path / "straight", step=step)
    assert not same(straight, tuned(bundle(), form, tmp_path / "plain"))
    # a run that is interrupted goes on to the same bytes with it, too
    asking, monitor = stopped_at(1, drawn())
    with pytest.raises(InterruptedStage):
        tuned(bundle(), form, tmp_path / "stopped", 4, asking, monitor, step=step)
    assert same(tuned(bundle(), form, tmp_path / "stopped", step=step), straight)
    # no example counts for more than the bound, over the 13 tokens to predict of each
    tuned(bundle(), form, tmp_path / "one", 1, step=step)
    norm = torch.cat([value.flatten() for value in first_moment(tmp_path / "one").values()]).norm()
    assert 0 < float(norm) <= bound / 13 * 1.01


@each_form
def test_a_head_is_trained_beside_the_adapter(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No language model has one, so its output layer stands for a classifier."""
    model = tiny_model("llama", tie_word_embeddings=False)
    emulator = copy.deepcopy(drop_layers(model, DROPPED))
    row = replace(family(emulator), heads={"head": "lm_head"})
    monkeypatch.setattr("offsite.adapter.heads.family", lambda model: row)
    before = emulator.get_parameter("lm_head.weight").detach().clone()
    changes = tuned(emulator, form, tmp_path, steps=2)
    found = outside_of(row, emulator.config.to_dict())
    record = record_of(model, DROPPED).model_copy(update={"outside": found})
    method, _, scope = form.partition("-")
    wanted = record.expected(method, scope, 3, ("head",))
    assert {name: tuple(change.shape) for name, change in changes.items()} == wanted
    after = emulator.get_parameter("lm_head.weight").detach()
    assert torch.equal(changes["head.weight.change"], after - before)
    assert changes["head.weight.change"].count_nonzero()
