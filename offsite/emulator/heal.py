"""Linear healing: a closed-form correction of kept blocks for the blocks that were dropped.

After ReplaceMe (Shopkhoev et al. 2025, arXiv 2505.02819), with three changes. Bottom up, a kept
block's last projection is refitted so that the *emulator's own* hidden state, errors of the blocks
below included, comes close to the full model's just before the next kept block. The projection
itself is fitted, which a map behind it could not improve on. And each position counts by the error
relative to its own size, so that the massive activations of a few do not decide for all.

The full model runs once, up to the top end, and so does the emulator: what a refitted projection
adds to a block's output follows from what it read.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.emulator.equations import NormalEquations, Seen
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
                    streams.keep(number, seen[0][0], output)
                    tracker.advance(units=batch.amount, unit=batch.unit)
            solution = equations.solution()
            tensors[row.tensor_name(place, f"{name}.weight")] = solution.weight
            streams.refitted = solution.added


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
        self.refitted: Callable[[Tensor], Tensor] = torch.zeros_like
        """What the block that was refitted last puts out more, (N, D), by what its projection read,
        (N, in)."""
        for number, batch in enumerate(batches):
            self._write("teacher", number, trace(model, batch.inputs).hidden)

    def climb(self, place: int) -> None:
        """Move the emulator's states up to its block at `place`, the model's to the block above."""
        here, above = (block.full for block in self._emulator.blocks[place : place + 2])
        if place == self._emulator.middle.start:
            self._move("teacher", self._full[:here], range(here))
            for number in range(len(self._batches)):
                self._write("student", number, self._read("teacher", number))
        else:
            self._follow()
        self._move("teacher", self._full[here:above], range(here, above))

    def compare(self, number: int, place: int) -> tuple[Tensor, Tensor]:
        """Run the emulator's block at `place` on a batch.

        Returns:
            what that block should put out and what it does, (B, T, D) each.
        """
        call = self._calls(number)[self._emulator.blocks[place].full]
        output = run([self._stack[place]], self._read("student", number), [call])
        return self._read("teacher", number), output

    def keep(self, number: int, read: Tensor, output: Tensor) -> None:
        """Keep what a block put out, (B, T, D), and what its projection read, (…, in)."""
        self._write("student", number, output)
        self._write("read", number, read)

    def _follow(self) -> None:
        """Move the emulator's states out of the block that was refitted last."""
        for number in range(len(self._batches)):
            self._monitor.check()
            read, output = self._read("read", number), self._read("student", number)
            added = self.refitted(read.flatten(0, -2)).reshape(output.shape)
            self._write("student", number, output + added.to(output.dtype))

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


@contextmanager
def watching_projection(projection: nn.Module) -> Iterator[list[Seen]]:
    """Collect what a projection reads and puts out while the `with` block runs."""
    seen: list[Seen] = []

    def note(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((args[0], output))

    with projection.register_forward_hook(note):
        yield seen
