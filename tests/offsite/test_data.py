"""Data sets: what is refused and how it is named, and how rows become batches."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, normalizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from offsite.errors import DataError
from offsite.modality import IGNORED, Batch
from offsite.modality.text.examples import TextExample, collate, encode, pack, pair, shorten
from offsite.modality.text.tokenizer import encoded
from offsite.rows import DataFile, Row, read_rows
from offsite.training.data import Shuffled, batches
from offsite_testing.core import input_ids
from offsite_testing.models import WORDS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
END = TOKENIZER.eos_token_id
PAIR = {"prompt": "the quick", "completion": "fox"}
CHOICE = {**PAIR, "choices": ["fox", "dog"]}


def ids(text: str) -> list[int]:
    found: list[int] = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return found


def jsonl(folder: Path, *lines: Any) -> Path:
    """Write lines, of which strings stand as they are."""
    path = folder / "data.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


GOOD = [
    ({"text": "one"}, Row(text="one")),
    (PAIR, Row(prompt="the quick", completion="fox")),
    (CHOICE, Row(prompt="the quick", completion="fox", choices=("fox", "dog"))),
]


@pytest.mark.parametrize(("line", "row"), GOOD, ids=["text", "pair", "choices"])
def test_a_line_becomes_a_row(line: dict[str, Any], row: Row, tmp_path: Path) -> None:
    assert read_rows(DataFile(jsonl(tmp_path, line, "", "  ", line))) == [row, row]


@pytest.mark.parametrize("name", ["notes.txt", "NOTES.TXT", "notes.text", "notes.md"])
def test_prose_is_one_text(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("one\n\n{two}\n")
    assert read_rows(DataFile(tmp_path / name)) == [Row(text="one\n\n{two}\n")]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a.csv",
            "a.tsv",
            "a.CSV",
            "a.json",
            "a.arrow",
            "a.xlsx",
            "a.yaml",
            "a.html",
        ),
        *("a.jsonl.gz", "a.txt.zst", "a.jsonl.bak", "a", "0a1b", "jsonl", "a.jsonl~"),
    ],
)
def test_a_name_that_tells_no_format_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"text": "one"}\n')
    with pytest.raises(DataError, match="is unknown: use a name that ends in"):
        read_rows(DataFile(tmp_path / name))


@pytest.mark.parametrize("blob", ["0a1b", "0a1b.txt", "0a1b.csv"])
def test_the_name_that_its_user_gave_decides(blob: str, tmp_path: Path) -> None:
    (tmp_path / blob).write_text('{"text": "one"}\n')
    data = DataFile(tmp_path / blob, "s3://texts/train.jsonl")
    assert read_rows(data) == [Row(text="one")]
    (tmp_path / blob).write_text("{")
    with pytest.raises(DataError, match=r"^s3://texts/train\.jsonl:1 is not JSON"):
        read_rows(data)


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "one"}\n\n{"text": "two"}\n',
        '{"prompt": "one", "completion": "two"}',
        '\ufeff[{"text": "one"},\n {"text": "two"}]',
        '["one"]\r\n["two"]\r\n',
    ],
)
def test_json_that_is_named_prose_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt contains JSON"):
        read_rows(DataFile(tmp_path / "a.txt"))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(b'{"text": "one"}'), "is not UTF-8 text"),
        ("größe".encode("utf-16"), "is not UTF-8 text"),
        ("large".encode("utf-16-le"), "holds null characters"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git"),
        (b"/annex/objects/SHA256E-s9--0.jsonl\n", "a pointer of Git"),
    ],
    ids=["gzip", "utf-16", "utf-16 without a mark", "Git LFS", "git-annex"],
)
def test_a_file_that_is_not_text_is_an_error(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_rows(DataFile(tmp_path / name))


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\r\n{"text": "two"}\r\n')
    assert [row.text for row in read_rows(DataFile(tmp_path / "a.jsonl"))] == ["one", "two"]


BAD: dict[str, tuple[Any, str]] = {
    "malformed": ('{"text": "a"', "is not JSON"),
    "no-object": (["text"], "is not a JSON object"),
    "no-columns": ({}, r"has the columns \[\]; allowed are text, or prompt"),
    "column-twice": ('{"text": "a", "text": "b"}', "one object has a column twice"),
    "wrong-column": ({"txt": "a"}, r"has the columns \['txt'\]"),
    "surplus-column": ({"text": "a", "id": 1}, r"has the columns \['id', 'text'\]"),
    "prompt-alone": ({"prompt": "a"}, r"has the columns \['prompt'\]"),
    "empty-text": ({"text": ""}, 'column "text" is empty'),
    "number": ({"text": 3}, 'the column "text" is a number, not a string'),
    "null": ({**PAIR, "completion": None}, '"completion" is null, not a string'),
    "no-list": ({**CHOICE, "choices": "fox"}, "has choices that are not a list of strings"),
    "empty-choice": ({**CHOICE, "choices": ["fox", ""]}, "choices that are not a list of strings"),
    "one-choice": ({**CHOICE, "choices": ["fox"]}, "needs two different choices or more"),
    "same-choice": ({**CHOICE, "choices": ["fox", "fox"]}, "needs two different choices"),
    "other-choices": ({**CHOICE, "choices": ["cat", "dog"]}, "the completion among them"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_with_its_file(name: str, tmp_path: Path) -> None:
    line, message = BAD[name]
    path = jsonl(tmp_path, "", GOOD[0][0], line)
    with pytest.raises(DataError, match=rf"{path}:3:? .*{message}"):
        read_rows(DataFile(path))


@pytest.mark.parametrize("name", ["data.jsonl", "data.txt"])
@pytest.mark.parametrize("content", ["", " \n\n"])
def test_a_file_without_data_is_an_error(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name} is empty"):
        read_rows(DataFile(tmp_path / name))


@pytest.mark.parametrize("other", [PAIR, CHOICE])
def test_mixed_kinds_of_lines_are_an_error(other: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl mixes kinds of lines"):
        read_rows(DataFile(jsonl(tmp_path, {"text": "a"}, other)))


def test_choices_in_some_lines_only_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mixes kinds of lines"):
        read_rows(DataFile(jsonl(tmp_path, PAIR, CHOICE)))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    for name in ("absent.jsonl", "latin.txt"):
        with pytest.raises(DataError, match=name):
            read_rows(DataFile(tmp_path / name))


def test_texts_are_packed_and_each_is_closed() -> None:
    texts = ["the quick fox", "a lazy dog jumps", "wizards brew"]
    stream = [token for text in texts for token in (*ids(text), END)]
    packed = encode([Row(text=text) for text in texts], TOKENIZER, 4)
    assert packed.cut == 0
    assert len(stream) % 4 == 2
    assert [list(example.tokens) for example in packed.examples] == [
        stream[i : i + 4] for i in range(0, len(stream), 4)
    ]
    assert {example.start for example in packed.examples} == {1}


def test_a_text_shorter_than_a_block_is_one_block() -> None:
    (only,) = pack(["fox"], TOKENIZER, 512)
    assert only.tokens == (*ids("fox"), END)


def vanishing(**over: Any) -> PreTrainedTokenizerFast:
    """Make a tokenizer without an end that makes nothing of a text of `fox` and spaces."""
    raw = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    parts = [normalizers.Replace("fox", " "), normalizers.Strip()]
    raw.normalizer = normalizers.Sequence(parts)  # noqa: V101 - it reads it
    return PreTrainedTokenizerFast(tokenizer_object=raw, **over)


@pytest.mark.parametrize(("unknown", "expected"), [(None, 0), ("t", ids("t")[0])])
def test_every_text_has_a_token(unknown: str | None, expected: int) -> None:
    """Or a peer, whose tokenizer strips one name, learns from a failure whether it is there."""
    tokenizer = vanishing(unk_token=unknown)
    assert tokenizer(" fox")["input_ids"] == []
    assert encoded(tokenizer, " fox") == encoded(tokenizer, "", special=True) == [expected]


@pytest.mark.parametrize("text", ["fox", "t"])
def test_one_token_alone_is_taken_twice(text: str) -> None:
    (only,) = pack([text], vanishing(), 512)
    assert len(only.tokens) == 2


@pytest.mark.parametrize("length", [2, 3, 8])
@pytest.mark.parametrize("end", ["<end>", None])
def test_every_example_has_a_token_to_predict(end: str | None, length: int) -> None:
    tokenizer = vanishing(eos_token=end)
    texts = ("fox", "fox fox", "the", WORDS)
    rows = [Row(prompt=one, completion=other) for one in texts for other in texts]
    found = [
        *encode(rows, tokenizer, length).examples,
        *(shorten(pair(r.prompt, r.completion, tokenizer, end=False), length) for r in rows),
        *(example for text in texts for example in pack([text], tokenizer, length)),
    ]
    for example in found:
        assert 1 <= example.start < len(example.tokens) <= length
    assert (collate(found).targets != IGNORED).any(dim=1).all()


@pytest.mark.parametrize("completion", ["fox", " fox"])
def test_a_completion_starts_with_one_space(completion: str) -> None:
    example = pair("the quick", completion, TOKENIZER, end=True)
    context = ids("the quick")
    assert example.start == len(context)
    assert list(example.tokens) == [*context, *ids(" fox"), END]
    assert ids(" fox") != ids("fox")
    unended = pair("the quick", completion, TOKENIZER, end=False)
    assert unended.tokens == example.tokens[:-1]


def test_json_lines_go_by_several_names(tmp_path: Path) -> None:
    for name in ("a.ndjson", "a.JSONL"):
        (tmp_path / name).write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
        assert [row.text for row in read_rows(DataFile(tmp_path / name))] == ["one", "two"]


def test_every_block_begins_with_the_begin_token() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<begin>"})
    begin = [("<begin>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(  # noqa: V101 - it reads it
        single="<begin> $A", special_tokens=begin
    )
    found = pack([WORDS], tokenizer, 8)
    assert {example.tokens[0] for example in found} == {tokenizer.bos_token_id}
    rest = [token for example in found for token in example.tokens[1:]]
    assert rest == [*ids(WORDS), END][: 7 * len(found)]
    assert {len(example.tokens) for example in found} == {8}


def test_a_tokenizer_with_a_first_token_gets_it_in_front() -> None:
    options = {"bos_token": "!", "eos_token": "<end>", "add_bos_token": True}
    tokenizer = type(TOKENIZER)(tokenizer_object=TOKENIZER.backend_tokenizer, **options)
    example = pair("the", "fox", tokenizer, end=False)
    assert list(example.tokens) == [tokenizer.bos_token_id, *ids("the"), *ids(" fox")]
    assert example.start == 1 + len(ids("the"))


def test_long_prompts_are_cut_on_their_left_and_counted() -> None:
    short, long = Row(prompt="the", completion="fox"), Row(prompt=WORDS, completion="fox")
    found = encode([short, long, long], TOKENIZER, 8)
    assert found.cut == 2
    whole = [*ids(WORDS), *ids(" fox"), END]
    cut = found.examples[1]
    assert list(cut.tokens) == whole[-8:]
    assert list(cut.tokens[cut.start :]) == [*ids(" fox"), END]
    assert found.examples[0].tokens == (*ids("the"), *ids(" fox"), END)


def test_a_completion_that_fills_the_block_is_scored_from_its_second_token() -> None:
    rows = [Row(prompt="the", completion=WORDS), Row(prompt="the", completion="fox")]
    assert encode(rows, TOKENIZER, 8).examples[0].start == 1


def test_prompts_may_all_be_too_long() -> None:
    """How long they are, a peer's tokenizer says: a failure would be one that it can steer."""
    found = encode([Row(prompt=WORDS, completion="fox")] * 2, TOKENIZER, 8)
    assert found.cut == 2
    assert {example.tokens[-1] for example in found.examples} == {END}


