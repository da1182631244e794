"""Damaged and malicious bundles are refused, with the reason."""

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorFacts,
    EmulatorRecord,
    Manifest,
    check_adapter,
    check_emulator,
    check_whole,
    read_manifest,
)
from offsite.bundle.manifest import MANIFEST, file_digest
from offsite.bundle.record import OutsideTensor
from offsite.errors import BundleError
from offsite_testing import parties as names
from offsite_testing.parties import Parties, distill, new_parties, seal, tune

WEIGHTS = "model.safetensors"
FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    WEIGHTS,
)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Two parties that sent each other an emulator and an adapter."""
    parties = new_parties(tmp_path_factory.mktemp("sent"))
    parties.run(names.EMULATOR, distill(None))
    parties.run(names.ADAPTER, tune(2, adapter={"rank": 2}))
    return parties


@pytest.fixture
def emulator(sent: Parties, tmp_path: Path) -> Path:
    """A sound emulator bundle."""
    folder = Path(shutil.copytree(sent.opened(names.EMULATOR), tmp_path / "emulator"))
    open_emulator(folder)
    return folder


@pytest.fixture(scope="module")
def record(sent: Parties) -> EmulatorRecord:
    """What the lab remembers of its emulator."""
    return sent.party(names.LAB).record(sent.envelope(names.EMULATOR).digest)


@pytest.fixture
def adapter(sent: Parties, record: EmulatorRecord, tmp_path: Path) -> Path:
    """A sound adapter bundle."""
    folder = Path(shutil.copytree(sent.opened(names.ADAPTER), tmp_path / "adapter"))
    open_adapter(folder, record)
    return folder


def open_emulator(folder: Path) -> Manifest:
    """Check an emulator as its recipient does."""
    check_whole(folder)
    return check_emulator(folder)


def open_adapter(folder: Path, record: EmulatorRecord) -> Manifest:
    """Check an adapter as its recipient does."""
    check_whole(folder)
    return check_adapter(folder, record)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def refused(folder: Path, *said: str) -> None:
    """Check that an emulator is refused, in words that name what is wrong."""
    with pytest.raises(BundleError) as caught:
        open_emulator(folder)
    assert [part for part in said if part not in str(caught.value)] == [], str(caught.value)


def adapter_refused(folder: Path, record: EmulatorRecord, *said: str) -> None:
    """Check that an adapter is refused, in words that name what is wrong."""
    with pytest.raises(BundleError) as caught:
        open_adapter(folder, record)
    assert [part for part in said if part not in str(caught.value)] == [], str(caught.value)


ODD = (
    *(
        "pytorch_model.bin",
        "model.pkl",
        "adapter_config.json",
        "modeling.py",
        "chat_template.jinja",
    ),
    *("model.safetensors ", "Model.safetensors", "model-1-of-2.safetensors", ".hidden", "a\nb"),
    *(
        "config.json\n",
        "tokenizer.json\x7f",
        "config\u200b.json",
        "\uff43onfig.json",
        "manifest.json~",
    ),
    "model-00001-of-0000\uff12.safetensors",
)


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_file_that_is_not_on_the_list_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).write_bytes(b"\x80\x04.")
    # first as a stowaway, then as one that the manifest names
    refused(emulator, repr(str(emulator / name)), "is not in manifest.json")
    seal(emulator)
    odd = any(not (c.isascii() and (c.isalnum() or c in "._-")) for c in name) or name[0] == "."
    refused(emulator, MANIFEST, *(["files"] if odd else ["not allowed", repr(name)]))


@pytest.mark.parametrize("name", FILES)
def test_renamed_file_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).rename(emulator / f"{name}.bin")
    refused(emulator, f"{name}.bin")
    seal(emulator)
    refused(emulator, f"{name}.bin", "not allowed")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1, "middle"])
def test_changed_byte_is_refused(emulator: Path, name: str, place: int | str) -> None:
    content = bytearray((emulator / name).read_bytes())
    content[len(content) // 2 if isinstance(place, str) else place] ^= 1
    (emulator / name).write_bytes(content)
    refused(emulator, str(emulator / name), "damaged or changed")


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).unlink()
    refused(emulator, f"lacks the file {name!r}")


@pytest.mark.parametrize("name", [name for name in FILES if name != "generation_config.json"])
def test_a_missing_required_file_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).unlink()
    seal(emulator)
    refused(emulator, str(emulator), "tensors" if name == WEIGHTS else f"has no {name}")


LOADS = ("auto_map", "quantization_config", "attn_implementation", "_attn_implementation")


@pytest.mark.parametrize("key", LOADS)
def test_key_of_the_config_is_refused(emulator: Path, key: str) -> None:
    edit(emulator / "config.json", lambda config: config.update({key: {"AutoModel": "x.Y"}}))
    seal(emulator)
    refused(emulator, str(emulator / "config.json"), f"{key}: is not allowed")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tokenizer_config.json", "auto_map"),
        ("tokenizer_config.json", "chat_template"),
        ("generation_config.json", "custom_generate"),
    ],
)
def test_key_of_a_companion_is_refused(emulator: Path, name: str, key: str) -> None:
    edit(emulator / name, lambda config: config.update({key: "{{ x }}"}))
    seal(emulator)
    refused(emulator, str(emulator / name), f"{key}: is not allowed")


CLIMBING = (
    "../x",
    "../../etc/passwd",
    "a/b",
    "/etc/passwd",
    ".",
    "..",
    "",
    "./config.json",
    "a\\b",
)


@pytest.mark.parametrize("name", [*CLIMBING, "config.json\x00", "\ud83d"], ids=ascii)
def test_path_in_the_manifest_is_refused(emulator: Path, name: str) -> None:
    (emulator.parent / "x").write_text("x")
    entry = {"sha256": file_digest(emulator.parent / "x"), "size": 1}
    edit(emulator / MANIFEST, lambda manifest: manifest["files"].update({name: entry}))
    refused(emulator, str(emulator / MANIFEST))


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_link_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).rename(emulator.parent / name)
    (emulator / name).symlink_to(emulator.parent / name)
    refused(emulator, "not a bundle" if name == MANIFEST else repr(str(emulator / name)))


@pytest.mark.parametrize("name", ["config.json", MANIFEST, "more"])
def test_folder_in_a_bundle_is_refused(emulator: Path, name: str) -> None:
    (emulator / name).unlink(missing_ok=True)
    (emulator / name).mkdir()
    refused(emulator, str(emulator))


def test_pipe_is_refused(emulator: Path) -> None:
    os.mkfifo(emulator / "pipe")
    refused(emulator, "pipe", "not a regular file")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "..", ".hidden", "a/b", "", "a\\b", "a\nb"]
)
def test_a_manifest_names_plain_files_only(emulator: Path, name: str) -> None:
    entry = {"sha256": "0" * 64, "size": 1}
    edit(emulator / "manifest.json", lambda m: m["files"].update({name: entry}))
    refused(emulator, "is not a valid manifest")


@pytest.mark.parametrize("section", ["normalizer", "pre_tokenizer", "post_processor", "decoder"])
@pytest.mark.parametrize(
    "part",
    [
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
        {"type": "Sequence", "normalizers": [{"type": "Unheard"}]},
        {"type": "Split", "pattern": {"Regex": "a" * 3000}},
        "Lowercase",
        {"type": ["Lowercase"]},
    ],
)
def test_component_of_no_known_tokenizer_is_refused(
    emulator: Path, section: str, part: object
) -> None:
    edit(emulator / "tokenizer.json", lambda t: t.update({section: part}))
    seal(emulator)
    refused(emulator, str(emulator / "tokenizer.json"), section)


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
BOMB = [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 40}] * 6


def add_tokens(tokenizer: dict[str, Any], *tokens: str) -> None:
    """Add tokens to a tokenizer.json, each with the id that the library gives it."""
    ends = dict.fromkeys(FLAGS, False)
    first = len(tokenizer["model"]["vocab"])
    new = [{"id": first + n, "content": each, **ends} for n, each in enumerate(tokens)]
    tokenizer["added_tokens"] += new


TOKENIZERS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "presence": (
        lambda t: add_tokens(t, *(f"<{n}>" for n in range(900)), "Kovacs"),
        "has the id",
    ),
    "bomb": (lambda t: t.update(normalizer={"type": "Sequence", "normalizers": BOMB}), "lengthen"),
    "dropout": (lambda t: t["model"].update(dropout=0.5), "model.dropout"),
    "event": (lambda t: t["model"].update(unk_token="\x1b[31m\noffsite-event {}"), "unk_token"),
    "padding": (lambda t: t.update(padding={"strategy": {"Fixed": 10**9}}), "padding"),
    "not a number": (lambda t: t["model"].update(dropout=float("nan")), "is not JSON"),
}


@pytest.mark.parametrize("attack", TOKENIZERS)
def test_a_tokenizer_that_is_a_trap_is_refused(emulator: Path, attack: str) -> None:
    change, said = TOKENIZERS[attack]
    edit(emulator / "tokenizer.json", change)
    seal(emulator)
    refused(emulator, str(emulator / "tokenizer.json"), said)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_key_that_stands_twice_is_refused(emulator: Path, name: str) -> None:
    """Python takes the last one of two; another reader may take the first."""
    path, twice = emulator / name, '{"version": "2.0", "version": "1.0", '
    path.write_text(path.read_text(encoding="utf-8").replace("{", twice, 1), encoding="utf-8")
    seal(emulator)
    refused(emulator, str(path), "a key stands twice")


def test_a_token_of_the_config_alone_is_refused(emulator: Path) -> None:
    edit(emulator / "tokenizer_config.json", lambda t: t.update(pad_token="Kovacs"))
    seal(emulator)
    refused(emulator, str(emulator / "tokenizer_config.json"), "pad_token: is not a token")


def retensor(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the tensors of a file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


NORM = "model.norm.weight"
TENSORS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "extra": (lambda t: t.update(more=np.zeros(3, np.float32)), "1 tensors too many"),
    "lacking": (lambda t: t.pop(NORM), f"lacks 1 tensors, among them {NORM!r}"),
    "longer": (lambda t: t.update({NORM: np.ones(33, np.float32)}), f"{NORM!r} is ((33,)"),
    "turned": (lambda t: t.update({NORM: np.ones((32, 1), np.float32)}), f"{NORM!r} is ((32, 1)"),
    "half": (lambda t: t.update({NORM: np.ones(32, np.float16)}), "'F16'"),
    "whole": (lambda t: t.update({NORM: np.ones(32, np.int64)}), "'I64'"),
    "of a dropped block": (
        lambda t: t.update({"model.layers.4.mlp.up_proj.weight": np.ones((48, 32), np.float32)}),
        "tensors too many",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_must_be_the_familys(emulator: Path, case: str) -> None:
    change, said = TENSORS[case]
    retensor(emulator / WEIGHTS, change)
    seal(emulator)
    refused(emulator, str(emulator), said)


def test_tensors_must_have_the_stated_dtype(emulator: Path) -> None:
    seal(emulator, dtype="bfloat16")
    refused(emulator, "must be", "'BF16'")


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}"])
def test_weights_must_be_safetensors(emulator: Path, content: bytes) -> None:
    (emulator / WEIGHTS).write_bytes(content)
    seal(emulator)
    refused(emulator, str(emulator))


def shards(folder: Path) -> None:
    """Cut the weights into two files, with an index."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    halves = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
    where: dict[str, str] = {}
    for number, half in enumerate(halves, 1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file(half, folder / name)
        where |= dict.fromkeys(half, name)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    seal(folder)
    open_emulator(folder)


INDEXES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another file": lambda i: i["weight_map"].update({NORM: "config.json"}),
    "a path": lambda i: i["weight_map"].update({NORM: "../../model-00001-of-00002.safetensors"}),
    "less": lambda i: i["weight_map"].pop(NORM),
    "more": lambda i: i["weight_map"].update(more="model-00001-of-00002.safetensors"),
    "another key": lambda i: i.update(auto_map={}),
    "no map": lambda i: i.update(weight_map=[]),
}


