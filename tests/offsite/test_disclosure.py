"""What emulators disclose together: the rule, and models under another name."""

import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from offsite.api import Limits
from offsite.bundle.disclosure import FullModel, remaining
from offsite.bundle.ledger_entry import DisclosureEntry, SentBlock
from offsite.bundle.sketch import Sketch, Sketcher, Sketches
from offsite.bundle.weights import digest_blocks
from offsite.emulator.layer_drop import Layout
from offsite.errors import DisclosureError
from offsite.wire import canonical, now
from offsite_testing.disclosed import COPY, DEPTH, MODEL, OTHER, check, entry, full_model, sketch
from offsite_testing.tiny import FAMILIES_UNDER_TEST, tiny_model


def uniform(bottom: int, top: int, keep: int, *before: DisclosureEntry) -> Layout:
    known = full_model().disclosed(before).blocks
    return Layout.uniform(DEPTH, bottom, top, keep, known)


def test_three_emulators_do_not_add_up_to_the_model() -> None:
    """14, 15 and 16 blocks of the 22 in the middle, evenly spread, are all of them."""
    first, second = (entry(uniform(4, 4, keep), str(keep)) for keep in (14, 15))
    with pytest.raises(DisclosureError, match=r"19 of 22 middle blocks would be disclosed, more"):
        check([first], Layout.uniform(DEPTH, 4, 4, 15))
    with pytest.raises(DisclosureError, match=r"22 of 22 middle blocks would be disclosed, more"):
        check([first, second], Layout.uniform(DEPTH, 4, 4, 16))


def test_ends_do_not_add_up_to_the_model() -> None:
    first = entry(uniform(14, 1, 12))
    with pytest.raises(DisclosureError, match=r"ends.bottom and ends.top: .* 28 of 30 blocks"):
        check([first], uniform(1, 14, 12, first))


def test_an_emulator_takes_what_was_sent_before_first() -> None:
    first = entry(uniform(4, 4, 14))
    second = entry(uniform(4, 4, 15, first))
    third = entry(uniform(4, 4, 16, first, second))
    check([first], uniform(4, 4, 15, first))
    check([first, second], uniform(4, 4, 16, first, second))
    assert full_model().disclosed([first, second, third]).blocks == {b.full for b in third.blocks}
    assert remaining(Limits(), DEPTH, full_model().disclosed([first, second, third])) == 1


@pytest.mark.parametrize("known", [(), range(30), (5, 6, 7), (4, 25), range(4, 10)])
def test_as_few_new_blocks_as_possible_are_chosen(known: Sequence[int]) -> None:
    for keep in range(1, 23):
        layout = Layout.uniform(DEPTH, 4, 4, keep, known)
        inner = layout.kept[layout.middle]
        assert len(layout.kept) == keep + 8
        assert list(layout.kept) == sorted(set(layout.kept))
        usable = set(known) & set(range(4, 26))
        assert len(usable & set(inner)) == min(keep, len(usable))


def test_a_block_is_counted_once_whether_it_was_an_end_or_not() -> None:
    """Ends of one emulator lie in the middle of another: the rest is what is hidden."""
    first = entry(uniform(7, 7, 12))
    known = full_model().disclosed([first])
    assert (len(known.ends), len(known.middle)) == (14, 12)
    check([first], uniform(1, 1, 24, first))  # adds nothing
    with pytest.raises(DisclosureError, match=r"25 of 28 middle blocks is more than"):
        check([first], uniform(1, 1, 25, first))
    with pytest.raises(DisclosureError, match=r"16 of 16 middle blocks would be disclosed"):
        check([first], Layout.uniform(DEPTH, 1, 1, 15))
    with pytest.raises(DisclosureError, match=r"16 of 30 blocks would be disclosed"):
        check([first], uniform(9, 5, 10, first))


def test_an_emulator_that_adds_nothing_is_always_allowed() -> None:
    first, strict = entry(uniform(4, 4, 16)), Limits(max_kept_blocks=0.1, max_end_blocks=0.1)
    check([first], uniform(4, 4, 16, first), limits=strict)
    with pytest.raises(DisclosureError, match=r"8 of 30 blocks is more than the share"):
        check([first], uniform(4, 4, 17, first), limits=strict)
    # a copy may hold other blocks under the same numbers
    with pytest.raises(DisclosureError, match="8 of 30 blocks"):
        check([first], uniform(4, 4, 16, first), full_model(COPY), strict)


