"""Recovery attacks: skill above chance, and what public data brings back of it."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from offsite.emulator.layer_drop import Layout
from offsite.errors import DataError
from offsite.layers import Loaded, blocks
from offsite.modality import Example
from offsite.modality.text.chance import unigram
from offsite.modality.text.examples import TextExample
from offsite.recovery import HOW, Attacker, Budget, Corpus, Held, Yardstick, recover
from offsite.release.capability import How, Subject
from offsite.rows import DataFile, Row
from offsite_testing.core import (
    batch_for,
    changed,
    dropped,
    loaded,
    logits,
    middle_names,
    silent,
    snapshot,
)
from offsite_testing.skilled import prose, skilled_model
from offsite_testing.tiny import DEPTH, tiny_model

BUDGET = Budget(steps=8, block_size=32)
KEPT = Layout.uniform(DEPTH, 1, 1, 1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    full = loaded(skilled_model())
    return Corpus.split(full.modality.encode([Row(text=prose(1200, 1))], 32).examples)


@pytest.fixture(scope="module")
def yardstick(corpus: Corpus) -> Yardstick:
    full = loaded(skilled_model())
    return Yardstick.of(
        full, {"corpus": full.modality.scoring(corpus.test)}, corpus.train, silent()
    )


def share(model: Loaded, yardstick: Yardstick) -> float:
    (found,) = yardstick.measure(model, silent(), "test")
    return found.share.value


def test_chance_is_the_entropy_of_single_tokens() -> None:
    examples = [TextExample((7, *[1, 2, 2, 3] * 64)), TextExample((7, *[3, 1, 2, 2] * 64))]
    counts = Counter(token for each in examples for token in each.tokens)
    entropy = -sum(n / counts.total() * math.log(n / counts.total()) for n in counts.values())
    scored = sum(each.weight for each in examples)
    assert -unigram(examples, examples).sum() / scored == pytest.approx(entropy, rel=0.03)


def test_a_token_that_the_corpus_lacks_is_unlikely_and_not_impossible() -> None:
    (found,) = unigram([TextExample((0, 9))], [TextExample((0, *[1] * 97))])
    assert found == pytest.approx(math.log(1 / 101))  # 98 tokens, and one more of each of three


def test_the_full_model_has_all_of_its_skill(yardstick: Yardstick) -> None:
    assert share(loaded(skilled_model()), yardstick) == 1


def test_a_model_without_skill_is_no_yardstick(corpus: Corpus) -> None:
    random = loaded(tiny_model("llama", vocab_size=288))
    benches = {"corpus": random.modality.scoring(corpus.test)}
    with pytest.raises(DataError, match="no better than chance on corpus"):
        Yardstick.of(random, benches, corpus.train, silent())
    assert share(random, Yardstick.of(loaded(skilled_model()), benches, corpus.train, silent())) < 0


@pytest.mark.parametrize("how", HOW[1:])
def test_an_attack_brings_skill_back_and_changes_no_emulator(
    how: How, corpus: Corpus, yardstick: Yardstick
) -> None:
    made = dropped(skilled_model(), KEPT)
    emulator, before = loaded(made.model), snapshot(made.model)
    recovered = recover(emulator, made.middle, corpus, how, BUDGET, silent())
    assert changed(before, made.model) == set()
    assert share(recovered, yardstick) > share(emulator, yardstick) + 0.01
    if how == "Middle":
        assert changed(before, recovered.model) == middle_names(made.model, KEPT)
    assert not any(parameter.requires_grad for parameter in recovered.model.parameters())


def test_without_training_the_emulator_is_what_is_recovered(corpus: Corpus) -> None:
    emulator = loaded(dropped(skilled_model(), KEPT).model)
    assert recover(emulator, (1,), corpus, "Nothing", BUDGET, silent()) is emulator


def test_the_union_of_emulators_knows_more_than_each(corpus: Corpus, tmp_path: Path) -> None:
    text = tmp_path / "corpus.txt"
    text.write_text(prose(1200, 1))
    full = loaded(skilled_model())
    attacker = Attacker.of(full, DataFile(text, text.name), {}, BUDGET, silent())
    made = dropped(full.model, KEPT)
    union = attacker.union(full, {0, 1, 2, 4, 5}, silent())
    assert len(blocks(union.model.model)) == 5
    alone = Held(loaded(made.model), made.middle)
    held: dict[Subject, Held] = {"Emulator": alone, "Union": union}
    one, all_of_them = attacker.measure(held, silent(), ["Nothing"])
    assert one.share < all_of_them.share < 1.01
    whole = attacker.union(full, range(DEPTH), silent())
    assert torch.equal(logits(whole.model.model), logits(full.model))


@pytest.mark.parametrize("sent", [{0, 4, 5}, {0, 1, 5}, {0, 3, 5}])
def test_a_union_is_a_model_whichever_blocks_were_sent(sent: set[int], tmp_path: Path) -> None:
    text = tmp_path / "corpus.txt"
    text.write_text(prose(1200, 1))
    full = loaded(skilled_model())
    attacker = Attacker.of(full, DataFile(text, text.name), {}, BUDGET, silent())
    union = attacker.union(full, sent, silent())
    assert len(blocks(union.model.model)) == len(sent)
    assert logits(union.model.model, batch_for(full.model).inputs).isfinite().all()


def test_a_model_without_a_head_is_measured_with_a_probe(tmp_path: Path) -> None:
    full = loaded(tiny_model("vit", num_labels=0))
    for shade, label in enumerate(("dark", "grey", "light")):
        (tmp_path / "public" / label).mkdir(parents=True)
        for index in range(40):
            grey = 100 * shade + index
            image = Image.new("RGB", (20, 20), (grey, grey, grey))
            image.save(tmp_path / "public" / label / f"{index}.png")
    data = DataFile(tmp_path / "public", "public/")
    attacker = Attacker.of(full, data, {}, Budget(steps=4), silent())
    assert len(attacker.classes) == 3
    made = dropped(full.model, KEPT)
    found = attacker.measure({"Emulator": Held(loaded(made.model), made.middle)}, silent())
    assert {each.metric for each in found} == {"accuracy"}
    assert all(0 <= each.value <= 1 for each in found if each.value is not None)


def test_parts_of_a_corpus_are_disjoint_and_it_must_not_be_small(corpus: Corpus) -> None:
    parts = [corpus.train, corpus.validation, corpus.test]
    every: list[Example] = [example for part in parts for example in part]
    assert len({id(example) for example in every}) == len(every)
    assert Corpus.split(every).test != ()
    with pytest.raises(DataError, match="has 19 examples"):
        Corpus.split(every[:19])