@pytest.mark.parametrize("case", INDEXES)
def test_a_wrong_index_is_refused(emulator: Path, case: str) -> None:
    shards(emulator)
    edit(emulator / f"{WEIGHTS}.index.json", INDEXES[case])
    seal(emulator)
    refused(emulator, f"{WEIGHTS}.index.json", "does not say where the tensors are")


def test_shards_need_an_index_and_no_tensor_twice(emulator: Path) -> None:
    shards(emulator)
    (emulator / f"{WEIGHTS}.index.json").unlink()
    seal(emulator)
    refused(emulator, "no model.safetensors.index.json")
    shutil.copy(
        emulator / "model-00001-of-00002.safetensors", emulator / "model-00003-of-00003.safetensors"
    )
    seal(emulator)
    refused(emulator, "repeats the tensor")


DEEP = "[" * 100_000
NO_JSON = ("", "{", "null", "[]", '"x"', "{} {}", DEEP, '{"a":' * 100_000, "1" * 5000, "\ufffe")


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: repr(text[:8]))
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_is_no_json_object_is_refused(emulator: Path, name: str, text: str) -> None:
    (emulator / name).write_text(text)
    seal(emulator)
    refused(emulator, str(emulator / name))


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: repr(text[:8]))
def test_malformed_manifest_is_refused(emulator: Path, text: str) -> None:
    (emulator / MANIFEST).write_text(text)
    refused(emulator, str(emulator / MANIFEST), "is not a valid manifest")


