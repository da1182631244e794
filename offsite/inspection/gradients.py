"""Signs in the gradients that an adapter would follow: rows and inputs that one event alone moves.

The change of a weight's row j is a sum over tokens t of g[t, j] x[t], where g is the gradient at
the module's output and x is its input; LoRA's B has A x[t] for x[t]. If one token alone has a
gradient g[t, j], the change *is* what was read there. So this module counts how many tokens share
a row, by the participation ratio (Σe)² / Σe² of e = g². Sums of both kinds of adapter follow the
same g, so one measurement holds for LoRA and for whole blocks. The patches of images are tokens
here, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from offsite.families import Linear
from offsite.inspection.signs import Measure
from offsite.layers import Loaded, family
from offsite.modality import Public

_EVENTS = 4.0
"""A row is narrow if fewer positions of each kind share its gradient …"""
_GROUPS = 1.5
"""… or fewer of one of `Public.groups`: different tokens, images, or places."""
_BUCKETS = 256
"""Positions are counted in so many groups, which bounds the memory."""
_LEAST = torch.finfo(torch.float32).tiny
_FAINT = 0.01
"""An example's gradient counts as at least this share of the largest example's."""
_DEAD = 1e-6
"""A row with less than this share of the mean row's gradient has none."""
_NEURONS = "F"
"""The dimension of a block's neurons, as rows of the family table name it."""
_ACTIVATIONS = ("activation_function", "hidden_act", "hidden_activation")


@dataclass(frozen=True)
class Sharing:
    """How many share the gradient of each of N rows, in the kind with most; all (N,)."""

    energy: Tensor
    """Relative to the mean of the module."""
    events: Tensor
    groups: Tensor
    """In the grouping with fewest."""

    def join(self, other: "Sharing") -> "Sharing":
        """Take the larger of two kinds; a value that is not a number stays one."""
        names = [field.name for field in fields(self)]
        return Sharing(*(torch.maximum(getattr(self, n), getattr(other, n)) for n in names))

    @property
    def finite(self) -> bool:
        """Whether all are numbers."""
        return all(bool(getattr(self, field.name).isfinite().all()) for field in fields(self))

    @property
    def dead(self) -> float:
        """Compute the share of rows without a gradient in any kind."""
        return _share(self.energy <= _DEAD) if self.finite else torch.nan

    @property
    def narrow(self) -> float:
        """Compute the share, among all other rows, of those that few tokens share."""
        if not self.finite:
            return torch.nan
        narrow = (self.events < _EVENTS) | (self.groups < _GROUPS)
        alive = self.energy > _DEAD
        return _share(narrow[alive]) if bool(alive.any()) else 0.0


def _share(these: Tensor) -> float:
    return float(these.float().mean())


class Gradients:
    """Collects the gradients of one model over several kinds of input, module by module."""

    def __init__(self, loaded: Loaded) -> None:
        linears = [each for each in family(loaded.model).block if isinstance(each, Linear)]
        self._into = {each.name for each in linears if each.out == _NEURONS}
        self._from = {each.name for each in linears if each.in_ == _NEURONS}
        self._sparse = _uses_relu(loaded)
        self._rows: dict[str, Sharing] = {}
        self._columns: dict[str, Sharing] = {}
        self._public: Public | None = None
        self._groups: tuple[Tensor, ...] = ()

    def begin(self, public: Public) -> None:
        """Begin a kind."""
        self._public = public
        self._groups = tuple(_numbered(each[:, public.skipped :]) for each in public.groups)

    def note(self, name: str, read: Tensor, gradient: Tensor) -> None:
        """Count a module's gradient, (…, out), and what it reads, (…, in); see `layers.Note`."""
        assert self._public is not None
        shape, skipped = self._public.contents.shape, self._public.skipped
        flow, seen = gradient.reshape(*shape, -1), read.reshape(*shape, -1)
        flow, seen = _scaled(flow)[:, skipped:], _scaled(seen)[:, skipped:]
        if not self._public.batch.by_position:
            flow = _leveled(flow)
        rows = flow.square()
        columns = seen.square() * rows.sum(-1, keepdim=True)
        for known, energy in ((self._rows, rows), (self._columns, columns)):
            found = _sharing(energy.flatten(0, 1), self._groups)
            known[name] = known[name].join(found) if name in known else found

    def measures(self) -> Iterator[Measure]:
        """Give the figures of every module."""
        for name, rows in self._rows.items():
            columns, target = self._columns[name], name.partition(" ")[0]
            yield Measure("narrow_rows", name, rows.narrow)
            yield Measure("narrow_columns", name, columns.narrow)
            if target not in self._into or not self._sparse:
                yield Measure("dead_rows", name, rows.dead)
            if target in self._into and not self._sparse:
                yield Measure("narrow_neurons", name, rows.narrow)
            if target in self._from and not self._sparse:
                yield Measure("narrow_neurons", name, columns.narrow)


def _uses_relu(loaded: Loaded) -> bool:
    """Say whether honest neurons of a model are silent on most tokens, too."""
    config = loaded.model.config.to_dict()
    return any("relu" in str(config.get(key)) for key in _ACTIVATIONS)


def _leveled(flow: Tensor) -> Tensor:
    """Let each example count the same, (B, T, N): the gradient of its one target may be any.

    What is far fainter than the rest is raised by a bounded factor, so that a trap cannot hide one
    event among others that leave a trace only.
    """
    norms = flow.norm(dim=(1, 2), keepdim=True)
    leveled: Tensor = flow / norms.clamp(min=_FAINT * float(norms.max()) + _LEAST)
    return leveled


def _scaled(values: Tensor) -> Tensor:
    """Scale to a largest value of 1, so that no square of it is lost."""
    wide = values.detach().float()
    scaled: Tensor = wide / wide.abs().max().clamp(min=_LEAST)
    return scaled


def _numbered(numbers: Tensor) -> Tensor:
    """Number the groups of all positions from 0, (B·T,); more than `_BUCKETS` share numbers."""
    index: Tensor = numbers.flatten().unique(return_inverse=True)[1]
    return index % _BUCKETS


def _sharing(energy: Tensor, groups: tuple[Tensor, ...]) -> Sharing:
    """Count how many share each row.

    Args:
        energy: (B·T, N)
        groups: the group of each position, (B·T,) each.
    """
    whole = energy.sum(0)
    summed = (energy.new_zeros(_BUCKETS, len(whole)).index_add(0, g, energy) for g in groups)
    return Sharing(
        energy=whole / whole.mean().clamp(min=1e-30),
        events=_participation(energy),
        groups=torch.stack([_participation(each) for each in summed]).amin(0),
    )


def _participation(energy: Tensor) -> Tensor:
    """Count, for each column of (many, N), how many entries make up its sum."""
    peak = energy.amax(0).clamp(min=_LEAST)
    relative = energy / peak
    return relative.sum(0).square() / relative.square().sum(0).clamp(min=1e-30)
