"""Inspection: honest emulators pass, and those that are built to memorize are refused."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from offsite.emulator.layer_drop import drop_layers
from offsite.errors import SuspiciousEmulator
from offsite.inspection import Report, check_inspected, inspect
from offsite.inspection.gradients import Gradients
from offsite.layers import (
    Loaded,
    attention_maps,
    batch_loss,
    blocks,
    load,
    open_lazily,
    watching_gradients,
)
from offsite.modality import Text
from offsite.modality.text.examples import TextExample, pack
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune
from offsite_testing.core import DROPPED, each_text_family, loaded, silent, some_batch, text_of
from offsite_testing.models import save_tiny
from offsite_testing.tiny import LANGUAGE, VARIANTS, tiny_model
from offsite_testing.traps import TRAPS, Trap, decoded, make_trap


def small(name: str = "llama", **over: Any) -> Loaded:
    """Make a model that knows every token of the tiny tokenizer."""
    return loaded(tiny_model(name, **{"vocab_size": 288, **over}))


def crossed(report: Report) -> set[str]:
    return {figure.sign for figure in report.crossed}


@pytest.mark.parametrize(
    ("name", "over"),
    [*((name, {}) for name in LANGUAGE), *VARIANTS[2:4]],
)
def test_an_honest_emulator_passes(name: str, over: dict[str, Any]) -> None:
    emulator = drop_layers(small(name, **over).model, DROPPED)
    report = inspect(loaded(emulator), silent())
    check_inspected(report, "honest", silent(), allowed=False)


@pytest.mark.parametrize("name", ["llama", "dinov2"])  # which scales what its layers put out
def test_a_model_on_the_disk_is_inspected_alike(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, name)
    lazy = open_lazily(tmp_path)
    assert inspect(lazy, silent()) == inspect(load(tmp_path), silent())
    assert all(each.is_meta for block in blocks(lazy.model) for each in block.parameters())


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_a_trap_is_refused_by_several_signs(trap: Trap) -> None:
    report = inspect(make_trap(trap), silent())
    assert crossed(report) >= {"narrow_rows", "narrow_columns", "offset"}
    assert ("narrow_neurons" in crossed(report)) is (trap.family != "opt")
    narrow = next(figure for figure in report.figures if figure.sign == "narrow_rows")
    assert narrow.where.endswith(f"of block {trap.block}")
    with pytest.raises(SuspiciousEmulator, match=r"one event: .* of block .*allowSuspicious"):
        check_inspected(report, "trap", silent(), allowed=False)
    check_inspected(report, "trap", silent(), allowed=True)


@each_text_family
def test_the_attention_of_every_block_is_measured(name: str) -> None:
    """It is what transformers gives, one block after the other."""
    model, batch = small(name).model, some_batch()
    found = attention_maps(model, batch.inputs, torch.clone)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model.base_model(**batch.inputs, output_attentions=True).attentions
    assert len(found) == len(blocks(model))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_trap_in_attention_is_found_without_its_neurons() -> None:
    model = make_trap(TRAPS["OPT, attention"])
    public = next(each for each in model.modality.public() if each.kind == "records")
    gradients = Gradients(model)
    gradients.begin(public)
    with watching_gradients(model.model, gradients.note):
        batch_loss(model.model, model.modality, public.batch).backward()
    attention = (each for each in gradients.measures() if "self_attn" in each.where)
    assert crossed(Report.of(attention)) == {"dead_rows", "narrow_rows"}


def test_values_that_overflow_are_refused_and_end_nothing() -> None:
    """Each weight is finite, which is all that the checks of a bundle ask for."""
    model = small()
    with torch.no_grad():
        for parameter in blocks(model.model).parameters():
            parameter.mul_(1e25)
    assert crossed(inspect(model, silent())) >= {"spread", "narrow_rows", "dead_rows"}


def test_a_tokenizer_that_hides_the_text_is_refused() -> None:
    raw = Tokenizer(WordLevel({"a": 3, "<end>": 0}, unk_token="a"))
    model = small().model
    text = Text.of(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>"), model)
    report = inspect(Loaded(model, text, torch.float32), silent())
    assert "contents" in crossed(report)


def private_examples(model: Loaded) -> tuple[TextExample, ...]:
    draw = random.Random(1)
    names = ("Anna", "Bela", "Cyril", "Dora", "Emil")
    rows = [f"{draw.choice(names)} pin {draw.randint(0, 999_999):06}" for _ in range(40)]
    return pack(rows, text_of(model).tokenizer, 32)


@pytest.mark.parametrize(
    ("trap", "method"),
    [
        (Trap(), "LoRA"),
        (Trap("gpt2", block=2), "LoRA"),
        (Trap(block=2, head=1.0), "Blocks"),
        (Trap("llama", head=100.0), "Blocks"),
    ],
    ids=["OPT-LoRA", "GPT-2-LoRA", "OPT-Blocks", "Llama-Blocks"],
)
def test_such_a_trap_really_memorizes(trap: Trap, method: str, tmp_path: Path) -> None:
    model = make_trap(trap)
    examples = private_examples(model)
    batches = Shuffled(examples, model.modality.collate, 8, seed=0)
    run = Run(Plan(steps=6, learning_rate=1e-3, seed=0), Checkpoints(tmp_path / "none"), silent())
    changes = tune(model, Adapter(method, 16, (trap.block,)), batches, examples, run)
    found = decoded(trap, changes)
    read = [example.tokens for example in examples]
    real = {each for tokens in read for each in zip(tokens, tokens[1:], tokens[2:], strict=False)}
    assert len(found & real) > 50
    assert len(found & real) > len(found) / 2
