"""Several workers make what one makes, but for rounding, however they share the model."""

import copy
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from transformers import PreTrainedModel

from offsite.adapter import heads
from offsite.emulator.layer_drop import drop_layers
from offsite.errors import InterruptedStage
from offsite.layers import (
    Loaded,
    family,
    freeze,
    leads,
    open_lazily,
    rank,
    save,
    tensors_of,
    workers,
)
from offsite.modality import Batch
from offsite.modality.text import TextExample
from offsite.modality.text.examples import collate
from offsite.privacy.budget import Mechanism, ledger_of
from offsite.rows import ImageRow
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.distill import Weights, distill
from offsite.training.evaluate import mean_loss
from offsite.training.parallel import Sharding
from offsite.training.private import PoissonSamples, PrivateStep
from offsite.training.probe import features, probe
from offsite.training.run import Plan
from offsite.training.run import Run as Training
from offsite.training.step import PlainStep, TrainingStep, plain_step
from offsite.training.tune import Adapter, tune, tune_privately
from offsite_testing.core import (
    DROPPED,
    BatchAt,
    drawn,
    dropped,
    loaded,
    silent,
    some_tokens,
    stopped_at,
)
from offsite_testing.images import picture
from offsite_testing.steps import ClippedEach
from offsite_testing.tiny import tiny_model

pytestmark = pytest.mark.timeout(600)

STEPS, ROWS = 6, 5
"""Rows that no number of workers below divides."""
VALIDATION = [TextExample(tuple(row)) for row in some_tokens(7, seed=50).tolist()]
RTOL = 1e-4
"""In float32: rounding alone, which Adam makes much of where a gradient is almost zero."""


def full_model() -> PreTrainedModel:
    """Make a model of as many tokens as its tokenizer has."""
    return tiny_model("llama", vocab_size=288)


@dataclass(frozen=True)
class Run:
    """One training in a folder of its own, as each worker does it."""

    folder: Path
    sharding: Sharding = "DDP"
    stops_at: int | None = None
    rows: int = ROWS
    step: TrainingStep[Any] = plain_step
    lazy: bool = False
    """Whether the blocks of its models are on the disk."""

    def opened(self, model: PreTrainedModel) -> Loaded:
        """Give a model as a stage has it."""
        made = loaded(model)
        if not self.lazy:
            return made
        folder = self.folder / f"model-{rank()}"
        folder.mkdir(exist_ok=True)
        save(made, folder)
        return open_lazily(folder, self.folder)

    def plan(self, rate: float, **more: Any) -> Plan:
        return Plan(steps=STEPS, learning_rate=rate, seed=3, sharding=self.sharding, **more)

    def training(self, rate: float, **more: Any) -> tuple[BatchAt, Training]:
        whole, monitor = drawn(rows=self.rows), silent()
        if self.stops_at is not None:
            whole, monitor = stopped_at(self.stops_at, whole)

        def batch_at(step: int) -> Batch:
            return whole(step).part(rank(), workers())

        checkpoints = Checkpoints(self.folder / "checkpoint.safetensors", seconds=0.0)
        return batch_at, Training(self.plan(rate, **more), checkpoints, monitor, self.step)

    def tune(self, method: str = "LoRA") -> dict[str, Tensor]:
        """Tune, and score the model when it is tuned."""
        batch_at, training = self.training(5e-3, validate_every=2)
        places = DROPPED.ends if method == "Blocks" else range(len(DROPPED.kept))
        tuned = self.opened(copy.deepcopy(drop_layers(full_model(), DROPPED)))
        changes = tune(tuned, Adapter(method, 4, places), batch_at, VALIDATION, training)
        return changes | {"loss": torch.tensor(mean_loss(tuned, VALIDATION, silent()))}

    def tune_head(self) -> dict[str, Tensor]:
        """Tune with a new head, which starts from a probe."""
        model = copy.deepcopy(drop_layers(tiny_model("vit", num_labels=0), DROPPED))
        heads.renew(model, ["a", "b"])
        tuned = loaded(model)
        rows = [ImageRow("ab"[n % 2], "", f"{n}", partial(picture, n)) for n in range(2 * ROWS)]
        examples = tuned.modality.encode(rows, 1).examples
        found = features(tuned, examples, width=32, monitor=silent(), phase="probe")
        heads.fill(model, probe(found, found, classes=2)._asdict())
        batch_at = Shuffled(examples, tuned.modality.collate, ROWS, seed=3)
        _, training = self.training(5e-3, validate_every=2)
        adapter = Adapter("LoRA", 4, range(len(DROPPED.kept)), new_head=True)
        return tune(tuned, adapter, batch_at, examples, training)

    def tune_privately(self) -> dict[str, Tensor]:
        """Tune with differential privacy; in each worker, for itself."""
        tuned = loaded(copy.deepcopy(drop_layers(tiny_model("llama"), DROPPED)))
        units = [[example] for example in VALIDATION[:3]] + [VALIDATION[3:]]
        assert isinstance(self.step, PrivateStep)
        mechanism = self.step.mechanism
        samples = PoissonSamples(units, collate, mechanism.sampling_rate, 0)
        _, training = self.training(5e-3)
        adapter = Adapter("LoRA", 4, range(len(DROPPED.kept)))
        changes, ledger = tune_privately(tuned, adapter, samples, training)
        assert ledger == ledger_of(mechanism, STEPS)
        save_file(changes, self.folder / f"made-{rank()}")
        return changes

    def distill(self) -> dict[str, Tensor]:
        """Distill; give the emulator's middle."""
        full = self.opened(freeze(full_model()))
        emulator = dropped(full.model, DROPPED)
        batch_at, training = self.training(1e-3)
        distill(full, emulator, batch_at, Weights(1.0, 30.0), training)
        made, row = tensors_of(emulator.model), family(emulator.model)
        middle = {row.tensor_name(place, "") for place in emulator.middle}
        return {name: made[name] for name in made if name.startswith(tuple(middle))}


