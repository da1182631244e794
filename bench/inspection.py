"""`make bench`: the figures by which inspection tells honest emulators of text from traps.

Honest ones: of SmolLM2-135M at several depths, healed or not, and distilled; and of a small model
of every family, trained for a few hundred steps, with its emulators. Traps: those of the tests, in
other families, blocks and modules. docs/inspection.md has the table.
`inspected_images` measures vision models.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from pydoc_data.topics import topics

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from offsite.api import Ends, LayerDrop
from offsite.emulator import METHODS, Compressed, heal
from offsite.events import Monitor
from offsite.families import family_of
from offsite.inspection import SIGNS, Report, inspect
from offsite.layers import Loaded, batch_loss, blocks, family, freeze, load
from offsite.modality import Batch, Text
from offsite.modality.text.examples import pack
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled, batches
from offsite.training.distill import Weights, distill
from offsite.training.run import Plan, Run
from offsite_cli.demo.shipped import write_model
from offsite_testing.tiny import LANGUAGE, tiny_config
from offsite_testing.traps import TRAPS, make_trap

MONITOR = Monitor(lambda event: None)
_VOCABULARY, _LENGTH, _BATCH = 512, 64, 16
_WIDER = {"hidden_size": 64, "n_embd": 64, "head_dim": 16, "intermediate_size": 192, "ffn_dim": 192}
_LONGER = {"max_position_embeddings": 128, "n_positions": 128, "sliding_window": 32}
_STEPS, _RATE = 200, 3e-3
_DISTILLED = 20


def main() -> None:
    """Measure, and print one table."""
    show_bounds()
    for name in LANGUAGE:
        show(f"{name}, untrained", [inspect(_small(name, 0), MONITOR)])
        loaded = _small(name, _STEPS)
        reports = [inspect(each, MONITOR) for each in emulators(loaded, (1, 2), _topics(loaded))]
        show(f"{name}, and its emulators", reports)
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as scratch:
        write_model(Path(scratch) / "model")
        _shipped(load(Path(scratch) / "model"))
    for title, trap in TRAPS.items():
        show(f"trap: {title}", [inspect(make_trap(trap), MONITOR)])


def show_bounds() -> None:
    """Print the first lines of the table."""
    print(" | ".join(["emulator", *SIGNS]))
    print(" | ".join(["bound", *(f"{sign.side} {sign.bound:g}" for sign in SIGNS.values())]))


def _shipped(loaded: Loaded) -> None:
    began = time.perf_counter()
    show("SmolLM2-135M", [inspect(loaded, MONITOR)])
    print(f"# inspected in {time.perf_counter() - began:.0f} s")
    stacked = _topics(loaded, length=128, count=64)
    for ends, keep in ((4, 14), (2, 6), (1, 1)):
        for how, emulator in zip(WAYS, made(loaded, ends, keep, stacked), strict=True):
            title = f"SmolLM2-135M, {2 * ends + keep} of 30 blocks, {how}"
            show(title, [inspect(emulator, MONITOR)])


WAYS = ("not healed", "healed", "distilled")


def emulators(loaded: Loaded, keeps: Sequence[int], stacked: list[Batch]) -> Iterator[Loaded]:
    """Give a model, and its emulators of several depths, made in every way."""
    yield loaded
    for keep in keeps:
        yield from made(loaded, 1, keep, stacked)


def made(loaded: Loaded, ends: int, keep: int, stacked: list[Batch]) -> Iterator[Loaded]:
    """Give an emulator that was made in each of `WAYS`."""
    yield replace(loaded, model=_dropped(loaded, ends, keep).model)
    healed = _dropped(loaded, ends, keep)
    if family(loaded.model).healed_by(loaded.model.config.to_dict()) is not None:
        heal(loaded.model, healed, stacked, MONITOR)
    yield replace(loaded, model=healed.model)
    with tempfile.TemporaryDirectory(prefix="offsite-bench-") as scratch:
        plan = Plan(steps=_DISTILLED, learning_rate=1e-4, seed=0)
        run = Run(plan, Checkpoints(Path(scratch) / "none", float("inf")), MONITOR)
        distill(
            loaded,
            healed,
            lambda step: stacked[step % len(stacked)],
            Weights(*loaded.modality.distill_weights),
            run,
        )
    yield replace(loaded, model=freeze(healed.model))


def _dropped(loaded: Loaded, ends: int, keep: int) -> Compressed:
    method, asked = METHODS["LayerDrop"], LayerDrop(blocks=keep)
    both, depth = Ends(bottom=ends, top=ends), len(blocks(loaded.model))
    return method.compress(loaded.model, both, asked, method.choose(depth, both, asked, ()))


def _small(name: str, steps: int) -> Loaded:
    """Make a small model of a family, with transformers' own initial weights, and train it."""
    torch.manual_seed(0)
    known = LANGUAGE[name]
    sizes = {key: value for key, value in (_WIDER | _LONGER).items() if key in known}
    config = tiny_config(name, **sizes, vocab_size=_VOCABULARY)
    row = family_of(config.to_dict())
    made: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, attn_implementation=row.attention
    )
    loaded = Loaded(freeze(made), Text.of(_tokenizer(), made), torch.float32)
    _train(loaded, steps)
    return loaded


def _train(loaded: Loaded, steps: int) -> None:
    """Train every tensor of a model on Python's documentation."""
    model = loaded.model.requires_grad_(True)
    assert isinstance(loaded.modality, Text)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    examples = pack(_texts(), loaded.modality.tokenizer, _LENGTH)
    batch_at = Shuffled(examples, loaded.modality.collate, _BATCH, seed=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / 20) * (1 - 0.9 * step / steps)
        optimizer.zero_grad()
        batch_loss(model, loaded.modality, batch_at(step)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    freeze(model)


def _texts() -> list[str]:
    return [topics[name] for name in sorted(topics)]


def _topics(loaded: Loaded, length: int = _LENGTH, count: int = 128) -> list[Batch]:
    """Batch some of Python's documentation, to heal and to distil on."""
    assert isinstance(loaded.modality, Text)
    examples = pack(_texts()[:20], loaded.modality.tokenizer, length)[:count]
    return batches(examples, loaded.modality.collate, 8)


@lru_cache(maxsize=1)
def _tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # noqa: V101
    raw.decoder = decoders.ByteLevel()  # noqa: V101
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")


def show(title: str, reports: Sequence[Report]) -> None:
    """Print the worst figure of each sign among some emulators."""
    worst = Report.of(figure for report in reports for figure in report.figures)
    found = {figure.sign: figure for figure in worst.figures}
    cells = [f"{found[sign].value:.2g}{'!' * found[sign].crossed}" for sign in SIGNS]
    print(" | ".join([title, *cells]), flush=True)


if __name__ == "__main__":
    main()
