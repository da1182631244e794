"""Audits the adapter of a Tune job: plants canaries, and measures losses before and after.

The emulator is measured as it came, before the adapter changes it. Membership inference needs it as
the reference, and it is the baseline of the validation loss. A new head is zero then, since a
linear probe has learnt from the private data already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offsite.api import Release
from offsite.events import Monitor
from offsite.layers import Loaded, leads, total
from offsite.modality import Example
from offsite.release.canaries import Canaries, coins, generator
from offsite.release.figures import Figures
from offsite.release.gate import Losses, Measured, check_release
from offsite.release.verdict import required
from offsite.stages.context import Context
from offsite.training.checkpoints import Checkpoints
from offsite.training.evaluate import outcomes
from offsite.training.private import Unit

_MOST = 1000
"""Training examples that membership inference is measured on. More narrow its intervals little."""
_BITS, _PARTS = 62, 4
"""Size of the secret: so many bits fit into a number that the workers can add up."""
_NOTE = "canaries"


@dataclass(frozen=True)
class Audit:
    """The audits of one adapter, begun before its training."""

    loaded: Loaded
    context: Context
    release: Release | None
    """The audits that the job and the organization require."""
    sets: Mapping[str, Sequence[Example]]
    """What losses are measured of."""
    untouched: Mapping[str, NDArray[np.float64]]
    """Losses in the emulator as it came."""
    canaries: Canaries[Example] | None

    @property
    def planted(self) -> Sequence[Unit]:
        """The canaries to train on beside the data: each is a unit of its own."""
        return [(canary,) for canary in self.canaries.planted] if self.canaries else []

    def check(self, changes: Mapping[str, Tensor], delta: float = 0.0) -> Figures:
        """Measure the tuned emulator, report all figures, and refuse what is not allowed.

        Args:
            changes: The adapter, as it is sent.
            delta: The δ of a private training.

        Raises:
            ReleaseRefused: The adapter must not be published.
        """
        limits, monitor = self.context.space.party.limits, self.context.monitor
        tuned = _measure(self.loaded, self.sets, monitor, "tuned")
        losses = {
            name: Losses(self.untouched[name], tuned[name], _weights(examples))
            for name, examples in self.sets.items()
        }
        measured = Measured(
            ((name, value.cpu().numpy()) for name, value in changes.items()),
            losses["validation"],
            losses.get("train"),
            losses.get("canaries"),
            self.canaries.included if self.canaries else (),
            delta,
        )
        return check_release(measured, limits, self.release, monitor)


def begin_audit(
    context: Context,
    loaded: Loaded,
    asked: Release | None,
    units: Sequence[Unit],
    validation: Sequence[Example],
) -> Audit:
    """Make canaries, and measure the emulator before it is tuned.

    Args:
        asked: The audits that the job asks for.
        units: The training data.
        validation: Examples of the model's modality.
    """
    train = [example for unit in units for example in unit]
    release = required(context.space.party.limits, asked)
    sets = {"validation": validation}
    if release is not None:
        sets["train"] = train[:: -(-len(train) // _MOST)]
    count = release.canary_count if release else 0
    secret = _secret(context.checkpoints, count, context.randbits, context.monitor)
    canaries = _canaries(loaded, train, count, secret) if count else None
    if canaries is not None:
        sets["canaries"] = canaries.examples
    untouched = _measure(loaded, sets, context.monitor, "untouched")
    return Audit(loaded, context, release, sets, untouched, canaries)


def _secret(
    checkpoints: Checkpoints, count: int, randbits: Callable[[int], int], monitor: Monitor
) -> str:
    """Get the secret of the canaries: that of the checkpoint, or a new one.

    A checkpoint of a training with other canaries is deleted.
    """
    known, _, secret = (checkpoints.noted(_NOTE) or "0:").partition(":")
    if checkpoints.path.exists() and known != str(count):
        monitor.log(f"{count} canaries are required now, and {known} were: training begins anew")
        checkpoints.path.unlink(missing_ok=True)
        secret = ""
    if count and not secret:
        drawn = [randbits(_BITS) if leads() else 0 for _ in range(_PARTS)]
        secret = "-".join(str(part) for part in total(torch.tensor(drawn)).tolist())
    checkpoints.notes[_NOTE] = f"{count}:{secret}"
    return secret


def _canaries(
    loaded: Loaded, train: Sequence[Example], count: int, secret: str
) -> Canaries[Example]:
    """Make canaries as long as the median training example, and toss their coins."""
    draw = generator(secret)
    included = coins(count, draw)
    size = sorted(example.size for example in train)[len(train) // 2]
    return Canaries(loaded.modality.canaries(count, size, draw), included)


def _measure(
    loaded: Loaded, sets: Mapping[str, Sequence[Example]], monitor: Monitor, which: str
) -> dict[str, NDArray[np.float64]]:
    measure = loaded.modality.losses
    return {
        name: outcomes(loaded, examples, measure, monitor, f"audit {which}: {name}").numpy()
        for name, examples in sets.items()
    }


def _weights(examples: Sequence[Example]) -> NDArray[np.float64]:
    return np.array([example.weight for example in examples], dtype=np.float64)
