"""What a stage needs, from shapes alone: sizes against real models, and what makes a job fit."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from offsite.api import JobSpec, Runtime
from offsite.bundle import EmulatorFacts, write_manifest
from offsite.config import parse_job
from offsite.errors import ModelError
from offsite.families import FAMILIES, Family
from offsite.rows import DataFile
from offsite.sizing import (
    Data,
    Limit,
    Machine,
    Needs,
    Subject,
    count_examples,
    count_positions,
    explained,
    needs_of,
    remedies_for,
    subject_in,
)
from offsite.sizing.amounts import amount_of, bytes_of, request_of
from offsite.sizing.shape import Shape
from offsite_testing.parties import HEAD
from offsite_testing.tiny import sent_config

_LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
"""The shape of a model of 6.7 billion parameters."""
_DATA = {"train": "train.jsonl", "validation": "validation.jsonl"}


def job(stage: str, **section: Any) -> JobSpec:
    name = {"Distill": "distill", "Tune": "tune", "PlugIn": "plugIn"}[stage]
    rest = section.pop("resources", {})
    spec = {"stage": stage, "peer": "peer", name: section, "resources": rest}
    return parse_job({**HEAD, "metadata": {"name": "job"}, "spec": spec}, source="test").spec


def tune(**training: Any) -> JobSpec:
    return job("Tune", bundle="emulator", data=_DATA, training={"steps": 10, **training})


def needs(spec: JobSpec, machine: Machine | None = None, depth: int = 32) -> Needs:
    subject = Subject(shape=Shape.of(_LLAMA).resized(depth))
    return needs_of(spec, subject, machine or Machine.of(spec.resources), Data())


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.model_type)
def test_a_shape_counts_every_number_of_its_model(row: Family) -> None:
    config = sent_config(row)
    assert Shape.of(config).numbers == sum(map(prod, row.tensors(config).values()))


def test_a_model_of_seven_billion_is_one() -> None:
    shape = Shape.of(_LLAMA)
    assert shape.numbers == 6_738_415_616
    assert shape.size == 2 * shape.numbers


def test_a_config_without_a_size_is_refused() -> None:
    with pytest.raises(ModelError, match="hidden_size"):
        Shape.of({key: value for key, value in _LLAMA.items() if key != "hidden_size"})


def test_what_saves_memory_is_known_to() -> None:
    usual = needs(tune()).peak
    for less in (
        needs(tune(gradientCheckpointing=True)),
        needs(tune(batchSize=2)),
        needs(tune(blockSize=128)),
        needs(tune(), Machine(workers=4, sharded=True)),
        needs(tune(), depth=20),
    ):
        assert less.peak < usual


def test_checkpointing_costs_time() -> None:
    def time(spec: JobSpec) -> float:
        return sum(phase.flops for phase in needs(spec).phases)

    assert time(tune(gradientCheckpointing=True)) > 1.3 * time(tune())


def test_a_model_owners_stage_without_training_needs_no_more_for_more_blocks() -> None:
    emulator = {"blocks": 4, "calibration": "corpus.txt"}
    for spec in (
        job("Distill", model="model", emulator=emulator),
        job("PlugIn", model="model", adapter="adapter"),
    ):
        few, many = needs(spec, depth=16).peak, needs(spec, depth=80).peak
        assert many < 1.1 * few


def test_a_gpu_holds_what_is_computed() -> None:
    found = needs(tune(), Machine(gpu=True))
    assert found.device_peak > found.peak - (8 << 30)
    assert "activations" in found.largest.device


def test_what_does_not_fit_is_said_with_what_makes_it_fit() -> None:
    limit = Limit(memory=bytes_of("20Gi"), what="spec.resources.memoryPerWorker")
    found, message = explained(tune(), needs, limit)
    assert not limit.fits(found)
    assert "does not fit into the 20.0 GiB of spec.resources.memoryPerWorker" in message
    assert "tune.training.gradientCheckpointing: true" in message
    assert message.endswith(f"resources.memoryPerWorker: {request_of(found.peak)}")


def test_every_remedy_makes_the_job_fit() -> None:
    limit = Limit(memory=bytes_of("24Gi"), what="this machine")
    found = remedies_for(tune(), needs, limit.fits)
    assert len(found) > 1
    assert all(limit.fits(each.needs) for each in found)


def test_remedies_are_combined_where_none_suffices_alone() -> None:
    least = needs(tune(gradientCheckpointing=True, batchSize=1, blockSize=128))
    limit = Limit(memory=least.peak, what="this machine")
    alone = tune().model_copy(update={"runtime": Runtime(engine="Job")})
    (found,) = remedies_for(alone, needs, limit.fits)
    assert len(found.changes) > 1
    assert limit.fits(found.needs)


def test_an_opened_emulator_says_how_many_blocks_are_ends(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_LLAMA))
    facts = EmulatorFacts(bottom=3, top=1, healed=True, distilled_steps=0)
    parties = {"made_by": "lab", "made_for": "hospital"}
    kind = {"architecture": "LlamaForCausalLM", "dtype": "bfloat16"}
    write_manifest(tmp_path, name="emulator", facts=facts, **parties, **kind)
    found = subject_in(tmp_path)
    assert (found.bottom, found.top, found.emulator) == (3, 1, True)


def test_the_dtype_is_that_of_the_config_where_there_are_no_weights(tmp_path: Path) -> None:
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        (tmp_path / "config.json").write_text(json.dumps({**_LLAMA, "dtype": dtype}))
        assert subject_in(tmp_path / "config.json").shape.number == size


def test_data_is_counted_without_a_tokenizer(tmp_path: Path) -> None:
    shape = Shape.of(_LLAMA)
    rows = DataFile(tmp_path / "rows.jsonl")
    rows.path.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    prose = DataFile(tmp_path / "prose.txt")
    prose.path.write_text("word " * 1600)
    assert count_examples(rows, shape, 512) == 2
    assert count_examples(prose, shape, 512) == 3
    assert count_positions(prose, shape) == 2000


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        subject_in(tmp_path)


@pytest.mark.parametrize(
    ("written", "size"), [("4Gi", 4 << 30), ("1.5G", 1_500_000_000), ("512Mi", 512 << 20)]
)
def test_amounts_are_read_as_kubernetes_does(written: str, size: int) -> None:
    assert bytes_of(written) == size


def test_amounts_are_written_for_people() -> None:
    assert [amount_of(3 << 30), amount_of(100 << 20)] == ["3.0 GiB", "100 MiB"]
    with pytest.raises(ValueError, match="16Gi"):
        bytes_of("much")