@pytest.mark.parametrize("name", ["config.json", MANIFEST, "generation_config.json"])
def test_huge_json_is_refused(emulator: Path, name: str) -> None:
    path = emulator / name
    path.write_text(path.read_text() + " " * (1 << 20))
    if name != MANIFEST:
        seal(emulator)
    refused(emulator, str(path), "is larger than")


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda m: m.update(format=3), "format"),
    "no maker": (lambda m: m.pop("madeBy"), "madeBy"),
    "maker that climbs": (lambda m: m.update(madeBy="../lab"), "madeBy"),
    "name with a line end": (lambda m: m.update(name="emulator\n"), "name"),
    "unknown field": (lambda m: m.update(code="x"), "code"),
    "unknown kind": (lambda m: m["facts"].update(kind="program"), "facts"),
    "unknown method": (lambda m: m["facts"].update(method="Mine"), "method"),
    "unknown parameter": (lambda m: m["facts"]["parameters"].update(width=2), "width"),
    "a parameter that is a location": (
        lambda m: m["facts"]["parameters"].update(calibration="c.txt"),
        "more than those of LayerDrop",
    ),
    "wrong parameter": (lambda m: m["facts"]["parameters"].update(blocks="all"), "blocks"),
    "no ends": (lambda m: m["facts"].update(bottom=0), "bottom"),
    "too many ends": (lambda m: m["facts"].update(bottom=4), "more end blocks"),
    "unknown dtype": (lambda m: m.update(dtype="int8"), "dtype"),
    "another architecture": (lambda m: m.update(architecture="GPT2LMHeadModel"), "architectures"),
    "digest": (lambda m: m["files"]["config.json"].update(sha256="x"), "sha256"),
    "size": (lambda m: m["files"]["config.json"].update(size=-1), "size"),
    "size as text": (lambda m: m["files"]["config.json"].update(size="7"), "size"),
    "no files": (lambda m: m.update(files={}), "is not in manifest.json"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifest_with_a_wrong_field_is_refused(emulator: Path, case: str) -> None:
    change, said = MANIFESTS[case]
    edit(emulator / MANIFEST, change)
    refused(emulator, str(emulator), said)


def test_bundle_without_a_manifest_is_refused(emulator: Path, adapter: Path) -> None:
    (emulator / MANIFEST).unlink()
    refused(emulator, "is not a bundle: it has no manifest.json")
    refused(adapter, "is an adapter, not an emulator")


def test_emulator_is_no_adapter(emulator: Path, record: EmulatorRecord) -> None:
    adapter_refused(emulator, record, "is an emulator, not an adapter")


def refact(**over: Any) -> Callable[[dict[str, Any]], object]:
    """Change the facts of a manifest."""
    return lambda manifest: manifest["facts"].update(over)


RETURNED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "of another bundle": (refact(answers=f"sha256:{'0' * 64}"), "was tuned in sha256:000"),
    "by another party": (lambda m: m.update(madeBy="clinic"), "made by clinic"),
    "another method": (refact(method="Blocks"), "Blocks/All is not allowed"),
    "another rank": (refact(rank=3), "must be"),
    "no rank": (refact(rank=0), "rank 0 is not allowed"),
    "huge rank": (refact(rank=65), "rank 65 is not allowed; at most 12"),
    "more than half of a weight's own": (refact(rank=13), "rank 13 is not allowed; at most 12"),
    "a head, which no language model has": (refact(outside=["head"]), "head outside the blocks"),
    "ends only": (refact(scope="Ends"), "tensors too many"),
    "whole blocks": (refact(method="Blocks", scope="Ends", rank=0), "lacks"),
    "targets that it exceeds": (refact(targets="MLP"), "tensors too many"),
    "targets that are none": (refact(targets="Norms"), "targets"),
    "targets of whole blocks": (
        refact(method="Blocks", scope="Ends", rank=0, targets="MLP"),
        "an adapter Blocks has no targets",
    ),
    "whole blocks of a rank": (refact(method="Blocks", scope="Ends"), "rank 2 is not allowed"),
}