def test_a_copy_counts_as_the_model() -> None:
    first = entry(Layout.uniform(DEPTH, 4, 4, 14))
    assert full_model(COPY).disclosed([first]) == full_model().disclosed([first])
    # by a record of an earlier version, which knows no weights
    known_by_name = first.model_copy(update={"blocks": with_weights(first, ())})
    assert full_model(COPY).disclosed([known_by_name]).blocks == set()
    assert full_model(MODEL).disclosed([known_by_name]).blocks == {b.full for b in first.blocks}
    assert full_model(OTHER, first=100).disclosed([first]).blocks == set()


def with_weights(of: DisclosureEntry, weights: tuple[str, ...]) -> tuple[SentBlock, ...]:
    return tuple(block.model_copy(update={"weights": weights}) for block in of.blocks)


def test_names_of_one_model_are_joined_by_what_was_sent_under_each() -> None:
    """The third name shares nothing with the first but the second."""
    first = entry(uniform(4, 4, 14))
    half = [
        b.model_copy(update={"weights": (sketch(f"w{b.full}"), sketch(f"v{b.full}"))})
        for b in first.blocks
    ]
    second = entry(uniform(4, 4, 14), "second", COPY).model_copy(update={"blocks": tuple(half)})
    third = FullModel(OTHER, DEPTH, {0: frozenset({sketch("v0")})})
    assert third.disclosed([first]).blocks == set()
    assert third.disclosed([first, second]).blocks == {b.full for b in first.blocks}


def test_a_model_is_known_by_blocks_that_were_not_sent() -> None:
    sent, dropped = entry(uniform(4, 4, 14)), sketch("dropped")
    full = FullModel(COPY, DEPTH, {0: frozenset({sketch("tuned")}), 9: frozenset({dropped})})
    assert full.disclosed([sent]).blocks == set()
    first = sent.model_copy(update={"others": (dropped,)})
    assert full.disclosed([first]).blocks == {b.full for b in first.blocks}
    assert DisclosureEntry.model_validate_json(canonical(first.wire())) == first


def test_an_entry_of_an_earlier_version_keeps_its_digest() -> None:
    assert "others" not in entry(uniform(4, 4, 14)).wire()


def test_a_block_is_known_in_a_model_of_another_depth() -> None:
    first = entry(uniform(4, 4, 14))
    longer = FullModel(COPY, DEPTH + 1, {i + 1: frozenset({sketch(f"w{i}")}) for i in range(DEPTH)})
    assert longer.disclosed([first]).blocks == {b.full + 1 for b in first.blocks}


def weights_of(folder: Path) -> list[list[Sketch]]:
    return [list(block.weights) for block in digest_blocks(folder)]


def like(one: list[list[Sketch]], other: list[list[Sketch]]) -> set[tuple[int, int]]:
    """Say which blocks of two models share a matrix."""
    return {
        (i, j)
        for i, mine in enumerate(one)
        for j, its in enumerate(other)
        if any(Sketches(mine).like(its))
    }


