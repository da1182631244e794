"""What is wrong with a model's own files shows when it is loaded, and not later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from offsite.errors import DataError, ModelError
from offsite.layers import load
from offsite.rows import DataFile
from offsite.stages.report import read_examples
from offsite_testing.core import silent
from offsite_testing.models import save_tiny


def add_token(tokenizer: dict[str, Any]) -> None:
    """Add a token, the 281st, that is made only of a text that names it."""
    one = tokenizer["added_tokens"][0]
    tokenizer["added_tokens"].append({**one, "id": 280, "content": "<image>"})


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 280 tokens, all of which its tokenizer makes."""
    save_tiny(tmp_path / "model", vocab_size=280)
    return tmp_path / "model"


VOCABULARIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "beyond": (lambda t: t["model"]["vocab"].update(x=280), "makes the id 280"),
    "negative": (lambda t: t["model"]["vocab"].update(x=-1), "cannot load"),
    "infinite": (lambda t: t["model"]["vocab"].update(x=float("inf")), "cannot load"),
    "not a number": (lambda t: t["model"]["vocab"].update(x="7"), "cannot load"),
    "true": (lambda t: t["model"]["vocab"].update(x=True), "cannot load"),
    "none": (lambda t: t.pop("model"), "cannot load"),
    "nested": (lambda t: t["model"].update(vocab={"a": {}}), "cannot load"),
}


@pytest.mark.parametrize("case", VOCABULARIES)
def test_a_tokenizer_of_another_model_is_told(model: Path, case: str) -> None:
    change, said = VOCABULARIES[case]
    edit(model / "tokenizer.json", change)
    with pytest.raises(ModelError, match=said):
        load(model)


@pytest.mark.parametrize("token", ["bos_token", "eos_token"])
def test_a_special_token_beyond_the_vocabulary_is_told(model: Path, token: str) -> None:
    edit(model / "tokenizer.json", add_token)
    edit(model / "tokenizer_config.json", lambda t: t.update({token: "<image>"}))
    with pytest.raises(ModelError, match="makes the id 280, but the model knows 280"):
        load(model)


def test_an_unknown_token_is_told_where_a_text_names_it(model: Path, tmp_path: Path) -> None:
    edit(model / "tokenizer.json", add_token)
    loaded, path = load(model), tmp_path / "rows.txt"
    path.write_text("the quick fox", encoding="utf-8")
    assert read_examples(DataFile(path), loaded, 16, silent())
    path.write_text("the quick <image>", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.txt holds '<image>', which this model does not"):
        read_examples(DataFile(path), loaded, 16, silent())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_told(model: Path, value: float) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.3.mlp.up_proj.weight"][2, 5] = value
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.3\.mlp\.up_proj\.weight that is not finite"):
        load(model)


def test_loading_keeps_the_dtype_of_the_file_in_mind(tmp_path: Path) -> None:
    save_tiny(tmp_path / "half", dtype=torch.float16)
    assert load(tmp_path / "half").dtype is torch.float16


def test_numbers_of_two_kinds_are_told(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.bfloat16)
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="holds numbers of the kinds BF16, F32; convert all"):
        load(model)


def test_buffers_that_older_versions_stored_do_not_matter(tmp_path: Path) -> None:
    save_tiny(tmp_path, "gpt2")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    tensors["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4, dtype=torch.float16)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert load(tmp_path).dtype is torch.float32


def test_a_tokenizer_that_panics_is_told(model: Path) -> None:
    broken = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    edit(model / "tokenizer.json", lambda t: t.update(normalizer=broken))
    with pytest.raises(ModelError, match="cannot load the model"):
        load(model)


def test_a_tokenizer_that_gives_up_on_a_text_is_told(model: Path, tmp_path: Path) -> None:
    split = {
        "type": "Split",
        "pattern": {"Regex": r"(\w+\s?)+\d\d\d\d$"},
        "behavior": "Isolated",
        "invert": False,
    }
    edit(model / "tokenizer.json", lambda t: t.update(pre_tokenizer=split))
    loaded, path = load(model), tmp_path / "rows.txt"
    path.write_text("word " * 400, encoding="utf-8")
    with pytest.raises(ModelError, match=r"gave up on .*rows\.txt"):
        read_examples(DataFile(path), loaded, 16, silent())
