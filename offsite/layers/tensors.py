"""A model's tensors by name, read one at a time, with changes on top of them.

`tensors_of` gives those of any model. A model that was opened lazily reads them from its folder, so
nothing is in memory but what a caller holds.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from offsite.bundle.files import headers
from offsite.bundle.original import weights_in
from offsite.errors import ModelError
from offsite.families import Checkpoint, Family
from offsite.layers.spilling import Spilled

_PIECE = 1 << 22
"""How many numbers are checked together."""
_ATTRIBUTE = "lazy_tensors"
Change = Callable[[Tensor], Tensor]
"""Makes a new tensor of one."""


def tensors_of(model: PreTrainedModel) -> "InMemory | Changed":
    """Get a model's tensors by the names of its `state_dict`.

    Setting one changes the model; deleting it from the same mapping restores what it was. Both
    replace the tensor and leave the old one as it is, so a model that shares it does not change. A
    block of a model that was opened lazily has the new one from the next time that it is filled in.

    The dtype is that of the folder in a model that was opened lazily, or of what was set; else what
    the model has in memory.
    """
    return getattr(model, _ATTRIBUTE) if is_lazy(model) else InMemory(model)


def unchanged_of(model: PreTrainedModel) -> Mapping[str, Tensor]:
    """Get the tensors that a model was opened lazily with, whatever was set since."""
    found: Changed = getattr(model, _ATTRIBUTE)
    return found.below


def is_lazy(model: PreTrainedModel) -> bool:
    """Whether a model's blocks are in memory only while they run."""
    return hasattr(model, _ATTRIBUTE)


def attach(model: PreTrainedModel, tensors: "Changed") -> None:
    """Let a model read the tensors of its blocks from a mapping, which `tensors_of` gives."""
    setattr(model, _ATTRIBUTE, tensors)


class Stored(Mapping[str, Tensor]):
    """The tensors in a model's folder, each read when it is asked for, in its own dtype.

    Their names are those of the family table. A tied head is among them only if it is stored.
    """

    def __init__(self, folder: Path, places: Mapping[str, tuple[Path, str]], mapped: bool) -> None:
        self._folder, self._places = folder, places
        self.spelt = {name: spelt for name, (_, spelt) in places.items()}
        """Their names in the files."""
        self._backend = "mmap" if mapped else "pread"
        self._checked: set[str] = set()

    @classmethod
    def of(
        cls, folder: Path, row: Family, config: Mapping[str, object], mapped: bool = False
    ) -> "Stored":
        """Find the tensors of a model that `check_original` and `check_tensors` accepted.

        Args:
            config: as transformers completes it.
            mapped: whether a tensor is a view of the file, whose pages count as memory of the
                process while the tensor lives; else it is a copy.
        """
        checkpoint = Checkpoint.of(row, config)
        found = {}
        for path in weights_in(folder):
            for spelt, _, _ in headers(path):
                if (name := checkpoint.name(spelt)) is not None:
                    found[name] = path, spelt
        return cls(folder, found, mapped)

    @classmethod
    def in_file(cls, path: Path) -> "Stored":
        """Find the tensors of one file, by their names in it."""
        return cls(path.parent, {name: (path, name) for name, _, _ in headers(path)}, mapped=False)

    def __getitem__(self, name: str) -> Tensor:
        """Read a tensor; the first time, check that it is finite.

        Raises:
            ModelError: it is not.
        """
        path, spelt = self._places[name]
        with safe_open(path, framework="pt", backend=self._backend) as file:
            tensor: Tensor = file.get_tensor(spelt)
        if name not in self._checked:
            if not all(bool(part.isfinite().all()) for part in tensor.flatten().split(_PIECE)):
                raise ModelError(
                    f"the model {self._folder} holds a value in {name} that is not finite"
                )
            self._checked.add(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Renamed(Mapping[str, Tensor]):
    """Some tensors of a mapping under other names.

    Args:
        names: of the tensors here, with those that they have there.
    """

    def __init__(self, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class InMemory(MutableMapping[str, Tensor]):
    """The tensors of a model that was loaded as a whole."""

    scratch: Path | None = None
    """As `Changed.scratch`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._names = model, tuple(model.state_dict())
        self._before: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._model.get_parameter(name).detach()
        except AttributeError as error:  # as torch says that there is no such parameter
            raise KeyError(name) from error

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        """Give the model a tensor of its own, in the dtype that the model has."""
        self._before.setdefault(name, self[name])
        assign(self._model, name, tensor)

    def __delitem__(self, name: str) -> None:
        assign(self._model, name, self._before.pop(name))

    def derive(self, name: str, change: Change) -> None:
        """See `Changed.derive`. The model has the result at once."""
        self[name] = change(self[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Changed(MutableMapping[str, Tensor]):
    """Tensors on top of others: what was set here covers what is below.

    Args:
        below: what it begins with, which never changes.
        scratch: the folder of a file for what is set; None: it stays in memory.
        note: takes the name of each tensor that was set or restored.
    """

    def __init__(
        self, below: Mapping[str, Tensor], scratch: Path | None, note: Callable[[str], None]
    ) -> None:
        self.below, self.scratch, self._note = below, scratch, note
        self._changes: MutableMapping[str, Tensor] = Spilled(scratch) if scratch else {}
        self._derived = defaultdict[str, list[Change]](list)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Changed":
        """Copy it with its model; both share what is below."""
        made = memo[id(self)] = copy.copy(self)
        made._changes = copy.deepcopy(self._changes, memo)
        made._note = copy.deepcopy(self._note, memo)
        made._derived = defaultdict(list, {n: [*each] for n, each in self._derived.items()})
        return made

    def __getitem__(self, name: str) -> Tensor:
        tensor = (self._changes if name in self._changes else self.below)[name]
        for change in self._derived.get(name, ()):
            tensor = change(tensor)
        return tensor

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        self._derived.pop(name, None)
        self._changes[name] = tensor
        self._note(name)

    def __delitem__(self, name: str) -> None:
        """Undo the last `derive` of a tensor, or else restore it.

        Raises:
            KeyError: it was not changed.
        """
        if self._derived.get(name):
            self._derived[name].pop()
        else:
            del self._changes[name]
        self._note(name)

    def derive(self, name: str, change: Change) -> None:
        """Change a tensor by a function of it, which is computed when it is read: nothing is kept.

        Args:
            change: leaves its argument as it is.
        """
        self._derived[name].append(change)
        self._note(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.below, *self._changes)))

    def __len__(self) -> int:
        return len({*self.below, *self._changes})


def assign(model: PreTrainedModel, name: str, tensor: Tensor) -> None:
    """Replace a tensor of a model, in the dtype and on the device that the model has it."""
    parameter = model.get_parameter(name)
    parameter.data = tensor.detach().to(parameter.device, parameter.dtype)
