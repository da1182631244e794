"""`make bench`: how surely a weight matrix is known again, and what that costs.

Of a real model: the cosine of the sketches of different matrices, which must stay far below what
counts as the same, and of each matrix and a changed one, which must stay above it.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from cases import full
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel
from work import Work

from offsite.bundle.sketch import SAME, Sketcher, Sketches
from offsite.bundle.weights import digest_blocks
from offsite.emulator import heal
from offsite.layers import batch_loss, blocks, family, load
from offsite.training.data import batches
from offsite.training.distill import Weights, distill
from offsite.training.run import Plan
from offsite_cli.demo.icd import texts
from offsite_cli.demo.shipped import write_model
from offsite_cli.demo.splits import write_splits

Known = dict[tuple[int, str], str]
Changed = tuple[PreTrainedModel, Sequence[int]]
_STEPS, _RATE = 6, 1e-3
"""Few steps, but of a rate that is ten times a usual one and more."""


def main() -> None:
    """Measure, and print one table."""
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as name:
        folder = Path(name)
        write_model(folder / "model")
        write_splits(folder, texts(seed=0))
        known = _sketches(_work(folder).model)
        print(f"{len(known)} matrices; the same from {SAME} on")
        print(f"  {'different matrices, largest cosine':<52} {_largest(known):.3f}")
        for label, change in _CASTS.items():
            _print(label, known, _sketches(_work(folder).model, change))
        for label, train in _TRAININGS.items():
            model, places = train(_work(folder))
            full_blocks = {(i, n): known[places[i], n] for i, n in _names(model)}
            _print(label, full_blocks, _sketches(model))
        _cost(folder / "model")


def _work(folder: Path) -> Work:
    work = Work(folder / "model", folder / "train.jsonl", _STEPS)
    work.batches = batches(work.examples[: _STEPS + 1], work.loaded.modality.collate, 1)
    plan = Plan(steps=_STEPS, learning_rate=_RATE, seed=0)
    work.run = replace(work.run, plan=plan)
    return work


def _names(model: PreTrainedModel) -> list[tuple[int, str]]:
    return [
        (i, name)
        for i, block in enumerate(blocks(model))
        for name, tensor in block.state_dict().items()
        if tensor.dim() > 1
    ]


def _sketches(model: PreTrainedModel, change: Callable[[Tensor], Tensor] | None = None) -> Known:
    found: Known = {}
    for i, name in _names(model):
        tensor = blocks(model)[i].state_dict()[name]
        values = (change(tensor.float()) if change else tensor).float().numpy()
        sketcher = Sketcher(*values.shape)
        sketcher.add(values)
        sketch = sketcher.sketch()
        assert sketch is not None, (i, name)
        found[i, name] = sketch
    return found


def _largest(known: Known) -> float:
    pairs = Sketches(known.values()).like(known.values(), least=0)
    return max(pair.cosine for pair in pairs if pair.asked != pair.known)


def _print(label: str, known: Mapping[tuple[int, str], str], changed: Known) -> None:
    cosines = [
        max((pair.cosine for pair in Sketches([known[key]]).like([sketch], least=-1)), default=0)
        for key, sketch in changed.items()
    ]
    least, median = min(cosines), statistics.median(cosines)
    print(f"  {label + ', smallest (median) cosine':<52} {least:.3f} ({median:.3f})", flush=True)


def _rounded(values: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    step = values.abs().amax(1, keepdim=True) / most
    return torch.round(values / step).mul(step)


_CASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "bfloat16": lambda values: values.bfloat16(),
    "float16": lambda values: values.half(),
    "a third dtype": lambda values: values.half().bfloat16(),
    "8 bits and back": lambda values: _rounded(values, 8),
    "4 bits and back": lambda values: _rounded(values, 4),
    "half its own size of noise": lambda v: v + 0.5 * v.std() * torch.randn_like(v),
}


def _tuned(work: Work) -> Changed:
    full(work)
    return work.model, range(len(blocks(work.model)))


def _merged(work: Work) -> Changed:
    config = LoraConfig(r=16, target_modules=list(family(work.model).targets))
    model = get_peft_model(work.model, config)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=_RATE)
    for batch in work.batches[:_STEPS]:
        batch_loss(work.model, work.loaded.modality, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.merge_and_unload()  # in place
    return work.model, range(len(blocks(work.model)))


def _healed(work: Work) -> Changed:
    emulator = work.emulator()
    heal(work.model, emulator, work.batches, work.run.monitor)
    return emulator.model, tuple(block.full for block in emulator.blocks)


def _distilled(work: Work) -> Changed:
    emulator = work.emulator()
    distill(work.loaded, emulator, work.batch_at, Weights(1.0, 30.0), work.run)
    return emulator.model, tuple(block.full for block in emulator.blocks)


_TRAININGS: dict[str, Callable[[Work], Changed]] = {
    "fine-tuned": _tuned,
    "LoRA, merged": _merged,
    "healed": _healed,
    "distilled": _distilled,
}


def _cost(folder: Path) -> None:
    """Print what it costs to know a model: digests and sketches of all blocks."""
    model = load(folder).model
    # bfloat16 on the disk
    size = 2 * sum(p.numel() for block in blocks(model) for p in block.parameters())
    began = time.process_time()
    digest_blocks(folder)
    print(f"  {'CPU-seconds a GB':<52} {(time.process_time() - began) / size * 1e9:.1f}")


if __name__ == "__main__":
    main()