def test_targets_are_the_tokens_that_follow() -> None:
    batch = collate([TextExample((5, 6, 7, 8), start=1), TextExample((9, 10, 11), start=2)])
    assert input_ids(batch).tolist() == [[5, 6, 7, 8], [9, 10, 11, 0]]
    none = IGNORED
    assert batch.targets.tolist() == [[6, 7, 8, none], [none, 11, none, none]]
    assert batch.mask.tolist() == [[True] * 4, [True, True, True, False]]


def examples(count: int = 90) -> list[TextExample]:
    """Make examples of many lengths, each with a first token of its own."""
    return [TextExample((100 + i, *range(3, 4 + i * 7 % 23))) for i in range(count)]


def firsts(found: list[Batch]) -> list[int]:
    return [int(token) for batch in found for token in input_ids(batch)[:, 0]]


def test_batches_hold_every_example_once_in_order() -> None:
    found = batches(examples(), collate, 8)
    assert firsts(found) == list(range(100, 190))
    assert [len(batch) for batch in found] == [8] * 11 + [2]


def test_an_epoch_holds_every_example_and_six_of_them_twice() -> None:
    shuffled = Shuffled(examples(), collate, 8, seed=1)
    assert shuffled.steps_per_epoch == 12
    epochs = [firsts([shuffled(step) for step in range(12 * e, 12 * e + 12)]) for e in (0, 1)]
    assert [len(epoch) for epoch in epochs] == [96, 96]
    assert [sorted(set(epoch)) for epoch in epochs] == [list(range(100, 190))] * 2
    assert epochs[0] != epochs[1]


