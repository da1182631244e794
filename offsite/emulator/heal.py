"""Linear healing: a closed-form correction of kept blocks for the blocks that were dropped.

After ReplaceMe (Shopkhoev et al. 2025, arXiv 2505.02819), with three changes. Bottom up, a kept
block's last projection is refitted so that the *emulator's own* hidden state, errors of the blocks
below included, comes close to the full model's just before the next kept block. The projection
itself is fitted, which a map behind it could not improve on. And each position counts by the error
relative to its own size, so that the massive activations of a few do not decide for all.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator.method import Compressed
from offsite.events import Monitor
from offsite.layers import blocks, family, inference, run, trace
from offsite.modality import Batch

_RIDGE = 0.3
"""How strongly a weight is held to what it was, relative to the mean square of its input."""


_LEAST_SCALE = 1e-3
"""Of the largest scale of a layer: the least by which a goal is divided."""


def heal(
    model: PreTrainedModel,
    emulator: Compressed,
    batches: Sequence[Batch],
    monitor: Monitor,
    *,
    scratch: Path | None = None,
) -> None:
    """Refit the last projection of each block of the emulator's middle, in place.

    Memory does not grow with the data: hidden states lie on disk, and the normal equations of one
    block at a time are summed up batch by batch.

    Args:
        model: the full model. Nothing in it changes, though the emulator shares tensors with it.
        batches: data to fit to, of the model owner's own.
        scratch: where the hidden states lie meanwhile; absent: the system's temporary folder.
    """
    name = family(model).healed_by(model.config.to_dict())
    assert name is not None
    places = emulator.middle
    tracker = monitor.track("heal", len(places) * len(batches))
    with tempfile.TemporaryDirectory(prefix="heal-", dir=scratch) as folder, inference():
        streams = _Streams(model, emulator, batches, Path(folder))
        for place in places:
            block = blocks(emulator.model)[place]
            projection = block.get_submodule(name)
            scale = output_scale(block, model)
            equations = NormalEquations(projection, family(model).transposed, scale)
            for number, batch in enumerate(batches):
                monitor.check()
                with watching_projection(projection) as seen:
                    wanted, output = streams.climb(number, place)
                equations.add(seen[0], wanted, output, batch.mask)
                tracker.advance(units=batch.amount, unit=batch.unit)
            equations.solve()


def output_scale(block: nn.Module, model: PreTrainedModel) -> Tensor | None:
    """Get the vector by which a block multiplies what the projection puts out."""
    path = family(model).heal_scale
    return None if path is None else block.get_parameter(path).detach().float()


@dataclass
class _Streams:
    """The hidden states of every batch, on disk: the full model's and the emulator's."""

    model: PreTrainedModel
    emulator: Compressed
    batches: Sequence[Batch]
    folder: Path

    def climb(self, number: int, place: int) -> tuple[Tensor, Tensor]:
        """Move a batch up to the kept block at `place`.

        Returns:
            what that block should put out and what it does, (B, T, D) each.
        """
        traced = trace(self.model, self.batches[number].inputs)
        calls, stack = traced.calls, blocks(self.emulator.model)
        below, here, above = (block.full for block in self.emulator.blocks[place - 1 : place + 2])
        if place == self.emulator.middle.start:
            teacher = run(blocks(self.model)[:here], traced.hidden, calls[:here])
            student = teacher
        else:
            teacher, student = self._read(number)
            student = run([stack[place - 1]], student, [calls[below]])
        teacher = run(blocks(self.model)[here:above], teacher, calls[here:above])
        self._write(number, teacher, student)
        return teacher, run([stack[place]], student, [calls[here]])

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def _write(self, number: int, teacher: Tensor, student: Tensor) -> None:
        # clones: at first both are one tensor, and SigLIP's is not laid out by rows
        plain = torch.contiguous_format
        states = {
            "teacher": teacher.cpu().clone(memory_format=plain),
            "student": student.cpu().clone(memory_format=plain),
        }
        save_file(states, self._path(number))

    def _read(self, number: int) -> tuple[Tensor, Tensor]:
        states = load_file(self._path(number), device=str(self.batches[number].mask.device))
        return states["teacher"], states["student"]


_Seen = tuple[Tensor, Tensor]


@contextmanager
def watching_projection(projection: nn.Module) -> Iterator[list[_Seen]]:
    """Collect what a projection reads and puts out while the `with` block runs."""
    seen: list[_Seen] = []

    def note(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((args[0], output))

    with projection.register_forward_hook(note):
        yield seen


class NormalEquations:
    """The ridge least squares problem of one projection, y ≈ a W + b.

    Products are taken in float32, whatever precision the model runs at, and summed up in float64.

    What is fitted is W; the bias stays, and the solution is drawn towards the W there was. If the
    block scales what the projection puts out, by a number for each feature, the goal is divided by
    it. A feature whose number is almost zero stays as it is.

    Args:
        projection: the module whose weight is W.
        transposed: whether W is stored as (in, out).
        scale: (D,), what the block multiplies the output by.
    """

    def __init__(
        self, projection: nn.Module, transposed: bool, scale: Tensor | None = None
    ) -> None:
        self._weight = projection.get_parameter("weight")
        self._bias = dict(projection.named_parameters()).get("bias")
        self._transposed, self._scale = transposed, scale
        inputs, outputs = self._before().shape
        self._gram = self._before().new_zeros(inputs, inputs)
        self._moment = self._before().new_zeros(inputs, outputs)

    def _before(self) -> Tensor:
        """The weight as it is, (in, out)."""
        return (self._weight if self._transposed else self._weight.T).double()

    def add(self, seen: _Seen, wanted: Tensor, output: Tensor, mask: Tensor) -> None:
        """Take the equations of one batch.

        Args:
            seen: what the projection read, (…, in), and put out, (…, out), B T rows each.
            wanted: what its block should put out, (B, T, D).
            output: what its block put out: the residual stream plus the (scaled) output of the
                projection.
            mask: (B, T), where a hidden state stands for input.
        """
        inputs, projected, target, output = (
            part.flatten(0, -2)[mask.flatten()].float() for part in (*seen, wanted, output)
        )
        size = target.pow(2).mean(dim=1, keepdim=True).sqrt().clamp_min(1e-6)
        goal = projected + self._unscaled(target - output)
        goal = goal if self._bias is None else goal - self._bias
        inputs, goal = inputs / size, goal / size
        with torch.autocast(inputs.device.type, enabled=False):
            self._gram += inputs.T @ inputs
            self._moment += inputs.T @ goal

    def _unscaled(self, change: Tensor) -> Tensor:
        """Compute by how much the projection's output must change to change the block's so."""
        if self._scale is None:
            return change
        size = self._scale.abs()
        reached = size > _LEAST_SCALE * size.max()
        return torch.where(reached, change / self._scale.where(reached, torch.ones_like(size)), 0)

    def solve(self) -> None:
        """Give the projection the weight that solves the problem, as a tensor of its own."""
        ridge = _RIDGE * self._gram.diagonal().mean()
        self._gram.diagonal().add_(ridge)
        factor = torch.linalg.cholesky(self._gram)
        fitted = torch.cholesky_solve(self._moment + ridge * self._before(), factor)
        wanted = fitted if self._transposed else fitted.T
        self._weight.data = wanted.to(self._weight.dtype).contiguous()
