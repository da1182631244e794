"""The training loop: an interrupted run goes on to the same bytes, and the best state is kept."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from offsite.errors import DataError, InputError, InterruptedStage
from offsite.events import Monitor
from offsite.modality import Batch
from offsite.training.checkpoints import Checkpoints, TrainingState
from offsite.training.parallel import Objective
from offsite.training.run import Plan, Run
from offsite.training.train import fit
from offsite_testing.core import BatchAt, drawn, input_ids, raw, silent, some_batch, stopped_at
from offsite_testing.events import Wire, recording

STEPS = 6


class Crash(Exception):
    """Stands for a process that is killed: nothing is written on the way out."""


class Job:
    """A small regression, with random numbers in its loss as dropout would have them."""

    def __init__(self, folder: Path, *, seconds: float = 60.0, **plan: Any) -> None:
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(96, 4, generator=draw))
        self.bias = nn.Parameter(torch.zeros(4))
        self.checkpoints = Checkpoints(folder / "checkpoint.safetensors", seconds)
        options = {"steps": STEPS, "learning_rate": 0.1, "seed": 5, "validate_every": 1, **plan}
        self.plan = Plan(**options)
        self.losses: list[float] = []
        self.seen: list[dict[str, Tensor]] = []

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight, "bias": self.bias}

    def loss(self, batch: Batch, _size: Tensor) -> Tensor:
        wanted = torch.randn(4)
        return (self.weight[input_ids(batch)] + self.bias - wanted).pow(2).mean()

    def validate(self) -> float:
        """Find a loss that first falls, then rises."""
        self.seen.append({name: value.detach().clone() for name, value in self.trained.items()})
        self.losses.append(abs(float(self.weight.detach().std()) - 0.917))
        return self.losses[-1]

    def run(
        self,
        batch_at: BatchAt | None = None,
        monitor: Monitor | None = None,
        **over: Any,
    ) -> TrainingState:
        options = {"loss_of": self.loss, "validate": self.validate, **over}
        return fit(
            Objective((), self.trained, options["loss_of"]),
            batch_at or drawn(),
            Run(self.plan, self.checkpoints, monitor or silent()),
            phase="train",
            validate=options["validate"],
        )

    def bytes(self, state: TrainingState) -> dict[str, bytes]:
        """Get everything that a run ends with, and its checkpoint."""
        ended = {name: raw(value) for name, value in self.trained.items()}
        facts = {"step": str(state.step).encode(), "loss": state.best_loss.hex().encode()}
        written = load_file(self.checkpoints.path)
        return ended | facts | {name: raw(value) for name, value in written.items()}


@pytest.fixture
def straight(tmp_path: Path) -> dict[str, bytes]:
    """What a run that nobody interrupted ends with."""
    (tmp_path / "straight").mkdir()
    job = Job(tmp_path / "straight")
    return job.bytes(job.run())


@pytest.mark.parametrize("step", range(STEPS - 1))
def test_a_stopped_run_goes_on_to_the_same_bytes(
    step: int, straight: dict[str, bytes], tmp_path: Path
) -> None:
    asking, monitor = stopped_at(step, drawn())
    with pytest.raises(InterruptedStage):
        Job(tmp_path).run(asking, monitor)
    resumed, numbers = Job(tmp_path), []

    def noted(number: int) -> Batch:
        numbers.append(number)
        return some_batch(seed=number)

    assert resumed.bytes(resumed.run(noted)) == straight
    assert numbers == list(range(step + 1, STEPS))


def test_a_run_that_is_stopped_at_every_step_goes_on_to_the_same_bytes(
    straight: dict[str, bytes], tmp_path: Path
) -> None:
    for step in range(STEPS - 1):
        with pytest.raises(InterruptedStage):
            Job(tmp_path).run(*stopped_at(step, drawn()))
    last = Job(tmp_path)
    assert last.bytes(last.run()) == straight


@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["each-step", "no-checkpoint"])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_killed_run_goes_on_to_the_same_bytes(
    step: int, seconds: float, straight: dict[str, bytes], tmp_path: Path
) -> None:
    def killed(number: int) -> Batch:
        if number == step:
            raise Crash
        return some_batch(seed=number)

    with pytest.raises(Crash):
        Job(tmp_path, seconds=seconds).run(killed)
    assert Job(tmp_path).checkpoints.path.exists() == (step > 0 and seconds == 0.0)
    resumed = Job(tmp_path)
    assert resumed.bytes(resumed.run()) == straight


def test_a_finished_run_is_not_run_again(straight: dict[str, bytes], tmp_path: Path) -> None:
    job = Job(tmp_path / "straight")
    assert job.bytes(job.run(lambda step: pytest.fail("a batch was asked for"))) == straight


def test_the_seed_decides_the_random_numbers(straight: dict[str, bytes], tmp_path: Path) -> None:
    torch.manual_seed(12345)
    same, other = Job(tmp_path), Job(tmp_path / "straight", seed=6)
    assert same.bytes(same.run()) == straight
    other.checkpoints.path.unlink()
    assert other.bytes(other.run())["weight"] != straight["weight"]


def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.run()
    job.checkpoints.path.write_bytes(job.checkpoints.path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"checkpoint .*checkpoint\.safetensors is damaged"):
        Job(tmp_path).run()


def test_the_best_validation_state_is_kept(tmp_path: Path) -> None:
    job = Job(tmp_path)
    state = job.run()
    best = job.losses.index(min(job.losses))
    assert 0 < best < STEPS - 1
    assert state.best_loss == job.losses[best]
    for name, value in job.trained.items():
        assert raw(value) == raw(job.seen[best][name])


@pytest.mark.parametrize(("every", "count"), [(0, 0), (1, 6), (2, 3), (4, 2), (9, 1)])
def test_it_validates_on_schedule_and_at_the_end(every: int, count: int, tmp_path: Path) -> None:
    job = Job(tmp_path, validate_every=every)
    job.run()
    assert len(job.losses) == count


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_an_error(value: float, tmp_path: Path) -> None:
    job = Job(tmp_path, seconds=0.0)
    losses = iter([1.0, value])
    with pytest.raises(DataError, match=f"the loss became {value}"):
        job.run(loss_of=lambda batch, size: next(losses) * job.weight.pow(2).sum())
    assert all(torch.isfinite(parameter).all() for parameter in job.trained.values())
    assert torch.equal(job.weight, job.seen[0]["weight"])


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    plan = Plan(steps=100, learning_rate=2.0, seed=0)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10:] == pytest.approx(
        [1 + math.cos(math.pi * step / 90) for step in range(90)], abs=1e-12
    )
    assert max(rates) == 2.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.002


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_short_run_has_a_rate_at_every_step(steps: int) -> None:
    plan = Plan(steps=steps, learning_rate=1.0, seed=0)
    assert plan.rate(0) == 1.0
    assert all(plan.rate(step) > 0 for step in range(steps))


def test_gradients_are_clipped(tmp_path: Path) -> None:
    results = []
    for factor in (1e3, 1e6):
        job = Job(tmp_path, steps=1)
        job.run(loss_of=lambda batch, size, job=job, factor=factor: factor * job.loss(batch, size))
        results.append(job.weight.detach().clone())
        job.checkpoints.path.unlink()
    assert torch.allclose(results[0], results[1])


def test_progress_is_told_with_step_and_loss(tmp_path: Path) -> None:
    events: list[Wire] = []
    Job(tmp_path).run(monitor=Monitor(recording(events)))
    assert [event["step"] for event in (events[0], events[-1])] == [1, STEPS]
    assert all(event["phase"] == "train" and event["loss"] > 0 for event in events)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_stopped_while_it_validates_goes_on_to_the_same_bytes(
    step: int, straight: dict[str, bytes], tmp_path: Path
) -> None:
    job = Job(tmp_path)

    def stopped() -> float:
        if len(job.losses) == step:
            raise InterruptedStage("stopped")
        return job.validate()

    with pytest.raises(InterruptedStage):
        job.run(validate=stopped)
    resumed, numbers = Job(tmp_path), list[int]()

    def noted(number: int) -> Batch:
        numbers.append(number)
        return drawn()(number)

    assert resumed.bytes(resumed.run(noted)) == straight
    assert numbers == list(range(step + 1, STEPS))