def test_the_batch_of_a_step_is_decided_by_seed_and_step() -> None:
    forward = Shuffled(examples(), collate, 8, seed=1)
    backward, other = (
        Shuffled(examples(), collate, 8, seed=1),
        Shuffled(examples(), collate, 8, seed=2),
    )
    ahead = [forward(step) for step in range(30)]
    again = [backward(step) for step in reversed(range(30))][::-1]
    assert all(torch.equal(input_ids(a), input_ids(b)) for a, b in zip(ahead, again, strict=True))
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(ahead, again, strict=True))
    assert firsts(ahead) != firsts([other(step) for step in range(30)])


def test_little_of_a_batch_is_padding() -> None:
    shuffled = Shuffled(examples(), collate, 8, seed=1)
    found = [shuffled(step) for step in range(12)]
    size = sum(input_ids(batch).numel() for batch in found)
    assert size < 1.1 * sum(int(batch.mask.sum()) for batch in found)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"text": ' + "9" * 5000 + "}", id="endless number"),
        pytest.param("[" * 100_000, id="endless nesting"),
        pytest.param('{"text": "\\ud800"}', id="half a surrogate pair"),
    ],
)
def test_line_that_python_cannot_take_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        read_rows(DataFile(path))


def test_line_separators_inside_a_string_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one\u2028two"}\n', encoding="utf-8-sig")
    assert [row.text for row in read_rows(DataFile(path))] == ["one\u2028two"]
