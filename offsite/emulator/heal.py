"""Linear healing: a closed-form correction of kept blocks for the blocks that were dropped.

After ReplaceMe (Shopkhoev et al. 2025, arXiv 2505.02819), with three changes. Bottom up, a kept
block's last projection is refitted so that the *emulator's own* hidden state, errors of the blocks
below included, comes close to the full model's just before the next kept block. The projection
itself is fitted, which a map behind it could not improve on. And each position counts by the error
relative to its own size, so that the massive activations of a few do not decide for all.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator.method import Compressed
from offsite.events import Monitor
from offsite.layers import (
    Call,
    Spilled,
    blocks,
    family,
    inference,
    is_lazy,
    resident,
    run,
    tensors_of,
    trace,
)
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

    Hidden states are on disk, and the normal equations of one block at a time are summed up batch
    by batch, so memory does not grow with the data. Of models that were opened lazily, one block
    is in memory at a time.

    Args:
        model: the full model. Nothing in it changes, though the emulator shares tensors with it.
        batches: data to fit to, of the model owner's own.
        scratch: where the hidden states are meanwhile; absent: the system's temporary folder.
    """
    row = family(model)
    name = row.healed_by(model.config.to_dict())
    assert name is not None
    places, tensors = emulator.middle, tensors_of(emulator.model)
    tracker = monitor.track("heal", len(places) * len(batches))
    with inference():
        streams = _Streams(model, emulator, batches, monitor, Spilled(scratch))
        for place in places:
            streams.climb(place)
            block = blocks(emulator.model)[place]
            with resident(block):
                scale = output_scale(block, model)
                equations = NormalEquations(block.get_submodule(name), row.transposed, scale)
                for number, batch in enumerate(batches):
                    with watching_projection(block.get_submodule(name)) as seen:
                        wanted, output = streams.compare(number, place)
                    equations.add(seen[0], wanted, output, batch.mask)
                    tracker.advance(units=batch.amount, unit=batch.unit)
            tensors[row.tensor_name(place, f"{name}.weight")] = equations.solution()


def output_scale(block: nn.Module, model: PreTrainedModel) -> Tensor | None:
    """Get the vector by which a block multiplies what the projection puts out."""
    path = family(model).heal_scale
    return None if path is None else block.get_parameter(path).detach().float()


class _Streams:
    """The hidden states of every batch, in `states`: the full model's and the emulator's."""

    def __init__(
        self,
        model: PreTrainedModel,
        emulator: Compressed,
        batches: Sequence[Batch],
        monitor: Monitor,
        states: MutableMapping[str, Tensor],
    ) -> None:
        self._model, self._batches = model, batches
        self._full, self._stack = [*blocks(model)], blocks(emulator.model)
        self._emulator, self._monitor, self._states = emulator, monitor, states
        for number, batch in enumerate(batches):
            self._write("teacher", number, trace(model, batch.inputs).hidden)

    def climb(self, place: int) -> None:
        """Move the emulator's states up to its block at `place`, the model's to the block above."""
        below, here, above = (block.full for block in self._emulator.blocks[place - 1 : place + 2])
        if place == self._emulator.middle.start:
            self._move("teacher", self._full[:here], range(here))
            for number in range(len(self._batches)):
                self._write("student", number, self._read("teacher", number))
        else:
            self._move("student", [self._stack[place - 1]], [below])
        self._move("teacher", self._full[here:above], range(here, above))

    def compare(self, number: int, place: int) -> tuple[Tensor, Tensor]:
        """Run the emulator's block at `place` on a batch.

        Returns:
            what that block should put out and what it does, (B, T, D) each.
        """
        call = self._calls(number)[self._emulator.blocks[place].full]
        output = run([self._stack[place]], self._read("student", number), [call])
        return self._read("teacher", number), output

    def _move(self, stream: str, modules: Sequence[nn.Module], full: Sequence[int]) -> None:
        """Run blocks on all batches, as the full model calls its blocks `full`."""
        together = 1 if is_lazy(self._model) else len(self._full)
        for start in range(0, len(modules), together):
            some = slice(start, start + together)
            with resident(*modules[some]):
                for number in range(len(self._batches)):
                    calls = self._calls(number)
                    hidden = self._read(stream, number)
                    hidden = run(modules[some], hidden, [calls[i] for i in full[some]])
                    self._write(stream, number, hidden)

    def _calls(self, number: int) -> Sequence[Call]:
        self._monitor.check()
        return trace(self._model, self._batches[number].inputs).calls

    def _write(self, stream: str, number: int, hidden: Tensor) -> None:
        self._states[f"{stream}.{number}"] = hidden

    def _read(self, stream: str, number: int) -> Tensor:
        return self._states[f"{stream}.{number}"].to(self._batches[number].mask.device)


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
        # by columns, as LAPACK factors a matrix in place
        self._gram = self._before().new_zeros(inputs, inputs).T
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

    def solution(self) -> Tensor:
        """Compute the weight that solves the problem, once: it uses the equations up."""
        ridge = _RIDGE * self._gram.diagonal().mean()
        self._gram.diagonal().add_(ridge)
        self._moment += ridge * self._before()
        torch.linalg.cholesky(self._gram, out=self._gram)
        fitted = torch.cholesky_solve(self._moment, self._gram)
        wanted = fitted if self._transposed else fitted.T
        return wanted.to(self._weight.dtype).contiguous()
