"""Linear healing: kept blocks make up in closed form for the blocks that were dropped.

After ReplaceMe (Shopkhoev et al. 2025, arXiv 2505.02819), with two changes. Block by block, bottom
up, the kept block's last projection is refitted by ridge least squares so that the emulator's own
hidden state, errors of the blocks below included, comes close to the full model's just before the
next kept block. And the projection itself is fitted, which a map behind it could not improve on.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator.layer_drop import Layout
from offsite.events import Monitor
from offsite.layers import Batch, blocks, family, inference, run, trace

_RIDGE = 0.1
"""Of the mean square of the projection's input: how strongly it is held to what it was."""


def heal(
    model: PreTrainedModel,
    emulator: PreTrainedModel,
    layout: Layout,
    batches: Sequence[Batch],
    monitor: Monitor,
) -> None:
    """Refit the last projection of each kept middle block, in place.

    Memory does not grow with the text: hidden states lie on disk, and the normal equations of one
    block at a time are summed up batch by batch.

    Args:
        model: the full model. Nothing in it changes, though the emulator shares tensors with it.
        batches: text to fit to, of the model owner's own.
    """
    name = family(model).healed_by(model.config.to_dict())
    assert name is not None
    places = range(layout.bottom, layout.middle.stop)
    tracker = monitor.track("heal", len(places) * len(batches))
    with tempfile.TemporaryDirectory(prefix="offsite-heal-") as folder, inference():
        spool = Spool(Path(folder))
        for number, batch in enumerate(batches):
            traced = trace(model, batch.tokens)
            below = slice(layout.bottom)
            hidden = run(blocks(model)[below], traced.hidden, traced.calls[below])
            spool.write(number, teacher=hidden, student=hidden)
        for place in places:
            block = blocks(emulator)[place]
            equations = NormalEquations(block.get_submodule(name), family(model).transposed)
            for number, batch in enumerate(batches):
                monitor.check()
                _observe(model, emulator, layout, place, batch, number, spool, equations)
                tracker.advance(tokens=batch.tokens.numel())
            equations.solve()


def _observe(
    model: PreTrainedModel,
    emulator: PreTrainedModel,
    layout: Layout,
    place: int,
    batch: Batch,
    number: int,
    spool: "Spool",
    equations: "NormalEquations",
) -> None:
    """Move both streams of one batch up to the kept block at `place`, and take its equations."""
    calls, stack = trace(model, batch.tokens).calls, blocks(emulator)
    here, above = layout.kept[place], layout.kept[place + 1]
    teacher, student = spool.read(number, batch.tokens.device)
    if place > layout.bottom:
        below = layout.kept[place - 1]
        student = run([stack[place - 1]], student, [calls[below]])
    teacher = run(blocks(model)[here:above], teacher, calls[here:above])
    spool.write(number, teacher=teacher, student=student)
    with equations.observing() as observe:
        observe(teacher, run([stack[place]], student, [calls[here]]))


class Spool:
    """Hidden states of every batch, on disk: the full model's and the emulator's, (B, T, D)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, *, teacher: Tensor, student: Tensor) -> None:
        """Replace the hidden states of a batch."""
        states = {"teacher": teacher.cpu().contiguous(), "student": student.cpu().clone()}
        save_file(states, self._folder / f"{number}.safetensors")

    def read(self, number: int, where: torch.device) -> tuple[Tensor, Tensor]:
        """Get the hidden states of a batch: teacher, student."""
        states = load_file(self._folder / f"{number}.safetensors", device=str(where))
        return states["teacher"], states["student"]


class NormalEquations:
    """The ridge least squares problem of one projection, y ≈ a W + b, summed up in float64.

    What is fitted is W; the bias stays, and the solution is drawn towards the W there was.
    """

    def __init__(self, projection: nn.Module, transposed: bool) -> None:
        self._projection, self._transposed = projection, transposed
        weight = self._weight()
        inputs, outputs = weight.shape
        self._gram = torch.zeros(inputs, inputs, dtype=torch.float64, device=weight.device)
        self._moment = torch.zeros(inputs, outputs, dtype=torch.float64, device=weight.device)

    def _weight(self) -> Tensor:
        """The weight as (in, out)."""
        weight = self._projection.get_parameter("weight")
        return weight if self._transposed else weight.T

    @contextmanager
    def observing(self) -> Iterator[Any]:
        """Watch the projection while its block runs; call what is yielded with its output."""
        seen: list[tuple[Tensor, Tensor]] = []

        def note(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((args[0], output))

        def observe(wanted: Tensor, output: Tensor) -> None:
            inputs, projected = seen[-1]
            bias = dict(self._projection.named_parameters()).get("bias", 0.0)
            # OPT flattens batch and position inside its blocks
            residual = output.float() - projected.float().view(output.shape)
            rows = (wanted.float() - residual - bias).flatten(0, -2)
            self._add(inputs.float().flatten(0, -2), rows)

        handle = self._projection.register_forward_hook(note)
        try:
            yield observe
        finally:
            handle.remove()

    def _add(self, inputs: Tensor, outputs: Tensor) -> None:
        self._gram += inputs.T @ inputs
        self._moment += inputs.T @ outputs

    def solve(self) -> None:
        """Give the projection the weight that solves the problem, as a tensor of its own."""
        before = self._weight().double()
        ridge = _RIDGE * self._gram.diagonal().mean()
        self._gram.diagonal().add_(ridge)
        factor = torch.linalg.cholesky(self._gram)
        fitted = torch.cholesky_solve(self._moment + ridge * before, factor)
        weight = self._projection.get_parameter("weight")
        weight.data = (fitted if self._transposed else fitted.T).to(weight.dtype).contiguous()
