"""Distillation: the loss that it says, on the tensors that it says."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from offsite.emulator.layer_drop import Layout
from offsite.errors import InterruptedStage
from offsite.events import Monitor
from offsite.layers import blocks, family, precision
from offsite.modality import IGNORED, Batch
from offsite.training.checkpoints import Checkpoints
from offsite.training.distill import Weights, distill
from offsite.training.run import Plan
from offsite.training.run import Run as Training
from offsite.training.step import PlainStep, TrainingStep, plain_step
from offsite_testing.core import (
    DROPPED,
    BatchAt,
    changed,
    drawn,
    dropped,
    each_text_case,
    each_text_family,
    input_ids,
    loaded,
    middle_names,
    snapshot,
    some_batch,
    stopped_at,
)
from offsite_testing.events import Wire, recording
from offsite_testing.tiny import DEPTH, LANGUAGE, tiny_model

LAST_IN_FULL = DEPTH - DROPPED.top
LAST_IN_EMULATOR = len(DROPPED.kept) - DROPPED.top
"""Where `output_hidden_states` holds what the last middle block puts out."""


@dataclass
class Run:
    """One distillation of a tiny model, and what it left."""

    model: PreTrainedModel
    folder: Path
    layout: Layout = DROPPED
    weights: Weights = field(default_factory=lambda: Weights(1.0, 30.0))
    gradient_checkpointing: bool = False
    step: TrainingStep[Any] = plain_step
    events: list[Wire] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = dropped(self.model, self.layout)
        self.emulator = self.made.model
        self.folder.mkdir(exist_ok=True)

    def __call__(self, steps: int, batch_at: BatchAt, monitor: Monitor | None = None) -> "Run":
        checkpointing = self.gradient_checkpointing
        training = Training(
            Plan(steps=steps, learning_rate=2e-3, seed=3, gradient_checkpointing=checkpointing),
            Checkpoints(self.folder / "checkpoint.safetensors"),
            monitor or Monitor(recording(self.events)),
            self.step,
        )
        full = loaded(self.model)
        distill(full, self.made, batch_at, self.weights, training)
        return self

    @property
    def losses(self) -> list[float]:
        return [event["loss"] for event in self.events if event["event"] == "progress"]

    def gradients(self) -> dict[str, Tensor]:
        """Get the gradients of a run of one step: Adam's first moment is a tenth of them."""
        state = load_file(self.folder / "checkpoint.safetensors")
        found = {n: t * 10 for n, t in state.items() if n.endswith("/exp_avg")}
        return {name.split("/")[1]: gradient for name, gradient in found.items()}


def scored_batch(seed: int = 0) -> Batch:
    """Draw a batch with padding and a prompt, where no loss is taken."""
    batch = some_batch(rows=3, seed=seed)
    batch.targets[0, 9:] = IGNORED
    batch.targets[1, :6] = IGNORED
    return batch


def plain_loss(
    model: PreTrainedModel, emulator: PreTrainedModel, batch: Batch, weights: Weights
) -> Tensor:
    """Compute the distillation loss with nothing but transformers."""
    labels = torch.full_like(batch.targets, IGNORED)
    labels[:, 1:] = batch.targets[:, :-1]
    asked: dict[str, Any] = {"input_ids": input_ids(batch), "output_hidden_states": True}
    with precision():
        with torch.no_grad():
            teacher = model(**asked).hidden_states[LAST_IN_FULL].float()
        student = emulator(**asked, labels=labels)
    hidden = student.hidden_states[LAST_IN_EMULATOR].float()
    error = (((teacher - hidden) / teacher.pow(2).mean().sqrt()) ** 2).mean()
    loss: Tensor = weights.task * student.loss + weights.kd * error
    return loss