@pytest.mark.parametrize("case", RETURNED)
def test_record_decides_what_an_adapter_may_say(
    adapter: Path, record: EmulatorRecord, case: str
) -> None:
    change, said = RETURNED[case]
    edit(adapter / MANIFEST, change)
    adapter_refused(adapter, record, names.ADAPTER, said)


def test_record_may_allow_a_tensor_outside_the_blocks(
    adapter: Path, record: EmulatorRecord
) -> None:
    head = {"head.weight": OutsideTensor(tensor="score.weight", shape=(2, 32))}
    allowing = record.model_copy(update={"outside": head})
    open_adapter(adapter, allowing)  # it may, and need not
    value = np.ones((2, 32), np.float32)
    retensor(adapter / ADAPTER, lambda t: t.update({"head.weight.change": value}))
    seal(adapter)
    adapter_refused(adapter, allowing, "1 tensors too many")
    edit(adapter / MANIFEST, refact(outside=["head"]))
    facts = open_adapter(adapter, allowing).facts
    assert isinstance(facts, AdapterFacts)
    assert facts.outside == ("head",)
    adapter_refused(adapter, record, "changes head outside the blocks; allowed is nothing")
    retensor(adapter / ADAPTER, lambda t: t.update({"head.weight.change": value[:1]}))
    seal(adapter)
    adapter_refused(adapter, allowing, "head.weight.change")


