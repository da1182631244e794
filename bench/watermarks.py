"""`make bench`: what the mark of an emulator costs, and after what it is found again.

Of the demo's model and emulator: the perplexity with marks of several strengths; then what
`offsite bundles trace` says of copies that were trained, merged, averaged, rounded or pruned, and
of secrets that marked nothing.

    python bench/watermarks.py [FOLDER] [STEPS]    # FOLDER keeps the model and the emulator
"""

import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from work import Work

from offsite.bundle import BlockRecord, EmulatorRecord
from offsite.bundle.tracing import Candidate, Traced, trace
from offsite.bundle.watermark import STRENGTH, Watermark, add_watermark
from offsite.emulator import heal
from offsite.events import Monitor
from offsite.layers import batch_loss, family, load, save
from offsite.rows import DataFile
from offsite.training.data import batches
from offsite.training.evaluate import score
from offsite_cli.demo.icd import texts
from offsite_cli.demo.shipped import write_model
from offsite_cli.demo.splits import write_splits

_WEIGHTS = "model.safetensors"
_STRENGTHS, _KEYS = (0.001, 0.002, 0.005, 0.01), 2
_PARTIES = ("hospital", "clinic", "bank")
_ROWS = 120
"""Rows of the test text that are scored; differences are of the same tokens, so few are enough."""
_FULL_RATE, _LORA_RATE, _STEPS = 1e-4, 1e-3, 300
_STRANGERS = 2000


