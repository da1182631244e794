"""The one training loop, for distillation and for tuning, and its checkpoints.

An interrupted run that goes on ends with the same bytes as one that was never interrupted (same
machine, same thread count): batches and random numbers are functions of seed and step alone, and a
checkpoint holds everything else that changes. Several workers spread each batch, and agree with one
but for rounding; their checkpoints are the same.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.errors import DataError, InputError, InterruptedStage
from offsite.events import Monitor
from offsite.layers import Batch, agreed, leads, precision, rank, total, workers
from offsite.store import disk_errors
from offsite.training.parallel import Sharding, Spread, gathered, scattered, spread

_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    learning_rate: float
    seed: int
    warmup: float = 0.1
    """The share of the steps over which the learning rate rises; then it falls as a cosine."""
    validate_every: int = 0
    """Steps between two validations; 0: never."""
    least: int = 1
    """How many steps the best tensors have to have had."""
    sharding: Sharding = "DDP"
    """How several workers share the model."""

    def rate(self, step: int) -> float:
        """Get the learning rate of a step, counted from 0."""
        rising = max(1, round(self.steps * self.warmup))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        share = (step - rising) / max(1, self.steps - rising)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def validates_after(self, step: int) -> bool:
        """Whether to validate when `step` is done; the last step always counts."""
        if not self.validate_every or step + 1 < self.least:
            return False
        return (step + 1) % self.validate_every == 0 or step + 1 == self.steps


@dataclass
class State:
    """Everything of a run that changes, beside the trained tensors and the optimizer."""

    step: int = 0
    due: bool = False
    """Whether the last step is still to be validated."""
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoints:
    """One file that is replaced whole, on a clock."""

    path: Path
    seconds: float = 60.0
    kept: Callable[[], object] = lambda: None
    """Called after each: a file of this machine does not outlive its pod."""

    def save(
        self, state: State, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """Write everything that the run needs to go on; all workers have to call, one writes."""
        tensors = {f"value/{name}": value.detach() for name, value in trained.items()}
        tensors |= {f"best/{name}": value for name, value in state.best.items()}
        for name, value in trained.items():
            for key, moment in optimizer.state.get(value, {}).items():
                tensors[f"optimizer/{name}/{key}"] = moment
        facts = {"step": str(state.step), "best_loss": state.best_loss.hex()}
        facts["due"] = str(int(state.due))
        whole: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            made = gathered(tensor)
            if leads():
                whole[name] = made.cpu().contiguous()
        if leads():
            self._write(whole, facts)

    def _write(self, tensors: dict[str, Tensor], facts: dict[str, str]) -> None:
        scratch = self.path.with_suffix(".partial")
        with disk_errors(self.path):
            self.path.parent.mkdir(0o700, exist_ok=True)
            save_file(tensors, scratch, facts)
            scratch.replace(self.path)
        self.kept()

    def restore(
        self, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> State:
        """Put the last checkpoint's tensors in their places; a fresh state where there is none.

        Raises:
            InputError: the checkpoint is damaged.
        """
        if not self.path.exists():
            return State()
        try:
            return self._read(trained, optimizer)
        except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"the checkpoint {self.path} is damaged; delete it to begin anew: {error}"
            ) from error

    def _read(self, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> State:
        device = next(iter(trained.values())).device
        with safe_open(self.path, "pt", device=str(device)) as file, torch.no_grad():
            facts = file.metadata()
            best_loss = float.fromhex(facts["best_loss"])
            state = State(int(facts["step"]), facts["due"] == "1", best_loss)
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


def fit(
    models: Sequence[PreTrainedModel],
    trained: Mapping[str, nn.Parameter],
    batch_at: Callable[[int], Batch],
    loss_of: Callable[[Batch], Tensor],
    plan: Plan,
    *,
    phase: str,
    checkpoints: Checkpoints,
    monitor: Monitor,
    validate: Callable[[], float] | None = None,
) -> State:
    """Train parameters with AdamW, clipped gradients and a cosine schedule.

    Args:
        models: that the loss is computed with.
        trained: their parameters that are trained, by the name that they have in checkpoints.
        batch_at: the batch of a step.
        loss_of: this worker's part of the scalar loss of a batch, which is where the parameters
            are; computed at the precision that suits the hardware.
        validate: a loss, the same in all workers, by which the best tensors are kept in the state
            that is returned.

    Raises:
        InterruptedStage: a signal asked to stop; a checkpoint was written.
        DataError: the loss is not finite.
    """
    with spread(models, trained, loss_of, plan.sharding) as run:
        state = _fit(run, batch_at, plan, phase, checkpoints, monitor, validate)
        state.best = {name: gathered(value) for name, value in state.best.items()}
    return state


def _fit(
    run: Spread,
    batch_at: Callable[[int], Batch],
    plan: Plan,
    phase: str,
    checkpoints: Checkpoints,
    monitor: Monitor,
    validate: Callable[[], float] | None,
) -> State:
    optimizer = torch.optim.AdamW(run.trained.values(), lr=plan.learning_rate, weight_decay=0.0)
    state = checkpoints.restore(run.trained, optimizer)
    tracker = monitor.track(phase, plan.steps, start=state.step)
    saved = time.monotonic()
    try:
        _validate(state, run, validate)
        while state.step < plan.steps:
            step, batch = state.step, batch_at(state.step)
            torch.manual_seed(plan.seed * 1_000_003 + step)
            loss = _step(run, optimizer, batch, plan.rate(step))
            state.step, state.due = step + 1, plan.validates_after(step)
            tracker.advance(tokens=batch.tokens.numel(), loss=loss)
            _validate(state, run, validate)
            if agreed(time.monotonic() - saved > checkpoints.seconds) or state.step == plan.steps:
                checkpoints.save(state, run.trained, optimizer)
                saved = time.monotonic()
            monitor.check()
    except InterruptedStage:
        checkpoints.save(state, run.trained, optimizer)
        raise
    return state


def _validate(state: State, run: Spread, validate: Callable[[], float] | None) -> None:
    if state.due and validate is not None:
        _keep_best(state, run.trained, run.measure(validate))
    state.due = False


def _step(run: Spread, optimizer: torch.optim.Optimizer, batch: Batch, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    mine = batch.part(rank(), workers()).to(next(iter(run.trained.values())).device)
    with precision():
        loss = run.loss_of(mine)
    value = float(total(loss.detach()))
    if not math.isfinite(value):
        raise DataError(f"the loss became {value}; lower the learning rate or look at the data")
    (loss * workers()).backward()  # what is averaged over the workers is to be a sum
    nn.utils.clip_grad_norm_(run.trained.values(), _GRADIENT_NORM)
    optimizer.step()
    return value


def _keep_best(state: State, trained: Mapping[str, nn.Parameter], loss: float) -> None:
    if loss < state.best_loss:
        state.best_loss = loss
        state.best = {name: value.detach().clone() for name, value in trained.items()}