def test_manifest_of_the_first_format_is_read(emulator: Path, adapter: Path) -> None:
    edit(emulator / MANIFEST, lambda m: m.update(format=1))
    edit(emulator / MANIFEST, lambda m: m["facts"].pop("parameters"))
    facts = check_emulator(emulator).facts
    assert isinstance(facts, EmulatorFacts)
    assert (facts.method, facts.parameters) == ("LayerDrop", {})
    edit(adapter / MANIFEST, lambda m: m.update(format=1))
    edit(adapter / MANIFEST, lambda m: m["facts"].pop("outside"))
    assert read_manifest(adapter)[0].format == 1


def test_an_adapter_may_be_in_the_mlps_alone(adapter: Path, record: EmulatorRecord) -> None:
    def without(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if ".self_attn." in name]:
            del tensors[name]

    retensor(adapter / ADAPTER, without)
    seal(adapter)
    adapter_refused(adapter, record, "lacks")
    edit(adapter / MANIFEST, refact(targets="MLP"))
    facts = open_adapter(adapter, record).facts
    assert facts.wire()["targets"] == "MLP"


def test_record_may_allow_less(adapter: Path, record: EmulatorRecord) -> None:
    strict = record.model_copy(update={"allowed": (("LoRA", "Ends"),)})
    adapter_refused(adapter, strict, "LoRA/All is not allowed")
    adapter_refused(adapter, record.model_copy(update={"max_rank": 1}), "at most 1")


A = "blocks.0.mlp.up_proj.weight.lora_A"
B = "blocks.3.mlp.down_proj.weight.lora_B"


