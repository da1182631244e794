"""Uniform layer drop (Xiao et al. 2023, section 3.2): keep some of the middle blocks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

from transformers import PreTrainedModel

from offsite.api import Ends, LayerDrop
from offsite.bundle import BlockRecord
from offsite.emulator.method import Compressed, share_of
from offsite.layers import family, rearranged
from offsite.steps.feasibility import check_depth


def choose(depth: int, ends: Ends, asked: LayerDrop, sent: Collection[int]) -> tuple[int, ...]:
    """See `Method.choose`."""
    return Layout.uniform(depth, ends.bottom, ends.top, asked.blocks, sent).kept


def compress(
    model: PreTrainedModel, ends: Ends, asked: LayerDrop, chosen: Sequence[int]
) -> Compressed:
    """See `Method.compress`."""
    layout = Layout(ends.bottom, ends.top, tuple(chosen))
    row, config = family(model), model.config.to_dict()
    tensors, linears = row.block_tensors(config), row.linear_sizes(config)
    blocks = tuple(
        BlockRecord(full=full, end=place in layout.ends, tensors=tensors, linears=linears)
        for place, full in enumerate(layout.kept)
    )
    share = share_of(blocks, tensors, row.count(config))
    return Compressed(drop_layers(model, layout), blocks, share)


@dataclass(frozen=True)
class Layout:
    """Which of the full model's blocks the bundle is made of, bottom first."""

    bottom: int
    """Blocks at the bottom that are kept as they are."""
    top: int
    """Blocks at the top that are kept as they are."""
    kept: tuple[int, ...]
    """The full model's block behind each block of the bundle, ends included."""

    @classmethod
    def uniform(
        cls, depth: int, bottom: int, top: int, keep: int, disclosed: Collection[int] = ()
    ) -> "Layout":
        """Keep `keep` middle blocks of a model of `depth` blocks, evenly spread.

        Args:
            disclosed: blocks that were sent before. They are taken first, and as few others as
                possible; among those, the ones that are nearest to an even spread.

        Raises:
            ModelError: the model has fewer blocks than that.
        """
        middle = depth - bottom - top
        check_depth(depth, bottom, top, keep)
        # one division, so that a half is a half and not what two roundings make of it
        inner = [bottom + round(i * (middle - 1) / max(1, keep - 1)) for i in range(keep)]
        inner = _nearest(inner, range(bottom, depth - top), disclosed)
        return cls(bottom, top, (*range(bottom), *inner, *range(depth - top, depth)))

    @property
    def middle(self) -> slice:
        """Where the emulator lies among the blocks of the bundle."""
        return slice(self.bottom, len(self.kept) - self.top)

    @property
    def ends(self) -> tuple[int, ...]:
        """The bundle's blocks that are the full model's own."""
        everything = range(len(self.kept))
        return (*everything[: self.bottom], *everything[len(self.kept) - self.top :])


def _nearest(wanted: Sequence[int], places: range, known: Collection[int]) -> list[int]:
    """Choose as many places as are wanted, in order: known ones, then those that are nearest.

    By dynamic programming: `best[place]` is the cheapest choice so far that ends at or below it.
    """
    unknown = len(places) * len(wanted)  # more than all distances together
    best: list[tuple[float, tuple[int, ...]]] = [(0, ())] * (len(places) + 1)
    for count, target in enumerate(wanted, 1):
        longer: list[tuple[float, tuple[int, ...]]] = [(inf, ())] * count
        for i, place in enumerate(places[count - 1 :], count):
            cost, before = best[i - 1]
            cost += abs(place - target) + (0 if place in known else unknown)
            longer.append(min(longer[-1], (cost, (*before, place))))
        best = longer
    return list(best[-1][1])


def drop_layers(model: PreTrainedModel, layout: Layout) -> PreTrainedModel:
    """Build the emulator: a model of the kept blocks, which shares its tensors with `model`."""
    row = family(model)
    whole = row.known(model.config.to_dict())
    place = {full: i for i, full in enumerate(layout.kept)}
    names: dict[str, str] = {}
    for name in model.state_dict():
        split = row.block_of(name)
        if split is None:
            names[row.stored_name(name)] = name
        elif split[0] in place:
            names[row.tensor_name(place[split[0]], split[1])] = name
    emulator = rearranged(model, row.resized(whole, layout.kept), names)
    # what is computed and not stored carries the rounding of the dtype that `model` was loaded in
    for name, buffer in model.named_buffers():
        if row.block_of(name) is None:
            path, _, attribute = name.rpartition(".")
            setattr(emulator.get_submodule(path), attribute, buffer)
    return emulator