class Bench:
    """The model, its emulator, and the marked copies of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, folder / "model"
        if not (folder / "emulator.json").exists():
            write_model(self.model)
            write_splits(folder, texts(seed=0))
            self._make_emulator()
        record = json.loads((folder / "emulator.json").read_text())
        self.kept: list[int] = record["kept"]
        rows = (folder / "test.jsonl").read_text().splitlines()[:_ROWS]
        (folder / "few.jsonl").write_text("\n".join(rows))
        self.plain = folder / "emulator"
        self.candidates = [self._candidate(party) for party in _PARTIES]

    def _make_emulator(self) -> None:
        work = Work(self.model, self.folder / "train.jsonl", 4)
        made = work.emulator()
        heal(work.model, made, work.batches, work.run.monitor, scratch=self.folder)
        (self.folder / "emulator").mkdir()
        save(replace(work.loaded, model=made.model), self.folder / "emulator")
        kept = [block.full for block in made.blocks]
        (self.folder / "emulator.json").write_text(json.dumps({"kept": kept}))

    def _candidate(self, party: str) -> Candidate:
        loaded = json.loads((self.plain / "config.json").read_text())
        row = family(load(self.plain).model)
        tensors, linears = row.block_tensors(loaded), row.linear_sizes(loaded)
        blocks = tuple(
            BlockRecord(full=i, end=False, tensors=tensors, linears=linears) for i in self.kept
        )
        record = EmulatorRecord(
            bundle="emulator",
            digest="",
            recipient=party,
            architecture=row.architecture,
            model_digest="",
            blocks=blocks,
            watermark=Watermark(key="0" * 16, unmarked="sha256:" + "0" * 64),
        )
        return Candidate(record, hashlib.sha256(party.encode()).digest())

    def marked(self, secret: bytes, strength: float, name: str = "marked") -> Path:
        """Mark a copy."""
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.plain, target)
        add_watermark(self.plain, target, secret, strength, self.kept)
        return target

    def perplexity(self, folder: Path) -> float:
        """Score a model on the test text."""
        loaded = load(folder)
        rows = loaded.modality.read(DataFile(self.folder / "few.jsonl"))
        bench = loaded.modality.benchmark(rows)
        return score(loaded, bench, Monitor(_ignore), phase="score")[0].value

    def show(self, label: str, tensors: dict[str, Tensor]) -> None:
        """Print what a trace says of weights."""
        found = self.folder / "found"
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        save_file({n: t.contiguous() for n, t in tensors.items()}, found / _WEIGHTS)
        _, traced = trace(found, self.candidates, self.model)
        print(f"  {label:<44} {'; '.join(map(_told, traced))}", flush=True)


def main() -> None:
    """Measure, and print the tables."""
    keep, steps = sys.argv[1:2], int(next(iter(sys.argv[2:]), _STEPS))
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as scratch:
        folder = Path(keep[0]) if keep else Path(scratch)
        folder.mkdir(exist_ok=True)
        bench = Bench(folder)
        _print_copies(bench)
        _print_chance(bench)
        _print_cost(bench)
        _print_trained(bench, steps)


def _ignore(event: object) -> None:
    pass


def _told(each: Traced) -> str:
    named = each.record.recipient if each.is_named else f"({each.record.recipient})"
    return f"{named} {each.deviations:.0f} sigma, {each.share:.0%}"


def _print_cost(bench: Bench) -> None:
    base = bench.perplexity(bench.plain)
    print(f"perplexity without a mark {base:.3f}", flush=True)
    for strength in _STRENGTHS:
        for key in range(_KEYS):
            began = time.process_time()
            folder = bench.marked(bytes([key]) * 32, strength)
            seconds = time.process_time() - began
            change = bench.perplexity(folder) / base - 1
            print(f"  strength {strength:g}: {change:+.3%}; {seconds:.1f} CPU-s", flush=True)


def _rounded(bits: int) -> Callable[[Tensor], Tensor]:
    def change(value: Tensor) -> Tensor:
        wide, most = value.float(), 2 ** (bits - 1) - 1
        step = wide.abs().amax(-1, keepdim=True).clamp(min=1e-9) / most
        return torch.round(wide / step).mul(step).bfloat16()

    return change


def _noisy(share: float) -> Callable[[Tensor], Tensor]:
    return lambda value: value.float() + share * value.float().std() * torch.randn(value.shape)


def _pruned(value: Tensor) -> Tensor:
    return torch.where(value.abs() < value.float().abs().median(), 0, value)


_COPIES: dict[str, Callable[[Tensor], Tensor]] = {
    "as it was sent": lambda value: value,
    "float16": lambda value: value.half(),
    "float8 E4M3": lambda value: value.to(torch.float8_e4m3fn),
    "8 bits and back, a scale for each row": _rounded(8),
    "4 bits and back, a scale for each row": _rounded(4),
    "half of the weights pruned": _pruned,
    "noise of 10 % added": _noisy(0.1),
    "noise of 100 % added": _noisy(1.0),
}


def _print_copies(bench: Bench) -> None:
    copies = [
        load_file(bench.marked(each.secret, STRENGTH, each.record.recipient) / _WEIGHTS)
        for each in bench.candidates
    ]
    print("copies of the emulator of hospital: who is named, sigma, how much of the mark is left")
    bench.show("without a mark", load_file(bench.plain / _WEIGHTS))
    for label, change in _COPIES.items():
        bench.show(label, {name: change(value) for name, value in copies[0].items()})
    for count in (2, 3):
        mean = {
            name: torch.stack([each[name].float() for each in copies[:count]]).mean(0).bfloat16()
            for name in copies[0]
        }
        bench.show(f"mean of {count} recipients", mean)
    one = {n: v for n, v in copies[0].items() if ".7." in n}
    bench.show("one block of 22, renamed", {f"x{i}": v for i, v in enumerate(one.values())})


def _print_chance(bench: Bench) -> None:
    """Print the statistic of secrets that marked nothing, in one block of a marked emulator."""
    found = bench.folder / "found"
    values = np.array([each.deviations for each in _strangers(bench, found)])
    print(
        f"{len(values)} secrets that marked nothing: mean {values.mean():+.3f} sigma, "
        f"standard deviation {values.std():.3f}, largest {values.max():.2f}"
    )
    for bound in (1, 2, 3, 5.26):
        most = math.exp(-(bound**2) / 2)
        print(
            f"  above {bound:g} sigma: {(values > bound).mean():.2e}, bound {most:.2e}", flush=True
        )


def _strangers(bench: Bench, found: Path) -> Sequence[Traced]:
    record = bench.candidates[0].record
    record = record.model_copy(update={"blocks": record.blocks[7:8]})
    secrets = (hashlib.sha256(f"stranger {i}".encode()).digest() for i in range(_STRANGERS))
    return trace(found, [Candidate(record, each) for each in secrets], bench.model)[1]


def _print_trained(bench: Bench, steps: int) -> None:
    print(f"trained for {steps} steps of 2 x 64 tokens")
    for label, train in (("every weight", _train_all), ("LoRA of rank 16, merged", _train_lora)):
        model = load(bench.folder / _PARTIES[0]).model
        before = {n: v.clone().float() for n, v in model.state_dict().items()}
        train(bench, model, steps)
        after = {n: v for n, v in model.state_dict().items() if n != "lm_head.weight"}
        changes = [
            float((after[n].float() - v).norm() / v.norm())
            for n, v in before.items()
            if ".layers." in n and v.dim() == 2
        ]
        bench.show(f"{label} (changed by {np.median(changes):.1%})", _stored(after))


def _stored(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().bfloat16() for name, value in weights.items()}


def _train_all(bench: Bench, model: PreTrainedModel, steps: int) -> None:
    model.float().requires_grad_(True)
    _train(bench, model, list(model.parameters()), _FULL_RATE, steps)


def _train_lora(bench: Bench, model: PreTrainedModel, steps: int) -> None:
    config = LoraConfig(r=16, target_modules=list(family(model).targets))
    peft = get_peft_model(model.float(), config)
    trained = [p for p in peft.parameters() if p.requires_grad]
    _train(bench, model, trained, _LORA_RATE, steps)
    peft.merge_and_unload()  # in place


def _train(
    bench: Bench, model: PreTrainedModel, trained: Sequence[Tensor], rate: float, steps: int
) -> None:
    loaded = load(bench.plain)
    rows = loaded.modality.read(DataFile(bench.folder / "train.jsonl"))
    examples = loaded.modality.encode(rows, 64).examples[: 2 * steps]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    for batch in batches(examples, loaded.modality.collate, 2):
        batch_loss(model, loaded.modality, batch).backward()
        optimizer.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    main()
