"""A job that cannot succeed fails before anything is computed, and names the user's file."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from offsite.config import load_job
from offsite.errors import DataError, DiskFullError, InputError, ModelError, OffsiteError
from offsite.events import Monitor
from offsite.layers import load, quiet
from offsite.stages.run import run_job
from offsite_testing.core import text_of
from offsite_testing.events import Wire, recording
from offsite_testing.models import WORDS
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    distill,
    new_parties,
    plug_in,
    tune,
)

TEXTS = [WORDS, "Hello World  1234", "a\n\n\tb dé日本 ", " lead", "", "<end> x <end>", "don't we"]
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "attn_factor": 0.8782488562869419,
}
"""As DeepSeek-R1-0528-Qwen3-8B has it: transformers reads `attention_factor`."""


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def refused(
    parties: Parties,
    kind: type[OffsiteError],
    said: str,
    spec: dict[str, Any],
    name: str = EMULATOR,
) -> None:
    """Expect that a job fails before anything is computed."""
    events, path = list[Wire](), parties.write(name, spec)
    owner = path.parent.name
    with pytest.raises(kind, match=said):
        run_job(
            load_job(path), parties.party(owner), parties.mailbox(owner), Monitor(recording(events))
        )
    phases = {event.get("phase") for event in events if event["event"] == "progress"}
    assert phases <= {"fetch and open", "inspect"}
    assert not [event for event in events if event["event"] == "metric"]


@pytest.mark.parametrize("model_type", ["qwen3", "llama"])
def test_rotary_keys_that_nothing_reads_are_left_out(tmp_path: Path, model_type: str) -> None:
    parties = new_parties(tmp_path, model_type)
    edit(parties.home(LAB) / "model/config.json", lambda c: c.update(rope_parameters=YARN))
    parties.run(EMULATOR, distill(None))
    sent = json.loads((parties.opened(EMULATOR) / "config.json").read_text())["rope_parameters"]
    assert sent == {key: value for key, value in YARN.items() if key != "attn_factor"}
    parties.run(ADAPTER, tune(1))


@pytest.mark.parametrize(
    "name",
    [
        *("CodeLlamaTokenizer", "CohereTokenizerFast", "RobertaTokenizer", "BartTokenizer"),
        *("GPT2TokenizerFast", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "GemmaTokenizer"),
    ],
)
def test_a_receiver_encodes_as_the_sender_does(tmp_path: Path, name: str) -> None:
    """Whatever class of transformers the model's tokenizer is of."""
    parties = new_parties(tmp_path)
    model = parties.home(LAB) / "model"
    known = {"bos_token": "<end>", "unk_token": "<end>", "tokenizer_class": name}
    edit(model / "tokenizer_config.json", lambda c: c.update(known))
    parties.run(EMULATOR, distill(None))
    ours = text_of(load(model)).tokenizer
    with quiet():
        theirs = AutoTokenizer.from_pretrained(parties.opened(EMULATOR))
    for special in (True, False):
        for text in TEXTS:
            options = {"add_special_tokens": special}
            assert ours(text, **options)["input_ids"] == theirs(text, **options)["input_ids"]
    assert (ours.bos_token_id, ours.eos_token_id) == (theirs.bos_token_id, theirs.eos_token_id)