def plain_gradients(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Compute the gradients of the middle blocks, clipped to a norm of 1 as training does."""
    emulator = copy.deepcopy(run.emulator)
    for block in blocks(emulator)[run.layout.middle]:
        block.requires_grad_(True)
    plain_loss(run.model, emulator, batch, run.weights).backward()
    found = {
        f"blocks.{place}.{name}": parameter.grad
        for place, block in enumerate(blocks(emulator))
        for name, parameter in block.named_parameters()
        if parameter.grad is not None
    }
    norm = torch.stack([gradient.norm() for gradient in found.values()]).norm()
    return {name: gradient / max(1.0, float(norm)) for name, gradient in found.items()}


def close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> bool:
    """Compare gradients as one vector, since some of them are zero but for rounding."""
    assert one.keys() == other.keys()
    a, b = (torch.cat([d[name].flatten() for name in sorted(d)]) for d in (one, other))
    return float((a - b).norm()) < tolerance * float(a.norm())


WEIGHTS = [Weights(1.0, 30.0), Weights(task=0.0, kd=2.0), Weights(task=3.0, kd=0.0)]


@pytest.mark.parametrize("weights", WEIGHTS, ids=["both", "kd", "lm"])
@each_text_family
def test_loss_and_gradients_are_those_of_a_plain_implementation(
    name: str, weights: Weights, tmp_path: Path
) -> None:
    run, batch = Run(tiny_model(name), tmp_path, weights=weights), scored_batch()
    expected = plain_loss(run.model, run.emulator, batch, weights).item()
    gradients = plain_gradients(run, batch)
    run(1, lambda step: batch)
    assert run.losses == [pytest.approx(expected, rel=2e-3, abs=1e-3)]
    assert close(run.gradients(), gradients, 0.05)


@each_text_case
def test_only_the_middle_of_the_emulator_changes(
    name: str, over: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(tiny_model(name, **over), tmp_path)
    before, whole = snapshot(run.emulator), snapshot(run.model)
    run(2, drawn())
    assert changed(before, run.emulator) == middle_names(run.emulator, DROPPED)
    assert changed(whole, run.model) == set()


@each_text_family
def test_loss_falls(name: str, tmp_path: Path) -> None:
    run, held_out = Run(tiny_model(name), tmp_path), some_batch(rows=4, seed=99)
    before = plain_loss(run.model, run.emulator, held_out, run.weights).item()
    run(12, drawn(rows=4))
    assert plain_loss(run.model, run.emulator, held_out, run.weights).item() < 0.95 * before


@each_text_family
def test_gradient_checkpointing_gives_the_same_gradients(name: str, tmp_path: Path) -> None:
    model, found = tiny_model(name), []
    for asked in (False, True):
        run = Run(model, tmp_path / str(asked), gradient_checkpointing=asked)
        found.append(run(1, lambda step: scored_batch()).gradients())
    assert close(found[0], found[1], 1e-5)


def test_the_parts_of_a_batch_have_its_gradient_and_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offsite.layers.hardware.multiplies_bfloat16", lambda kind: False)
    model = tiny_model("llama")
    steps = {"whole": plain_step, "parts": PlainStep(2)}
    runs = [Run(model, tmp_path / name, step=step) for name, step in steps.items()]
    whole, parts = (run(1, lambda step: scored_batch()) for run in runs)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    assert close(whole.gradients(), parts.gradients(), 1e-4)


@pytest.mark.parametrize(("name", "asked"), [*((name, False) for name in LANGUAGE), ("opt", True)])
def test_the_same_batches_give_the_same_bytes(name: str, asked: bool, tmp_path: Path) -> None:
    model, results = tiny_model(name), []
    for attempt, first in enumerate((0, 0, 7)):
        run = Run(model, tmp_path / str(attempt), gradient_checkpointing=asked)
        results.append(run(2, drawn(first)).emulator)
    assert changed(snapshot(results[0]), results[1]) == set()
    assert changed(snapshot(results[0]), results[2]) == middle_names(results[0], DROPPED)


@pytest.mark.parametrize("asked", [False, True], ids=["plain", "checkpointed"])
@each_text_family
def test_no_graph_is_built_below_the_first_trained_block(
    name: str, asked: bool, tmp_path: Path
) -> None:
    run = Run(tiny_model(name), tmp_path, gradient_checkpointing=asked)
    graphs: list[tuple[int, bool]] = []
    for place, block in enumerate(blocks(run.emulator)):

        def note(_module: object, _args: object, output: Tensor, place: int = place) -> None:
            graphs.append((place, output.requires_grad))

        block.get_submodule(family(run.emulator).targets[0]).register_forward_hook(note)
    run(1, lambda step: some_batch())
    forward = [(0, False), (1, True), (2, True), (3, True)]
    # on the way back, from the top, all of them but the first are run again
    assert graphs == (forward + forward[:0:-1] if asked else forward)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_an_interrupted_run_goes_on_to_the_same_bytes(step: int, tmp_path: Path) -> None:
    model, draw = tiny_model("llama"), drawn()
    straight = Run(model, tmp_path / "straight")(4, draw).emulator
    asking, monitor = stopped_at(step, draw)
    with pytest.raises(InterruptedStage):
        Run(model, tmp_path / "stopped")(4, asking, monitor)
    resumed = Run(model, tmp_path / "stopped")
    assert changed(snapshot(straight), resumed.emulator)
    assert changed(snapshot(straight), resumed(4, draw).emulator) == set()
