"""Checkpoints of a training: everything that it needs to go on, in one file."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from offsite.bundle.tensorfile import Piece, write_tensors
from offsite.errors import InputError
from offsite.layers import leads
from offsite.layers.writing import kind_of, piece_of
from offsite.store import disk_errors
from offsite.training.parallel import gathered, scattered

_KEPT = "kept/"
_NOTE = "note/"


@dataclass
class TrainingState:
    """Everything of a run that changes, beside the trained tensors and the optimizer."""

    step: int = 0
    due: bool = False
    """Whether the last step is still to be validated."""
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    """What the step keeps between two calls: `Spread.kept`."""


class Unsaved:
    """No checkpoints, for a short run: one that was interrupted begins anew."""

    seconds: ClassVar[float] = math.inf

    def save(self, *_: object) -> None:
        """Write nothing."""

    def restore(self, *_: object) -> TrainingState:
        """Begin."""
        return TrainingState()

    def __str__(self) -> str:
        return "in memory"


@dataclass(frozen=True)
class Checkpoints:
    """One file that is replaced whole, on a clock."""

    path: Path
    seconds: float = 60.0
    kept: Callable[[], object] = lambda: None
    """Called after each: a file of this machine does not outlive its pod."""
    notes: dict[str, str] = field(default_factory=dict)
    """Written with each: what a run that goes on has to know before it begins."""

    def __str__(self) -> str:
        return str(self.path)

    def noted(self, name: str) -> str | None:
        """Read a note of the last checkpoint; None: there is none.

        Raises:
            InputError: the checkpoint is damaged.
        """
        if not self.path.exists():
            return None
        with self._damage_reported(), safe_open(self.path, "pt") as file:
            return (file.metadata() or {}).get(f"{_NOTE}{name}")

    def save(
        self,
        state: TrainingState,
        trained: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Write everything that the run needs to go on; all workers have to call, one writes.

        Of shards, one tensor at a time is whole.
        """
        tensors = {f"value/{name}": value.detach() for name, value in trained.items()}
        tensors |= {f"best/{name}": value for name, value in state.best.items()}
        for name, value in trained.items():
            for key, moment in optimizer.state.get(value, {}).items():
                tensors[f"optimizer/{name}/{key}"] = moment
        facts = {"step": str(state.step), "best_loss": state.best_loss.hex()}
        facts["due"] = str(int(state.due))
        facts |= {f"{_KEPT}{name}": value for name, value in state.kept.items()}
        facts |= {f"{_NOTE}{name}": note for name, note in self.notes.items()}
        self._write(tensors, facts)

    def _write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
        def read(name: str) -> Iterator[Piece]:
            yield piece_of(gathered(tensors[name]).cpu())

        if not leads():
            for name in sorted(tensors):
                gathered(tensors[name])
            return
        scratch = self.path.with_suffix(".partial")
        with disk_errors(self.path):
            self.path.parent.mkdir(0o700, exist_ok=True)
            kinds = {name: kind_of(tensor) for name, tensor in tensors.items()}
            write_tensors(scratch, kinds, read, facts)
            scratch.replace(self.path)
        self.kept()

    def restore(
        self, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> TrainingState:
        """Put the last checkpoint's tensors in their places; a fresh state where there is none.

        Raises:
            InputError: the checkpoint is damaged.
        """
        if not self.path.exists():
            return TrainingState()
        with self._damage_reported():
            return self._read(trained, optimizer)

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"the checkpoint {self.path} is damaged; delete it to begin anew: {error}"
            ) from error

    def _read(
        self, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> TrainingState:
        device = next(iter(trained.values())).device
        # what is read of a mapped file counts as memory
        opened = safe_open(self.path, "pt", device=str(device), backend="pread")
        with opened as file, torch.no_grad():
            facts = file.metadata()
            best_loss = float.fromhex(facts["best_loss"])
            state = TrainingState(int(facts["step"]), facts["due"] == "1", best_loss)
            kept = (name for name in facts if name.startswith(_KEPT))
            state.kept = {name.removeprefix(_KEPT): facts[name] for name in kept}
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, _, rest = name.partition("/")
                target, key = rest, ""
                if part == "optimizer":
                    target, _, key = rest.rpartition("/")
                value = scattered(file.get_tensor(name), trained[target])
                if part == "value":
                    trained[target].copy_(value)
                elif part == "best":
                    state.best[target] = value
                else:
                    optimizer.state[trained[target]][key] = value
        return state