REFUSED: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "activation": ("config.json", lambda c: c.update(hidden_act="laplace"), "hidden_act: must be"),
    "rope": (
        "config.json",
        lambda c: c.update(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4}),
        "rope_parameters.rope_type: must be one of",
    ),
    "errors": ("tokenizer_config.json", lambda c: c.update(errors="xmlcharrefreplace"), "errors:"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_receiver_would_refuse_is_told_of_the_users_own_file(
    tmp_path: Path, case: str
) -> None:
    parties = new_parties(tmp_path)
    name, change, said = REFUSED[case]
    path = parties.home(LAB) / "model" / name
    edit(path, change)
    refused(parties, ModelError, f"would be refused: {path} is not allowed: .*{said}", distill())


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"emulator": {"blocks": 5}}, "ends of 1 \\+ 1 leave 4 .*is 5; lower one of them"),
        ({"emulator": {"blocks": 4}}, "emulator.blocks: 4 of 4 middle blocks is more than"),
    ],
)
def test_a_layout_is_looked_at_before_the_model_is_loaded(
    tmp_path: Path, over: dict[str, Any], said: str
) -> None:
    parties = new_parties(tmp_path)
    (parties.home(LAB) / "model/model.safetensors").write_bytes(b"damaged")
    party = parties.party(LAB)
    limited = party.limits.model_copy(update={"max_kept_blocks": 0.9})
    job = load_job(parties.write(EMULATOR, distill(**over)))
    with pytest.raises(InputError, match=said):
        run_job(job, replace(party, limits=limited), parties.mailbox(LAB), Monitor(lambda e: None))


def test_healing_that_is_not_possible_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    parties = new_parties(tmp_path, "gemma3_text")
    (parties.home(LAB) / "model/model.safetensors").write_bytes(b"damaged")
    emulator = {"blocks": 2, "heal": True, "calibration": "corpus.txt"}
    refused(parties, ModelError, "has no projection to fold", distill(emulator=emulator))


@pytest.mark.parametrize("text", ["corpus.txt", "shared.jsonl"])
def test_a_text_is_read_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.delattr("offsite.stages.distill.load")
    parties = new_parties(tmp_path)
    (parties.home(LAB) / text).write_bytes(b"\xff\xfe\x00")
    refused(parties, DataError, f"{text}: it is not UTF-8", distill())


@pytest.mark.parametrize("name", ["data.train", "evaluate"])
def test_private_data_is_read_before_an_adapter_is_trained(tmp_path: Path, name: str) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    (parties.home(HOSPITAL) / "odd.jsonl").write_text('{"text": 1}\n', encoding="utf-8")
    data = {"train": "private.jsonl", "validation": "private.jsonl"}
    over = (
        {"evaluate": "odd.jsonl"} if name == "evaluate" else {"data": data | {"train": "odd.jsonl"}}
    )
    refused(parties, DataError, r"odd\.jsonl", tune(**over), ADAPTER)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab that was sent an adapter."""
    parties = new_parties(tmp_path_factory.mktemp("answered"))
    parties.run(EMULATOR, distill(None))
    parties.run(ADAPTER, tune(1))
    return parties


def test_an_export_that_cannot_be_written_is_told_first(answered: Parties) -> None:
    spec = plug_in(export={"to": "corpus.txt/below/export"})
    refused(answered, InputError, "cannot use .*corpus.txt", spec, PLUGGED)
    assert not list(answered.home(LAB).rglob(".*offsite-check"))


def test_an_export_leaves_no_probe(answered: Parties) -> None:
    spec = plug_in(model="elsewhere", export={"to": "far/away"})
    shutil.copytree(answered.home(LAB) / "model", answered.home(LAB) / "elsewhere")
    edit(answered.home(LAB) / "elsewhere/config.json", lambda c: c.update(rms_norm_eps=1e-3))
    refused(answered, ModelError, "is not the model that the emulator", spec, PLUGGED)
    assert not (answered.home(LAB) / "far").exists()
    assert not list(answered.home(LAB).rglob(".*offsite-check"))


@pytest.mark.parametrize(("name", "spec"), [(EMULATOR, distill()), (PLUGGED, plug_in())])
def test_a_disk_that_is_too_small_is_told_before_the_work(
    answered: Parties, monkeypatch: pytest.MonkeyPatch, name: str, spec: dict[str, Any]
) -> None:
    """No disk is filled for it: the system's answer is all that is made up."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 0))
    refused(answered, DiskFullError, "0 MiB.*free some space", spec | {"seed": 7}, name)
