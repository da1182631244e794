"""Uniform layer drop (Xiao et al. 2023, section 3.2): keep some of the middle blocks."""

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from offsite.families import COMMON_KEYS
from offsite.layers import assemble, family
from offsite.steps.kept import check_depth


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
    def uniform(cls, depth: int, bottom: int, top: int, keep: int) -> "Layout":
        """Keep `keep` middle blocks of a model of `depth` blocks, evenly spread.

        Raises:
            ModelError: the model has fewer blocks than that.
        """
        middle = depth - bottom - top
        check_depth(depth, bottom, top, keep)
        # one division, so that a half is a half and not what two roundings make of it
        inner = [bottom + round(i * (middle - 1) / max(1, keep - 1)) for i in range(keep)]
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


def drop_layers(model: PreTrainedModel, layout: Layout) -> PreTrainedModel:
    """Build the emulator: a model of the kept blocks, which shares its tensors with `model`."""
    row = family(model)
    known = COMMON_KEYS | row.config_keys
    whole = {key: value for key, value in model.config.to_dict().items() if key in known}
    place = {full: i for i, full in enumerate(layout.kept)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        split = row.block_of(name)
        if split is None:
            tensors[row.stored_name(name)] = tensor
        elif split[0] in place:
            tensors[row.tensor_name(place[split[0]], split[1])] = tensor
    emulator = assemble(row.resized(whole, layout.kept), tensors)
    # what is computed and not stored carries the rounding of the dtype that `model` was loaded in
    for name, buffer in model.named_buffers():
        if row.block_of(name) is None:
            path, _, attribute = name.rpartition(".")
            setattr(emulator.get_submodule(path), attribute, buffer)
    return emulator
