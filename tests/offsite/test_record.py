"""The record of an emulator: every format of it is read, and what may be changed follows."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offsite.bundle import BlockRecord, EmulatorRecord, read_record
from offsite.bundle.changes import Place
from offsite.bundle.record import OutsideTensor
from offsite.bundle.selection import Selection
from offsite.errors import BundleError, UnknownFamilyError
from offsite.families import Targets
from offsite.sealing.envelope import GrantTerms
from offsite.wire import canonical

RECORDS = Path(__file__).parent / "resources/records"
WEIGHT, BIAS = "mlp.weight", "mlp.bias"
BLOCK: dict[str, Any] = {"tensors": {WEIGHT: (4, 6), BIAS: (4,)}, "linears": {WEIGHT: (6, 4)}}
FULL = {WEIGHT: (8, 6), BIAS: (8,)}
SOME = (1, 2, 5, 7)
PART = {WEIGHT: Selection(rows=SOME), BIAS: Selection(rows=SOME)}


def block(index: dict[str, Selection], **over: Any) -> BlockRecord:
    return BlockRecord(**{"full": 3, "end": False, **BLOCK, "index": index, **over})


def record(*blocks: BlockRecord, **over: Any) -> EmulatorRecord:
    told = {"digest": f"sha256:{'1' * 64}", "model_digest": f"sha256:{'2' * 64}"}
    parts = {"bundle": "emulator", "recipient": "hospital", "architecture": "X", **told}
    return EmulatorRecord(**{**parts, "blocks": blocks, **over})


@pytest.mark.parametrize("name", ["without-format.json", "format-1.json"])
def test_records_of_earlier_formats_are_read(name: str) -> None:
    content = (RECORDS / name).read_bytes()
    old, read = json.loads(content), read_record(content)
    assert read.format == 2
    assert [(each.full, each.end) for each in read.blocks] == [
        (0, True),
        (1, False),
        (4, False),
        (5, True),
    ]
    for each in read.blocks:
        assert {n: list(shape) for n, shape in each.tensors.items()} == old["tensors"]
        assert {n: list(sizes) for n, sizes in each.linears.items()} == old["linears"]
        assert each.index == {}
    assert (read.grant, read.max_rank, read.entry) == (
        GrantTerms(max_uses=3),
        8,
        f"sha256:{'3' * 64}",
    )
    assert (read.recipient, read.outside) == ("hospital", {})


def test_both_earlier_formats_say_the_same() -> None:
    one, other = (read_record(path.read_bytes()) for path in sorted(RECORDS.iterdir()))
    assert one == other


def test_a_record_is_read_as_it_was_written() -> None:
    head = {"head.weight": OutsideTensor(tensor="classifier.weight", shape=(2, 6))}
    made = record(block(PART), outside=head)
    assert made.wire()["format"] == 2
    assert read_record(canonical(made.wire())) == made


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "blocks": 3}',
        b'{"format": 3}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(ValidationError):
        read_record(content)


def test_a_record_of_a_later_format_is_refused() -> None:
    later = record(block({})).wire() | {"format": 3}
    with pytest.raises(ValidationError, match="format"):
        read_record(canonical(later))


def test_each_block_has_shapes_of_its_own() -> None:
    wide: dict[str, Any] = {"tensors": FULL, "linears": {WEIGHT: (6, 8)}}
    made = record(block({}, full=0, end=True, **wide), block(PART), block({}, full=5, **wide))
    assert made.expected("LoRA", "All", 2) == {
        "blocks.0.mlp.weight.lora_A": (2, 6),
        "blocks.0.mlp.weight.lora_B": (8, 2),
        "blocks.1.mlp.weight.lora_A": (2, 6),
        "blocks.1.mlp.weight.lora_B": (4, 2),
        "blocks.2.mlp.weight.lora_A": (2, 6),
        "blocks.2.mlp.weight.lora_B": (8, 2),
    }
    assert made.expected("Blocks", "Ends", 0) == {
        "blocks.0.mlp.weight.change": (8, 6),
        "blocks.0.mlp.bias.change": (8,),
    }
    # the rank of a change is bounded by the smallest block
    assert made.linears == {WEIGHT: (6, 4)}


def test_what_may_be_changed_is_the_selected_part() -> None:
    made = record(block({}, full=0, end=True), block(PART))
    assert made.reach() == {
        Place(0, WEIGHT): Selection(),
        Place(0, BIAS): Selection(),
        Place(3, WEIGHT): Selection(rows=SOME),
    }


def test_a_record_is_narrowed_to_the_targets_of_an_adapter() -> None:
    attention, mlp = "self_attn.k_proj.weight", "mlp.up_proj.weight"
    linears = {attention: (6, 2), mlp: (6, 8)}
    tensors: Any = {attention: (2, 6), mlp: (8, 6)}
    wide: Any = {"tensors": tensors, "linears": linears}
    blocks = (block({}, full=0, end=True, **wide), block({}, full=3, **wide))
    made = record(*blocks).model_copy(update={"architecture": "LlamaForCausalLM"})
    halves: tuple[tuple[Targets, str], ...] = (("MLP", mlp), ("Attention", attention))
    for targets, name in halves:
        narrowed = made.narrowed("LoRA", "Ends", targets)
        assert narrowed.reach() == {Place(0, name): Selection()}
        assert narrowed.linears == {name: linears[name]}
        assert narrowed.narrowed("LoRA", "Ends", targets) == narrowed
    assert made.narrowed("LoRA", "All", "All").linears == linears
    assert made.narrowed("Blocks", "Ends", "All").reach().keys() == {
        Place(0, attention),
        Place(0, mlp),
    }
    unknown = made.model_copy(update={"architecture": "X"})
    with pytest.raises(UnknownFamilyError, match="'X'"):
        unknown.narrowed("LoRA", "All", "MLP")


def test_what_may_be_changed_outside_the_blocks_is_named() -> None:
    head = {
        "head.weight": OutsideTensor(tensor="classifier.weight", shape=(2, 6)),
        "head.bias": OutsideTensor(tensor="classifier.bias", shape=(2,)),
    }
    made = record(block({}, end=True), outside=head)
    assert made.modules(0) == {"head"}
    assert made.reach()[Place(None, "classifier.bias")] == Selection()
    without = made.expected("LoRA", "Ends", 1)
    assert made.expected("LoRA", "Ends", 1, ("head",)).items() - without.items() == {
        ("head.weight.change", (2, 6)),
        ("head.bias.change", (2,)),
    }


@pytest.mark.parametrize("name", ["blocks.0.weight", "head", "Head.weight", "../head.weight"])
def test_names_outside_the_blocks_are_not_those_of_blocks(name: str) -> None:
    with pytest.raises(ValidationError, match="outside"):
        record(outside={name: OutsideTensor(tensor="x", shape=(1,))})


def test_parts_fit_the_full_block() -> None:
    block(PART).check_parts(FULL)
    block({}, tensors=FULL).check_parts(FULL)
    columns = Selection(rows=SOME, columns=(0, 5))
    block({**PART, WEIGHT: columns}, tensors={WEIGHT: (4, 2), BIAS: (4,)}).check_parts(FULL)


WRONG = {
    "no index": ({}, BLOCK["tensors"], "mlp.weight"),
    "a place that is not there": (
        {**PART, BIAS: Selection(rows=(1, 2, 5, 8))},
        BLOCK["tensors"],
        BIAS,
    ),
    "columns of a vector": ({**PART, BIAS: Selection(columns=SOME)}, BLOCK["tensors"], BIAS),
    "a tensor less": ({WEIGHT: PART[WEIGHT]}, {WEIGHT: (4, 6)}, BIAS),
    "a tensor more": (PART, {**BLOCK["tensors"], "more": (1,)}, "more"),
    "an index more": ({**PART, "more": Selection()}, BLOCK["tensors"], "more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_parts_that_do_not_fit_are_named(case: str) -> None:
    index, tensors, named = WRONG[case]
    with pytest.raises(BundleError, match=f"does not fit block 3 of the model: .*{named}"):
        block(index, tensors=tensors).check_parts(FULL)


def test_an_end_is_whole() -> None:
    with pytest.raises(ValidationError, match="never compressed"):
        block(PART, end=True)


@pytest.mark.parametrize("places", [(), (1, 1), (-1,)])
def test_places_are_distinct_and_not_below_zero(places: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        Selection(rows=places)
