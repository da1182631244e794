"""The one training loop, for distillation and for tuning, and its checkpoints.

An interrupted run that goes on ends with the same bytes as one that was never interrupted (same
machine, same thread count): batches and random numbers are functions of seed and step alone, and a
checkpoint holds everything else that changes. Several workers spread each batch, and agree with one
but for rounding; their checkpoints are the same.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from offsite.errors import InterruptedStage
from offsite.layers import agreed, workers
from offsite.training.checkpoints import TrainingState
from offsite.training.parallel import Objective, Spread, spread
from offsite.training.run import Run
from offsite.training.step import Countable


def fit(
    objective: Objective,
    batch_at: Callable[[int], Countable],
    run: Run,
    *,
    phase: str,
    validate: Callable[[], float] | None = None,
) -> TrainingState:
    """Train parameters with AdamW and a cosine schedule, one `run.step` a batch.

    Args:
        batch_at: this worker's part of the batch of a step.
        phase: what progress calls it.
        validate: a loss, the same in all workers. The parameters end with the values for which it
            was smallest; without it, with the last ones.

    Raises:
        InterruptedStage: a signal asked to stop; a checkpoint was written.
        DataError: the loss is not finite.
    """
    with spread(objective, run.plan.sharding) as training:
        state = _fit(training, batch_at, run, phase, validate)
        with torch.no_grad():
            for name in list(state.best):
                training.trained[name].copy_(state.best.pop(name))
    return state


def _fit(
    training: Spread,
    batch_at: Callable[[int], Countable],
    run: Run,
    phase: str,
    validate: Callable[[], float] | None,
) -> TrainingState:
    plan, trained = run.plan, training.trained
    optimizer = torch.optim.AdamW(trained.values(), lr=plan.learning_rate, weight_decay=0.0)
    state = run.checkpoints.restore(trained, optimizer)
    training = replace(training, kept=state.kept)
    tracker = run.monitor.track(phase, plan.steps, start=state.step)
    saved = time.monotonic()
    try:
        _validate(state, training, validate)
        while state.step < plan.steps:
            batch = batch_at(state.step)
            loss = _step(training, optimizer, batch, run, state)
            tracker.advance(units=batch.amount * workers(), unit=batch.unit, loss=loss)
            _validate(state, training, validate)
            due = agreed(time.monotonic() - saved > run.checkpoints.seconds)
            if due or state.step == plan.steps:
                run.checkpoints.save(state, trained, optimizer)
                saved = time.monotonic()
            run.monitor.check()
    except InterruptedStage:
        run.checkpoints.save(state, trained, optimizer)
        raise
    return state


def _step(
    training: Spread,
    optimizer: torch.optim.Optimizer,
    batch: Countable,
    run: Run,
    state: TrainingState,
) -> float:
    plan, step = run.plan, state.step
    torch.manual_seed(plan.seed * 1_000_003 + step)
    for group in optimizer.param_groups:
        group["lr"] = plan.rate(step)
    loss = run.step(training, optimizer, batch)
    state.step, state.due = step + 1, plan.validates_after(step)
    return loss


def _validate(state: TrainingState, training: Spread, validate: Callable[[], float] | None) -> None:
    if state.due and validate is not None:
        loss = training.measure(validate)
        if loss < state.best_loss:
            state.best_loss = loss
            state.best = {n: value.detach().clone() for n, value in training.trained.items()}
    state.due = False
