"""What is wrong with a model's own files shows when it is loaded, and not later."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from offsite.errors import DataError, ModelError
from offsite.layers import load
from offsite.modality import Text
from offsite.rows import DataFile
from offsite.stages.evaluation import read_examples
from offsite_testing.core import silent, text_of
from offsite_testing.models import save_tiny, tiny_tokenizer


def add_token(tokenizer: dict[str, Any], content: str = "<image>") -> None:
    """Add a token, the 281st, that is made only of a text that names it."""
    one = tokenizer["added_tokens"][0]
    tokenizer["added_tokens"].append({**one, "id": 280, "content": content})


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


UNKNOWN = {"tokenizer_class": "GemmaTokenizer", "unk_token": "<nowhere>"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 280 tokens, all of which its tokenizer makes."""
    save_tiny(tmp_path / "model", vocab_size=280)
    return tmp_path / "model"


VOCABULARIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "beyond": (lambda t: t["model"]["vocab"].update(x=280), "has the id 280"),
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
    with pytest.raises(ModelError, match="has the id 280, but the model has only 280"):
        load(model)


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text"])
def test_an_added_token_beyond_the_vocabulary_is_told(tmp_path: Path, model_type: str) -> None:
    save_tiny(tmp_path, model_type, vocab_size=280)
    edit(tmp_path / "tokenizer.json", add_token)
    with pytest.raises(ModelError, match="has the id 280, but the model has only 280"):
        load(tmp_path)


def test_a_token_for_images_is_told_where_a_text_names_it(tmp_path: Path) -> None:
    model, path = tmp_path / "model", tmp_path / "rows.txt"
    save_tiny(model, "gemma3_text", vocab_size=280)
    edit(model / "tokenizer.json", lambda t: add_token(t, "<image_soft_token>"))
    loaded = load(model)
    path.write_text("the quick fox", encoding="utf-8")
    assert read_examples(DataFile(path), loaded, 16, silent())
    path.write_text("the quick <image_soft_token>", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.txt: holds '<image_soft_token>', which this model"):
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
    with pytest.raises(ModelError, match="cannot load the tokenizer in"):
        load(model)


@pytest.mark.parametrize("kind", ["T5Tokenizer", "DebertaV2Tokenizer", "XLMRobertaTokenizer"])
def test_a_tokenizer_of_another_class_is_told_with_both(model: Path, kind: str) -> None:
    edit(model / "tokenizer_config.json", lambda config: config.update(tokenizer_class=kind))
    said = f"tokenizer in {model}: {kind} cannot read tokenizer.json, whose model is BPE"
    with pytest.raises(ModelError, match=re.escape(said)):
        load(model)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"a"'])
@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "generation_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    ],
)
def test_a_file_that_is_no_object_is_named(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content, encoding="utf-8")
    said = f"{model / name} is not a JSON object"
    with pytest.raises(ModelError, match=re.escape(said)):
        load(model)


def test_a_tokenizer_that_gives_up_on_a_text_is_told(model: Path, tmp_path: Path) -> None:
    raw = tiny_tokenizer().backend_tokenizer
    raw.pre_tokenizer = Split(Regex(r"(\w+\s?)+\d\d\d\d$"), "isolated")  # noqa: V101
    loaded = load(model)
    modality = Text.of(PreTrainedTokenizerFast(tokenizer_object=raw), loaded.model)
    loaded = replace(loaded, modality=modality)
    path = tmp_path / "rows.txt"
    path.write_text("Kovacs " * 400, encoding="utf-8")
    with pytest.raises(ModelError, match=r"rows\.txt: the model's tokenizer cannot") as told:
        read_examples(DataFile(path), loaded, 16, silent())
    assert "Kovacs" not in str(told.value)


def test_a_tokenizer_that_the_config_makes_unsafe_is_told(tmp_path: Path) -> None:
    """Gemma's class takes the unknown token of tokenizer_config.json, which has no id."""
    save_tiny(tmp_path, "gemma", vocab_size=300)
    edit(tmp_path / "tokenizer_config.json", lambda t: t.update(UNKNOWN))
    with pytest.raises(ModelError, match=r"model\.unk_token: is not in the vocabulary"):
        load(tmp_path)


def test_a_tokenizer_neither_pads_nor_cuts_nor_draws(model: Path) -> None:
    padding = {
        "strategy": {"Fixed": 10**9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<end>",
    }
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    edit(model / "tokenizer.json", lambda t: t.update(padding=padding, truncation=cut))
    edit(model / "tokenizer.json", lambda t: t["model"].update(dropout=0.5))
    plain, found = tiny_tokenizer(), text_of(load(model)).tokenizer
    words = "the quick brown fox " * 20
    assert found(words)["input_ids"] == plain(words)["input_ids"]
    saved = json.loads(found.backend_tokenizer.to_str())
    assert (saved["padding"], saved["truncation"], saved["model"]["dropout"]) == (None, None, None)