Work = Callable[[Run], dict[str, Tensor]]
FORMS: dict[str, Work] = {
    "LoRA": Run.tune,
    "Blocks": partial(Run.tune, method="Blocks"),
    "distill": Run.distill,
    "private": Run.tune_privately,
    "head": Run.tune_head,
}


def worker(rank: int, workers: int, port: int, form: str, runs: list[Run]) -> None:
    """Do some runs, one after another, as one of several workers."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= here | {"RANK": str(rank), "WORLD_SIZE": str(workers)}
    in_float32(pytest.MonkeyPatch())
    dist.init_process_group("gloo")
    for run in runs:
        try:
            made = FORMS[form](run)
        except InterruptedStage:
            continue
        if leads():
            save_file({k: v.contiguous() for k, v in made.items()}, run.folder / "made")
    dist.barrier()
    dist.destroy_process_group()
    # an interpreter that ends while Gloo's threads let go of tensors aborts: pytorch/pytorch#179291
    os._exit(os.EX_OK)


def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offsite.layers.hardware.multiplies_bfloat16", lambda kind: False)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    in_float32(monkeypatch)


def together(workers: int, form: str, *runs: Run) -> None:
    """Do runs with several workers."""
    for run in runs:
        run.folder.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(worker, (workers, port, form, list(runs)), nprocs=workers)


def differs(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Find the largest difference of a tensor, as a share of its norm."""
    assert one.keys() == other.keys()
    return max(float((one[k] - other[k]).norm() / other[k].norm()) for k in one)


@pytest.mark.parametrize("form", ["LoRA", "Blocks", "distill"])
def test_workers_make_what_one_makes(form: str, tmp_path: Path) -> None:
    alone = Run(tmp_path / "alone")
    alone.folder.mkdir()
    wanted = FORMS[form](alone)
    runs = [Run(tmp_path / sharding, sharding) for sharding in ("DDP", "FSDP")]
    # in parts, of which some workers have none
    runs += [
        replace(each, folder=tmp_path / f"{n}", step=PlainStep(2)) for n, each in enumerate(runs)
    ]
    together(2, form, *runs)
    for run in runs:
        assert differs(load_file(run.folder / "made"), wanted) < RTOL


def test_workers_train_a_new_head_as_one(tmp_path: Path) -> None:
    alone, run = Run(tmp_path / "alone"), Run(tmp_path / "run")
    alone.folder.mkdir()
    wanted = alone.tune_head()
    assert {"head.weight.value", "head.bias.value"} <= wanted.keys()
    together(2, "head", run)
    assert differs(load_file(run.folder / "made"), wanted) < RTOL


@pytest.mark.parametrize("sharding", ["DDP", "FSDP"])
def test_a_run_goes_on_with_other_workers(sharding: Sharding, tmp_path: Path) -> None:
    """Also where there are more workers than sequences."""
    straight, run = Run(tmp_path / "straight", rows=2), Run(tmp_path / "run", sharding, rows=2)
    straight.folder.mkdir()
    wanted = straight.tune()
    together(2, "LoRA", Run(run.folder, sharding, stops_at=3, rows=2))
    assert not (run.folder / "made").exists()
    together(3, "LoRA", run)
    assert differs(load_file(run.folder / "made"), wanted) < RTOL


def test_a_step_that_takes_examples_one_by_one_is_spread_as_well(tmp_path: Path) -> None:
    """Also where workers have different numbers of examples."""
    runs = [Run(tmp_path / name, step=ClippedEach(1e-2)) for name in ("alone", "spread")]
    runs[0].folder.mkdir()
    wanted = runs[0].tune()
    together(2, "LoRA", runs[1])
    assert differs(load_file(runs[1].folder / "made"), wanted) < RTOL


def test_workers_clip_and_add_noise_as_one(tmp_path: Path) -> None:
    """Without noise, they make what one makes; with noise, each of them has the same noise."""
    exact, noisy = (
        PrivateStep(Mechanism(noise, rate), 1.0, 4, collate)
        for noise, rate in ((1e-30, 1.0), (1.0, 0.5))
    )
    alone = Run(tmp_path / "alone", step=exact)
    alone.folder.mkdir()
    runs = Run(tmp_path / "exact", step=exact), Run(tmp_path / "noisy", step=noisy)
    expected = alone.tune_privately()
    together(2, "private", *runs)
    assert differs(load_file(runs[0].folder / "made"), expected) < RTOL
    one, other = (load_file(runs[1].folder / f"made-{number}") for number in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert differs(one, expected) > 0.01
