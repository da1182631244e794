"""What a full model's folder may hold: its own tensors and files; nothing else has an effect."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from offsite.errors import ModelError, UnknownFamilyError
from offsite.layers import assemble, load, quiet
from offsite.steps.places import digest_of_model, model_digest
from offsite_testing.core import text_of
from offsite_testing.models import WORDS, save_tiny
from offsite_testing.parties import EMULATOR, LAB, Parties, distill, new_parties
from offsite_testing.tiny import LANGUAGE, tiny_model

Tensors = dict[str, Tensor]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def change(folder: Path, make: Callable[[Tensors], Tensors], name: str = WEIGHTS) -> None:
    """Change the tensors in a file of weights."""
    tensors = {key: value.clone() for key, value in load_file(folder / name).items()}
    save_file(make(tensors), folder / name, {"format": "pt"})


def edit(path: Path, **over: Any) -> None:
    """Change keys of a JSON file, which need not be there yet."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**content, **over}), encoding="utf-8")


def refused_at_once(parties: Parties, said: str) -> None:
    """Expect that the emulator's job fails before anything is computed."""
    with pytest.raises(ModelError, match=said):
        parties.run(EMULATOR, distill())
    assert not list((parties.home(LAB) / "home").rglob("*.safetensors"))


UNKNOWN = {
    "a bias that the config denies": "model.layers.2.self_attn.q_proj.bias",
    "a block too many": "model.layers.6.input_layernorm.weight",
    "a head norm": "model.layers.0.self_attn.q_norm.weight",
    "a buffer of another family": "model.layers.0.attn.masked_bias",
    "a buffer of no block": "model.layers.9.self_attn.rotary_emb.inv_freq",
    "another spelling of a block": "model.layers.01.mlp.up_proj.weight",
    "an adapter's": "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_tensor_that_the_config_does_not_name_is_told(tmp_path: Path, case: str) -> None:
    parties, name = new_parties(tmp_path), UNKNOWN[case]
    model = parties.home(LAB) / "model"
    change(model, lambda t: t | {name: torch.ones(32)})
    refused_at_once(parties, f"{model / WEIGHTS} holds the tensor '{name}'")


def test_a_tensor_is_there_once(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    norm = "model.norm.weight"
    change(tmp_path, lambda t: t | {"norm.weight": t[norm] + 1})
    with pytest.raises(ModelError, match=r"holds '(model\.)?norm\.weight', which is in"):
        load(tmp_path)


def test_a_tensor_that_is_missing_is_told(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    change(tmp_path, lambda t: {k: v for k, v in t.items() if "layers.5.mlp.up" not in k})
    with pytest.raises(ModelError, match=r"lacks 1 tensors: model\.layers\.5\.mlp\.up_proj"):
        load(tmp_path)


def test_a_tensor_of_another_shape_is_told(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    change(tmp_path, lambda t: t | {"model.norm.weight": torch.ones(31)})
    with pytest.raises(ModelError, match=r"has the shape \[31\], but .*config\.json says \[32\]"):
        load(tmp_path)


BUFFERS = {
    "gpt2": "transformer.h.1.attn.masked_bias",
    "gpt_neox": "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
    "phi": "model.layers.1.self_attn.rotary_emb.inv_freq",
    "llama": "model.layers.1.self_attn.rotary_emb.inv_freq",
    "mistral": "model.layers.1.self_attn.rotary_emb.inv_freq",
}


@pytest.mark.parametrize("model_type", LANGUAGE)
def test_checkpoints_are_loaded_as_transformers_loads_them(model_type: str, tmp_path: Path) -> None:
    """Without the prefix of the base model, and with buffers that older versions stored."""
    model = save_tiny(tmp_path, model_type)
    prefix = model.base_model_prefix + "."
    stored = {BUFFERS[model_type]: torch.zeros(3)} if model_type in BUFFERS else {}
    change(tmp_path, lambda t: {k.removeprefix(prefix): v for k, v in (t | stored).items()})
    wanted, found = model.state_dict(), load(tmp_path).model.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize(("name", "kept"), [("lm_head.weight", True), ("lm_head.weight", False)])
def test_a_tied_head_may_be_stored(tmp_path: Path, name: str, kept: bool) -> None:
    """Beside the token table, or in its place."""
    save_tiny(tmp_path, tie_word_embeddings=True)
    table = "model.embed_tokens.weight"
    change(
        tmp_path,
        lambda t: {k: v for k, v in t.items() if kept or k != table} | {name: t[table] + 0},
    )
    model = load(tmp_path).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_tied_head_that_differs_is_told(tmp_path: Path) -> None:
    save_tiny(tmp_path, tie_word_embeddings=True)
    change(tmp_path, lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"] + 1})
    with pytest.raises(ModelError, match=r"a head that differs .* correct tie_word_embeddings"):
        load(tmp_path)


def lora(folder: Path) -> None:
    """Put an adapter beside a model, as peft writes it."""
    LoraConfig(r=2, target_modules=["q_proj"]).save_pretrained(str(folder))
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    factors = {
        f"{name}.lora_A.weight": torch.ones(2, 32),
        f"{name}.lora_B.weight": torch.ones(48, 2),
    }
    save_file(factors, folder / "adapter_model.safetensors", {"format": "pt"})


def test_an_adapter_beside_a_model_is_told(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    lora(parties.home(LAB) / "model")
    refused_at_once(parties, r"an adapter beside the model \(adapter_config\.json\); merge it")


def test_the_weights_of_an_adapter_alone_have_no_effect(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model")
    before = model_digest(tmp_path / "model")
    lora(tmp_path / "model")
    (tmp_path / "model/adapter_config.json").unlink()
    assert model_digest(tmp_path / "model") == before
    assert load(tmp_path / "model")


def test_missing_tensors_are_not_made_up() -> None:
    model = tiny_model("llama")
    tensors = dict(model.state_dict())
    del tensors["model.layers.3.self_attn.q_proj.weight"]
    with pytest.raises(ModelError, match=r"missing keys: model\.layers\.3\.self_attn\.q_proj"):
        assemble(model.config.to_dict(), tensors)
    surplus = {
        **model.state_dict(),
        "model.layers.0.self_attn.q_proj.base_layer.weight": torch.ones(1),
    }
    with pytest.raises(ModelError, match=r"has no tensor model\.layers\.0\..*base_layer"):
        assemble(model.config.to_dict(), surplus)


LEADING_ELSEWHERE: dict[str, tuple[str, dict[str, Any], str]] = {
    "quantized": ("config.json", {"quantization_config": {"quant_method": "fp8"}}, "unquantized"),
    "per layer": ("config.json", {"per_layer_config": {"1": {"num_attention_heads": 2}}}, "differ"),
    "weights": ("config.json", {"transformers_weights": "other.safetensors"}, "name the weights"),
    "tokenizer": (
        "tokenizer_config.json",
        {"fast_tokenizer_files": ["tokenizer.4.0.json"]},
        "name",
    ),
    "arguments": ("tokenizer_config.json", {"init_inputs": ["/etc/passwd"]}, "remove it"),
}


@pytest.mark.parametrize("case", LEADING_ELSEWHERE)
def test_a_file_that_leads_elsewhere_is_told(tmp_path: Path, case: str) -> None:
    parties = new_parties(tmp_path)
    name, over, said = LEADING_ELSEWHERE[case]
    path = parties.home(LAB) / "model" / name
    edit(path, **over)
    refused_at_once(parties, f"{path}: {next(iter(over))} is not supported; .*{said}")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A model in several files."""
    save_tiny(tmp_path / "model", shard="40KB")
    return tmp_path / "model"


def test_an_index_names_no_file_elsewhere(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text())
    name, first = next(iter(index["weight_map"].items()))
    (sharded / first).rename(sharded.parent / "x.safetensors")
    moved = {k: "../x.safetensors" if v == first else v for k, v in index["weight_map"].items()}
    edit(sharded / INDEX, weight_map=moved)
    with pytest.raises(ModelError, match=r"names '\.\./x\.safetensors', which is no file of"):
        model_digest(sharded)
    assert name in moved


def test_weights_that_no_index_names_are_told(sharded: Path) -> None:
    save_file({"x": torch.ones(1)}, sharded / "more.safetensors")
    with pytest.raises(ModelError, match=r"more\.safetensors is not named in"):
        load(sharded)
    (sharded / "more.safetensors").unlink()
    (sharded / INDEX).unlink()
    with pytest.raises(ModelError, match=f"has neither {WEIGHTS} nor {INDEX}"):
        load(sharded)


@pytest.mark.parametrize(
    "name",
    ["model.fp16.safetensors", "consolidated.safetensors", "pytorch_model.bin", "vocab.json"],
)
def test_a_file_that_is_not_read_has_no_effect(tmp_path: Path, name: str) -> None:
    save_tiny(tmp_path)
    before = model_digest(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    assert model_digest(tmp_path) == before
    assert load(tmp_path)


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
def test_a_file_that_is_read_is_in_the_digest(tmp_path: Path, name: str) -> None:
    save_tiny(tmp_path)
    before = model_digest(tmp_path)
    edit(tmp_path / name, pad_token="<x>") if "map" in name else edit(
        tmp_path / name, **{"<x>": 280}
    )
    assert model_digest(tmp_path) != before


def test_a_tokenizer_in_two_files_is_read(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    raw = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(raw["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(pair) for pair in raw["merges"]))
    (tmp_path / "tokenizer.json").unlink()
    edit(tmp_path / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    with quiet():
        wanted = AutoTokenizer.from_pretrained(tmp_path)(WORDS)["input_ids"]
    assert text_of(load(tmp_path)).tokenizer(WORDS)["input_ids"] == wanted
    before = model_digest(tmp_path)
    (tmp_path / "merges.txt").write_text("")
    assert model_digest(tmp_path) != before


def test_links_to_files_elsewhere_are_followed(tmp_path: Path) -> None:
    """The caches of Hugging Face are folders of links to blobs."""
    wanted = save_tiny(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for number, path in enumerate(sorted((tmp_path / "blobs").iterdir())):
        blob = path.rename(path.with_name(f"{number:040x}"))
        (tmp_path / "snapshot" / path.name).symlink_to(f"../blobs/{blob.name}")
    found = load(tmp_path / "snapshot").model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in wanted.state_dict().items())


def test_the_digest_is_that_of_the_files_that_are_read(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    files = {path.name: "0" * 64 for path in tmp_path.iterdir()}
    assert digest_of_model(files) == digest_of_model({**files, "README.md": "1" * 64})
    assert digest_of_model(files) != digest_of_model({**files, "config.json": "1" * 64})


def test_what_is_saved_is_what_transformers_loads(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    ours = load(tmp_path).model.state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_family_that_is_not_known_is_told(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    edit(tmp_path / "config.json", model_type="mamba")
    with pytest.raises(UnknownFamilyError, match="architecture 'mamba'"):
        load(tmp_path)
