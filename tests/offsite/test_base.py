"""The base that an adapter is trained in: it is small, and computes what a loaded model does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from offsite.errors import InterruptedStage, ModelError
from offsite.events import Monitor
from offsite.layers import (
    Compact,
    Loaded,
    blocks,
    final_hidden,
    inference,
    load,
    load_base,
)
from offsite.layers.quantizing import Quantization
from offsite.modality.text import TextExample
from offsite.training.checkpoints import Checkpoints
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune
from offsite_testing.core import BatchAt, drawn, same_bytes, silent, some_tokens, stopped_at
from offsite_testing.models import save_tiny
from offsite_testing.tiny import DEPTH, FAMILIES_UNDER_TEST, some_inputs

each_way = pytest.mark.parametrize("how", ["Int8", "NF4"])
ENDS = (0, DEPTH - 1)
HARDWARE = "offsite.layers.hardware"
VALIDATION = [TextExample(tuple(row)) for row in some_tokens(2, seed=50).tolist()]


def computed(loaded: Loaded) -> Tensor:
    """Compute hidden states of some inputs."""
    with inference():
        hidden: Tensor = final_hidden(loaded.model, some_inputs(loaded.model))
    return hidden


def linears(loaded: Loaded, place: int) -> list[nn.Module]:
    kinds = (nn.Linear, Conv1D)
    return [each for each in blocks(loaded.model)[place].modules() if isinstance(each, kinds)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on the disk, in bfloat16."""
    folder = tmp_path_factory.mktemp("base") / "model"
    save_tiny(folder, dtype=torch.bfloat16)
    return folder


@pytest.mark.parametrize("narrow", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("name", FAMILIES_UNDER_TEST)
def test_a_base_computes_what_a_loaded_model_computes(
    name: str, narrow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, whatever dtype it is stored in; and so it does quantized, but for rounding."""
    monkeypatch.setattr(f"{HARDWARE}.multiplies_bfloat16", lambda kind: narrow)
    monkeypatch.setattr("offsite.layers.base.multiplies_bfloat16", lambda kind: narrow)
    for dtype in (torch.bfloat16, torch.float32):
        folder = tmp_path / str(dtype)
        save_tiny(folder, name, dtype=dtype)
        base, whole = load_base(folder), computed(load(folder))
        assert same_bytes(computed(base), whole)
        held = {each.get_parameter("weight").dtype for each in linears(base, 1)}
        assert held == {torch.bfloat16 if narrow else dtype}
    rounding: dict[Quantization, float] = {"Int8": 0.05, "NF4": 1.0}
    for how, most in rounding.items():
        found = computed(load_base(folder, how))
        assert 0 < float((found - whole).norm() / whole.norm()) < most


def test_blocks_that_are_trained_are_held_as_they_are_trained(llama: Path) -> None:
    base = load_base(llama, "NF4", trained=ENDS)
    for place in range(DEPTH):
        quantized = {each.get_parameter("weight").itemsize == 1 for each in linears(base, place)}
        assert quantized == {place not in ENDS}
    ends = [blocks(base.model)[place] for place in ENDS]
    assert {each.dtype for end in ends for each in end.parameters()} == {torch.float32}


def test_what_has_the_right_dtype_is_mapped_from_the_disk(llama: Path) -> None:
    """A tensor that is mapped has an address in a mapping of the file."""
    held = linears(load_base(llama), 1)[0].get_parameter("weight")
    with open("/proc/self/maps", encoding="utf-8") as file:
        ranges = [line.split()[0].split("-") for line in file if "model.safetensors" in line]
    inside = any(int(a, 16) <= held.data_ptr() < int(b, 16) for a, b in ranges)
    assert inside


def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "model")
    with torch.no_grad():
        model.get_parameter("model.layers.3.mlp.up_proj.weight")[1, 2] = torch.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match=r"layers\.3\.mlp\.up_proj.* not finite"):
        load_base(tmp_path / "model")


@each_way
def test_a_quantized_layer_multiplies_by_what_it_holds(how: Quantization) -> None:
    """Also where its sizes are odd, and where a row is zero."""
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(5, 7, generator=draw), torch.randn(5, generator=draw)
    weight[2] = 0
    layer = Compact(weight, bias, how)
    assert layer.weight.itemsize == 1
    assert layer.weight.numel() <= (35 if how == "Int8" else 18)
    held = layer.matrix()
    assert float((held - weight).abs().max() / weight.abs().max()) < (
        0.01 if how == "Int8" else 0.2
    )
    assert not held[2].any()
    read = torch.randn(2, 3, 7, generator=draw, requires_grad=True)
    wanted = torch.autograd.grad(nn.functional.linear(read, held, bias).square().sum(), read)
    found = torch.autograd.grad(layer(read).square().sum(), read)
    assert torch.allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)


def tuned(
    folder: Path,
    model: Path,
    how: Quantization | None,
    method: str = "LoRA",
    batch_at: BatchAt | None = None,
    monitor: Monitor | None = None,
) -> dict[str, Tensor]:
    """Tune an adapter in a base."""
    folder.mkdir(exist_ok=True)
    places = ENDS if method == "Blocks" else tuple(range(DEPTH))
    loaded = load_base(model, how, places if method == "Blocks" else ())
    plan = Plan(steps=3, learning_rate=5e-3, seed=3, validate_every=1)
    run = Run(plan, Checkpoints(folder / "checkpoint.safetensors"), monitor or silent())
    return tune(loaded, Adapter(method, 3, places), batch_at or drawn(), VALIDATION, run)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_bytes(one[n], other[n]) for n in one)


@pytest.mark.parametrize("method", ["LoRA", "Blocks"])
def test_an_adapter_is_tuned_in_a_base_as_in_a_loaded_model(
    method: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tuned(tmp_path / "base", llama, None, method)
    monkeypatch.setitem(globals(), "load_base", lambda folder, *_: load(folder))
    assert same(found, tuned(tmp_path / "loaded", llama, None, method))


@each_way
def test_an_interrupted_run_in_a_quantized_base_goes_on_to_the_same_bytes(
    how: Quantization, llama: Path, tmp_path: Path
) -> None:
    straight = tuned(tmp_path / "straight", llama, how)
    assert all(change.count_nonzero() for change in straight.values())
    asking, monitor = stopped_at(1, drawn())
    with pytest.raises(InterruptedStage):
        tuned(tmp_path / "stopped", llama, how, "LoRA", asking, monitor)
    assert same(tuned(tmp_path / "stopped", llama, how), straight)


def test_bitsandbytes_fetches_no_code_from_a_hub(tmp_path: Path) -> None:
    """It would with this package: where bfloat16 is multiplied, when it is imported."""
    (tmp_path / "kernels.py").write_text(
        "def get_kernel(*args, **kwargs):\n    raise SystemExit('fetched')\n"
    )
    program = (
        "from offsite.adapter import lora; from offsite_testing.tiny import tiny_model; import sys;"
        "lora.attach(tiny_model('llama'), [0], rank=2, seed=0);"
        "assert 'bitsandbytes' in sys.modules; import kernels"
    )
    here = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
