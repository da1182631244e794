"""Every stage computes rightly where the device is: on the CPU, and with `make gpu` on a GPU.

On a machine without a GPU, the tests of one are deselected by their marker.
"""

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from offsite.api import DistillTraining, Ends, LayerDrop, Privacy, TuneTraining
from offsite.errors import InputError, InterruptedStage
from offsite.layers import Loaded, deterministic, device, load, load_base
from offsite.layers.quantizing import Quantization
from offsite.modality.text import TextExample
from offsite.rehearsal import Rehearsed, Setting, Splits
from offsite.rehearsal.rehearse import rehearse
from offsite.rows import DataFile
from offsite.training.checkpoints import Checkpoints
from offsite.training.evaluate import mean_loss
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune
from offsite_testing.core import drawn, logits, same_bytes, silent, some_tokens, stopped_at
from offsite_testing.models import WORDS, save_tiny
from offsite_testing.tiny import tiny_model

STEPS = 4
VALIDATION = [TextExample(tuple(row)) for row in some_tokens(4, seed=50).tolist()]
SETTING = Setting(
    ends=Ends(bottom=1, top=1),
    emulator=LayerDrop(blocks=2, heal=True, calibration="corpus.txt"),
    distillation=DistillTraining(corpus="corpus.txt", steps=2, batch_size=2, block_size=16),
    tuning=TuneTraining(steps=8, batch_size=4, block_size=16, learning_rate=1e-2),
)
METHODS = {"LoRA": (0, 1, 2, 3), "Blocks": (0, 3)}
each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True, params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def where(request: pytest.FixtureRequest) -> torch.device:
    """Return the device that the product chooses, if it is the one under test."""
    if device().type != request.param:
        pytest.skip(f"needs the device {request.param}; torch finds {device().type} alone")
    return device()


@dataclass(frozen=True)
class Owner:
    """A data owner with an emulator of four blocks in bfloat16."""

    folder: Path

    def emulator(self, method: str = "LoRA", quantize: Quantization | None = None) -> Loaded:
        """Load the emulator as a Tune job does."""
        whole = METHODS[method] if method == "Blocks" else ()
        return load_base(self.folder / "emulator", quantize, whole)

    def tune(
        self,
        name: str,
        method: str = "LoRA",
        stops_at: int | None = None,
        loaded: Loaded | None = None,
    ) -> dict[str, Tensor]:
        """Tune by deterministic algorithms, from the last checkpoint under a name.

        Raises:
            InterruptedStage: after the step `stops_at`.
        """
        batch_at, monitor = drawn(), silent()
        if stops_at is not None:
            batch_at, monitor = stopped_at(stops_at, batch_at)
        plan = Plan(steps=STEPS, learning_rate=5e-3, seed=3, validate_every=2)
        checkpoints = Checkpoints(self.folder / name / "checkpoint.safetensors")
        run, adapter = Run(plan, checkpoints, monitor), Adapter(method, 3, METHODS[method])
        with deterministic(True):
            base = loaded or self.emulator(method)
            changes = tune(base, adapter, batch_at, VALIDATION, run)
        return {key: value.cpu() for key, value in changes.items()}


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """Write the emulator."""
    save_tiny(tmp_path / "emulator", dtype=torch.bfloat16, num_hidden_layers=4)
    return Owner(tmp_path)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_bytes(one[n], other[n]) for n in one)


def test_a_model_computes_what_it_computes_on_a_cpu(where: torch.device) -> None:
    reference = tiny_model("llama")
    model = copy.deepcopy(reference)
    nn.Module.to(model, where)
    torch.testing.assert_close(logits(model).cpu(), logits(reference), rtol=1e-3, atol=1e-3)


def test_a_model_is_loaded_to_the_device(owner: Owner, where: torch.device) -> None:
    for found in (load(owner.folder / "emulator"), owner.emulator()):
        tensors = (*found.model.parameters(), *found.model.buffers())
        assert {each.device.type for each in tensors} == {where.type}
        assert found.dtype == torch.bfloat16


@each_method
def test_an_adapter_is_trained_in_float32_and_learns(owner: Owner, method: str) -> None:
    found = owner.emulator(method)
    before = mean_loss(found, VALIDATION, silent())
    changes = owner.tune("once", method, loaded=found)
    assert {value.dtype for value in changes.values()} == {torch.float32}
    assert mean_loss(found, VALIDATION, silent()) < before