def number(value: float) -> Callable[[dict[str, Any]], object]:
    """Put one number into a tensor."""
    return lambda tensors: tensors[B].__setitem__((-1, -1), value)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "nan": (number(float("nan")), f"{B!r} holds a value that is not finite"),
    "infinity": (number(float("inf")), f"{B!r} holds a value that is not finite"),
    "minus infinity": (number(float("-inf")), f"{B!r} holds a value that is not finite"),
    "turned": (lambda t: t.update({A: t[A].T.copy()}), f"{A!r} is ((32, 2)"),
    "another rank": (lambda t: t.update({A: np.ones((3, 32), np.float32)}), f"{A!r} is ((3, 32)"),
    "half": (lambda t: t.update({A: t[A].astype(np.float16)}), "'F16'"),
    "double": (lambda t: t.update({A: t[A].astype(np.float64)}), "'F64'"),
    "missing": (lambda t: t.pop(B), f"lacks 1 tensors, among them {B!r}"),
    "another block": (lambda t: t.update({B.replace("3", "4"): t[B]}), "1 tensors too many"),
    "block twice": (lambda t: t.update({B.replace("3", "03"): t[B]}), "1 tensors too many"),
    "norm": (lambda t: t.update({"blocks.0.input_layernorm.weight.lora_A": t[A]}), "too many"),
    "head": (lambda t: t.update({"lm_head.weight": t[A]}), "1 tensors too many"),
    "empty": (lambda t: t.clear(), "lacks"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_tensors_of_an_adapter_must_be_the_records(
    adapter: Path, record: EmulatorRecord, case: str
) -> None:
    change, said = CHANGES[case]
    retensor(adapter / ADAPTER, change)
    seal(adapter)
    adapter_refused(adapter, record, str(adapter / ADAPTER), said)


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "model.safetensors"])
def test_adapter_holds_one_file(adapter: Path, record: EmulatorRecord, name: str) -> None:
    (adapter / name).write_bytes(b"{}")
    seal(adapter)
    adapter_refused(adapter, record, "not allowed", repr(name))


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a few bytes: flipped, cut off, or put in."""
    place, byte = draw(st.floats(0, 1)), draw(st.integers(1, 255))
    # most of what can go wrong is in the first bytes: lengths and names
    near = draw(st.booleans())

    def at(content: bytes) -> int:
        return int(place * (min(len(content), 64 if near else len(content)) - 1))

    def flip(content: bytes) -> bytes:
        i = at(content)
        return content[:i] + bytes([content[i] ^ byte]) + content[i + 1 :]

    change: Callable[[bytes], bytes] = draw(
        st.sampled_from(
            [
                flip,
                lambda content: content[: at(content)],
                lambda content: content + bytes([byte]),
                lambda content: content[: at(content)] + bytes([byte]) + content[at(content) :],
            ]
        )
    )
    return change


@cache
def sound_adapter(sent: Parties) -> Path:
    """Open the adapter once for all examples."""
    return sent.opened(names.ADAPTER)


# the same folder serves every example: each begins by filling it anew
@settings(max_examples=200)
@given(name=st.sampled_from([ADAPTER, MANIFEST]), damage=damages())
def test_no_damage_goes_unnoticed(
    sent: Parties,
    record: EmulatorRecord,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    damage: Callable[[bytes], bytes],
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(sound_adapter(sent), folder, dirs_exist_ok=True)
    before = open_adapter(folder, record)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    try:
        after = open_adapter(folder, record)
    except BundleError:
        return
    # white space, and names for people, may differ; what the adapter is may not
    assert name == MANIFEST
    assert (after.facts, after.files, after.made_by) == (before.facts, before.files, before.made_by)


@settings(max_examples=200)
@given(damage=damages())
def test_damage_that_the_manifest_covers_raises_nothing_else(
    sent: Parties,
    record: EmulatorRecord,
    tmp_path_factory: pytest.TempPathFactory,
    damage: Callable[[bytes], bytes],
) -> None:
    folder = tmp_path_factory.getbasetemp() / "covered"
    shutil.copytree(sound_adapter(sent), folder, dirs_exist_ok=True)
    sound = load_file(folder / ADAPTER)
    (folder / ADAPTER).write_bytes(damage((folder / ADAPTER).read_bytes()))
    seal(folder)
    try:
        open_adapter(folder, record)
    except BundleError:
        return
    # other numbers are the sender's right, other tensors are not
    found = load_file(folder / ADAPTER)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in sound.items()
    }
    assert all(np.isfinite(value).all() for value in found.values())
