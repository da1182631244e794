"""`make bench-large`: peak memory of the model owner's stages on a random Llama of 7 B parameters.

Each stage runs in a process of its own, on a model in bfloat16 that is larger than the memory that
it may take. Its weights are random: memory and time do not depend on them.
"""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
from efficiency.models import byte_tokenizer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoConfig, LlamaForCausalLM, PreTrainedModel

from offsite.api import JobSpec
from offsite.events import Monitor
from offsite.layers import quiet
from offsite.layers.hardware import multiplies_bfloat16
from offsite.layers.writing import write_weights
from offsite.process.usage import peak_memory
from offsite.rows import DataFile
from offsite.sizing.owner import heal
from offsite.sizing.setting import Machine
from offsite.sizing.shape import Shape
from offsite.stages.context import Context
from offsite.stages.distill import make_emulator
from offsite.steps.inputs import Inputs
from offsite.steps.party import Party
from offsite.steps.workspace import Workspace
from offsite.store import FolderStore, whole_folder
from offsite.store.private_store import PrivateStore
from offsite.training.checkpoints import Checkpoints

AIM = 6 * 2**30
"""Bytes of memory that a stage may take."""
_SHAPE = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
_LARGEST = {
    "hidden_size": 8192,
    "intermediate_size": 28_672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 80,
}
"""What is different in the one of 70 B parameters."""
_POOL = 1 << 28
"""How many random numbers all weights are made of."""


def main() -> None:
    """Write the model, run each stage in a process, and print one table."""
    options = _options()
    if options.stage:
        print(json.dumps(_measured(options)))
        return
    with tempfile.TemporaryDirectory(prefix="offsite-large-") as name:
        folder = options.folder or Path(name)
        write_model(folder / "model", options.depth)
        write_texts(folder / "texts.jsonl", options.tokens)
        _print(folder, {stage: _child(stage, folder, options.kept) for stage in STAGES})


def write_model(folder: Path, depth: int) -> None:
    """Write a random Llama with the width of the one of 7 B parameters, shard by shard."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    named = {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}
    config: Any = AutoConfig.for_model("llama", num_hidden_layers=depth, **_SHAPE, **named)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    with whole_folder(folder) as partial, quiet():
        write_weights(model, RandomWeights(model), partial, torch.bfloat16)
        config.save_pretrained(partial)
        byte_tokenizer().save_pretrained(partial)


class RandomWeights(Mapping[str, Tensor]):
    """Small random weights for each name, cut from one pool of numbers; norms are ones."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        draw = torch.Generator().manual_seed(0)
        self._pool = torch.randn(_POOL, generator=draw).mul_(0.02).bfloat16()

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if len(shape) == 1:
            return torch.ones(shape, dtype=torch.bfloat16)
        start = zlib.crc32(name.encode()) % (_POOL - shape.numel())
        return self._pool[start : start + shape.numel()].view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def write_texts(path: Path, tokens: int) -> None:
    """Write random texts of 256 tokens, which are bytes."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(ascii_letters, k=256)) for _ in range(-(-tokens // 256))]
    path.write_text("".join(json.dumps({"text": text[:tokens]}) + "\n" for text in texts))


def distill(folder: Path, kept: int) -> None:
    """Drop layers, heal, score both models, and write the bundle."""
    section = {
        "model": str(folder / "model"),
        "ends": {"bottom": 1, "top": 1},
        "emulator": {
            "method": "LayerDrop",
            "blocks": kept,
            "calibration": "texts.jsonl",
            "heal": True,
        },
        "evaluate": "texts.jsonl",
    }
    spec = JobSpec.model_validate({"stage": "Distill", "peer": "peer", "distill": section})
    assert spec.distill
    data = DataFile(folder / "texts.jsonl")
    inputs = Inputs({"calibration": data, "evaluate": data}, folder / "model")
    make_emulator(_context(folder, spec, inputs), spec.distill)


STAGES: dict[str, Callable[[Path, int], None]] = {each.__name__: each for each in (distill,)}


def _context(folder: Path, spec: JobSpec, inputs: Inputs) -> Context:
    """Describe a stage as the step that trains gets it, without its digests."""
    home = folder / spec.stage
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    store = PrivateStore(home / "copies", FolderStore(home), os.environ)
    party = Party.on_this_machine("owner", home, store, folder, math.inf)
    space = Workspace(party, "large", spec, "peer", "", home)
    digests = {"model": "sha256:" + "0" * 64}
    monitor = Monitor(lambda event: print(event, file=sys.stderr))
    return Context(space, inputs, digests, Checkpoints(space.checkpoint, math.inf), monitor)


def _measured(options: argparse.Namespace) -> dict[str, float]:
    libraries, began = peak_memory(), time.perf_counter()
    STAGES[options.stage](options.folder, options.kept)
    return {
        "peak": peak_memory(),
        "libraries": libraries,
        "seconds": time.perf_counter() - began,
    }


def _child(stage: str, folder: Path, kept: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    command += ["--kept", str(kept)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def _planned(**sizes: int) -> float:
    """Compute the peak of healing a Llama, which is that of Distill, as `offsite plan` does."""
    shape = Shape.of({"model_type": "llama", "num_hidden_layers": 32, **_SHAPE, **sizes})
    machine = Machine(bfloat16=multiplies_bfloat16("cpu"))
    return heal(shape, machine, kept=1).peak


def _print(folder: Path, figures: Mapping[str, Mapping[str, float]]) -> None:
    size = sum(path.stat().st_size for path in (folder / "model").iterdir())
    table = Table(title=f"a model of {size / 2**30:.1f} GiB on the disk")
    for column in ("stage", "peak GiB", "of it libraries", "aim", "peak / model", "seconds"):
        table.add_column(column, justify="right")
    for stage, found in figures.items():
        table.add_row(
            stage,
            f"{found['peak'] / 2**30:.2f}",
            f"{found['libraries'] / 2**30:.2f}",
            f"{AIM / 2**30:.0f}",
            f"{found['peak'] / size:.2f}",
            f"{found['seconds']:.0f}",
        )
    console = Console(width=100)
    console.print(table)
    for name, sizes in {"7 B": {}, "70 B": _LARGEST}.items():
        planned = _planned(**sizes) / 2**30
        console.print(f"distill of {name} by calculation, as `offsite plan`: {planned:.1f} GiB")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=32, help="blocks of the model")
    parser.add_argument("--kept", type=int, default=8, help="blocks of the emulator's middle")
    parser.add_argument("--tokens", type=int, default=4096, help="text to heal and score on")
    parser.add_argument("--folder", type=Path, help="keeps the model there, and finds it again")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