SAME_BLOCKS = {(i, i) for i in range(6)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model_type", FAMILIES_UNDER_TEST)
def test_blocks_are_known_in_copies(model_type: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Saved again, in shards, in another dtype, with other names of files and another config."""
    original = nn.Module.to(tiny_model(model_type), dtype)
    original.save_pretrained(tmp_path / "original")
    known = weights_of(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "renamed")
    config = json.loads((tmp_path / "renamed/config.json").read_bytes())
    (tmp_path / "renamed/config.json").write_text(json.dumps({**config, "bos_token_id": 5}))
    places = [tmp_path / "renamed"]
    for to in (torch.float32, torch.bfloat16, torch.float16):
        copy = nn.Module.to(nn.Module.to(tiny_model(model_type), dtype), to)
        copy.save_pretrained(tmp_path / str(to), max_shard_size="30KB")
        places.append(tmp_path / str(to))
    for place in places:
        found = weights_of(place)
        assert all(len(one) == len(other) for one, other in zip(known, found, strict=True))
        assert like(known, found) == SAME_BLOCKS, place
    tiny_model(model_type, seed=1).save_pretrained(tmp_path / "another")
    assert like(known, weights_of(tmp_path / "another")) == set()


def changed(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> list[list[Sketch]]:
    """Write a model of which every matrix was changed; give what is known of it."""
    model = tiny_model("llama")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = change(parameter.data)
    model.save_pretrained(folder)
    return weights_of(folder)


def in_eight_bits(values: torch.Tensor) -> torch.Tensor:
    step = values.abs().amax(1, keepdim=True) / 127
    return (values / step).round() * step


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.bfloat16().half().float(),
        in_eight_bits,
        lambda values: values + torch.randn_like(values) * values.std() * 0.3,
        lambda values: values * torch.linspace(0.5, 2, values.shape[1]),
        lambda values: values + torch.ones(len(values), 1) @ torch.randn(1, values.shape[1]),
    ],
    ids=["third dtype", "eight bits", "tuned", "scaled channels", "moved columns"],
)
def test_a_matrix_that_was_changed_is_known(
    change: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    original = changed(tmp_path / "original", lambda values: values)
    assert like(original, changed(tmp_path / "changed", change)) == SAME_BLOCKS


@pytest.mark.parametrize(
    "change",
    [
        torch.zeros_like,
        lambda values: torch.full_like(values, 0.02),
        lambda values: torch.eye(*values.shape),
        lambda values: values[:1].expand_as(values),
        lambda values: values[:, :1].expand_as(values),
        lambda values: values[:, :1] + values[:1],
        lambda values: values * float("nan"),
    ],
    ids=["zeros", "constant", "identity", "one row", "one column", "a sum of both", "not finite"],
)
def test_a_matrix_that_is_too_uniform_is_not_known(
    change: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    assert changed(tmp_path / "uniform", lambda values: change(values).contiguous()) == [[]] * 6


def test_a_matrix_that_is_too_small_is_not_known() -> None:
    generator = np.random.default_rng(0)
    for shape, known in (((8, 8), False), ((4, 512), False), ((8, 16), True), ((11, 11), True)):
        sketcher = Sketcher(*shape)
        sketcher.add(generator.normal(size=shape).astype(np.float32))
        assert (sketcher.sketch() is not None) == known, shape


def test_a_sketch_does_not_depend_on_how_much_is_read_at_once() -> None:
    values = np.random.default_rng(0).normal(size=(203, 77)).astype(np.float32)
    sketches = set[Sketch | None]()
    for rows in (1, 7, 50, 203):
        sketcher = Sketcher(*values.shape)
        for first in range(0, len(values), rows):
            sketcher.add(values[first : first + rows])
        sketches.add(sketcher.sketch())
    [*several] = sketches
    assert None not in several
    assert (
        min(e.cosine for e in Sketches(filter(None, several)).like(filter(None, several))) > 0.999
    )


def test_many_entries_are_looked_through_in_no_time() -> None:
    """A model of 7B has 224 matrices; here are 100 emulators, each of a copy that was tuned."""
    generator = np.random.default_rng(0)

    def noisy(values: np.ndarray[Any, Any]) -> Sketch:
        moved = values + generator.normal(size=256) * 5
        text = b64encode(np.clip(moved, -127, 127).astype(np.int8).tobytes()).decode()
        return f"4096x4096 {text}"

    means = generator.normal(size=(224, 256)) * 32
    full = FullModel(
        OTHER, 32, {i: frozenset(map(noisy, means[i * 7 : i * 7 + 7])) for i in range(32)}
    )
    entries = list[DisclosureEntry]()
    for _ in range(100):
        blocks = [
            SentBlock(full=i, end=False, weights=tuple(map(noisy, means[i * 7 : i * 7 + 7])))
            for i in range(20)
        ]
        others = tuple(map(noisy, means[140:]))
        told: Any = {"at": now(), "job": "", "bundle": "", "recipient": ""}
        entries.append(
            DisclosureEntry(**told, model=MODEL, depth=32, blocks=tuple(blocks), others=others)
        )
    began = process_time()
    assert full.disclosed(entries).blocks == set(range(20))
    assert process_time() - began < 10