@each_method
def test_the_same_seed_gives_the_same_bytes(owner: Owner, method: str) -> None:
    assert same(owner.tune("one", method), owner.tune("other", method))


@each_method
def test_an_interrupted_run_ends_with_the_same_bytes(owner: Owner, method: str) -> None:
    with pytest.raises(InterruptedStage):
        owner.tune("interrupted", method, stops_at=2)
    assert same(owner.tune("interrupted", method), owner.tune("straight", method))


@pytest.mark.parametrize("how", ["Int8", "NF4"])
def test_lora_learns_in_a_quantized_base(owner: Owner, how: Quantization) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    found = owner.emulator(quantize=how)
    before = mean_loss(found, VALIDATION, silent())
    once = owner.tune("once", loaded=found)
    assert mean_loss(found, VALIDATION, silent()) < before
    assert same(once, owner.tune("again", loaded=owner.emulator(quantize=how)))


@pytest.fixture
def group(where: torch.device, tmp_path: Path) -> Iterator[None]:
    """Join a process group of this process alone, by the backend of the device."""
    backend = "nccl" if where.type == "cuda" else "gloo"
    place = f"file://{tmp_path}/group"
    dist.init_process_group(backend, init_method=place, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_ddp_makes_what_one_worker_makes(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = owner.tune("alone")
    # one worker needs no DDP; a second GPU would be needed for another one
    monkeypatch.setattr("offsite.training.parallel.workers", lambda: 2)
    spread = owner.tune("spread")
    for name, value in alone.items():
        torch.testing.assert_close(spread[name], value, rtol=1e-4, atol=1e-6)


def rehearsed(folder: Path, name: str, **over: Any) -> Rehearsed:
    setting = SETTING.model_copy(update=over)
    with deterministic(True):
        return rehearse(
            folder / "model",
            setting,
            splits(folder),
            seed=0,
            monitor=silent(),
            folder=folder / name,
        )


def splits(folder: Path) -> Splits:
    """Write a little text."""
    words = WORDS.split()
    for name, rows in (("train", 12), ("validation", 3), ("test", 3)):
        lines = [" ".join(words[(3 * i + j) % 16] for j in range(24)) for i in range(rows)]
        content = "".join(json.dumps({"text": line}) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(content, encoding="utf-8")
    (folder / "corpus.txt").write_text(f"{WORDS}. " * 20, encoding="utf-8")
    train, validation, test, corpus = (
        DataFile(folder / name)
        for name in ("train.jsonl", "validation.jsonl", "test.jsonl", "corpus.txt")
    )
    return Splits(train, validation, test, corpus)


def test_all_stages_give_the_same_figures_twice(tmp_path: Path) -> None:
    """Healing, distillation, tuning, plug-in, full fine-tuning, and the scores of each model."""
    save_tiny(tmp_path / "model", dtype=torch.bfloat16)
    one, other = rehearsed(tmp_path, "one"), rehearsed(tmp_path, "other")
    assert one.models == other.models
    values = {name: each.value for name, each in one.models.items()}
    assert all(value is not None and math.isfinite(value) for value in values.values())
    assert (values["emulator_tuned"] or 0) < (values["emulator_zero_shot"] or 0)


def test_tuning_with_differential_privacy_gives_figures(tmp_path: Path) -> None:
    pytest.importorskip("opacus", reason="needs opacus")
    save_tiny(tmp_path / "model", dtype=torch.bfloat16)
    found = rehearsed(tmp_path, "private", privacy=Privacy(noise_multiplier=1.0))
    value = found.models["plug_in"].value
    assert value is not None
    assert math.isfinite(value)


def test_an_operation_without_a_deterministic_algorithm_is_named(where: torch.device) -> None:
    refusal = "put_ does not have a deterministic implementation, but you set 'torch.use_…"
    wanted = r"put_ .*; set spec\.deterministic to false"
    with pytest.raises(InputError, match=wanted), deterministic(True):
        raise RuntimeError(refusal)
    assert not torch.are_deterministic_algorithms_enabled()
