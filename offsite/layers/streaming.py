"""Runs a model on many batches, block by block where its blocks are on the disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from transformers import PreTrainedModel

from offsite.layers.residence import is_absent, resident
from offsite.layers.stack import Call, Inputs, blocks, final_hidden, finish, run, trace

_LEAST = 1 << 26
"""Bytes of hidden states that are together in memory if a block is smaller than that."""


def final_states(
    model: PreTrainedModel, batches: Iterable[Inputs], turn: Callable[[], object]
) -> Iterator[Tensor]:
    """Compute `final_hidden` of each batch, bit for bit.

    If the blocks are on the disk, each is read once for as many batches as have hidden states of
    the size of a block together. Reading the blocks again for others costs less than it would to
    keep hidden states on the disk.

    Args:
        batches: `Batch.inputs` of each; read when they are needed.
        turn: called before each batch passes blocks; it may raise.
    """
    # not so while workers share them, which run each batch through all blocks together
    if is_absent(blocks(model)[0]):
        for wave in _waves(model, batches):
            yield from _by_block(model, wave, turn)
        return
    for inputs in batches:
        turn()
        yield final_hidden(model, inputs)


@dataclass
class _Wave:
    """Batches that pass the blocks together."""

    inputs: list[Inputs] = field(default_factory=list)
    calls: list[Sequence[Call]] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    """What the next block reads, (B, T, D) each."""


def _waves(model: PreTrainedModel, batches: Iterable[Inputs]) -> Iterator[_Wave]:
    """Trace the batches, as many together as may have hidden states in memory."""
    block = sum(each.nbytes for each in blocks(model)[0].parameters())
    most, wave, size = max(_LEAST, block), _Wave(), 0
    for inputs in batches:
        traced = trace(model, inputs)
        if size and size + traced.hidden.nbytes > most:
            yield wave
            wave, size = _Wave(), 0
        wave.inputs.append(inputs)
        wave.calls.append(traced.calls)
        wave.states.append(traced.hidden)
        size += traced.hidden.nbytes
    if size:
        yield wave


def _by_block(model: PreTrainedModel, wave: _Wave, turn: Callable[[], object]) -> Iterator[Tensor]:
    """Run all batches through one block after the other."""
    *below, last = blocks(model)
    for place, block in enumerate(below):
        with resident(block):
            for number, calls in enumerate(wave.calls):
                turn()
                wave.states[number] = run([block], wave.states[number], [calls[place]])
    with resident(last):
        for inputs in wave.inputs:
            turn()
            yield finish(model, inputs, wave.states.pop(0))
