"""Scores are those that anybody would compute with transformers alone."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from offsite.events import Monitor
from offsite.layers import inference
from offsite.modality import Benchmark, Score
from offsite.modality.text.examples import TextExample
from offsite.modality.text.scoring import Choices, Perplexity, benchmark, perplexity
from offsite.rows import Row
from offsite.training.evaluate import mean_loss, score
from offsite_testing.core import each_text_case, each_text_family, loaded, silent, some_tokens
from offsite_testing.events import Wire, recording
from offsite_testing.models import WORDS, tiny_tokenizer
from offsite_testing.tiny import tiny_model

TOKENIZER = tiny_tokenizer()
NOUNS = ["fox", "lazy dog", "strange potion", "wizards"]
QUESTIONS = [
    Row(prompt=prompt, completion=NOUNS[number % 4], choices=tuple(NOUNS))
    for number, prompt in enumerate(["the quick brown", "over the", "a", "seven", "brew", "jumps"])
]


def model_of(name: str, **over: Any) -> PreTrainedModel:
    return tiny_model(name, vocab_size=288, **over)


def summed(model: PreTrainedModel, context: list[int], answer: list[int]) -> float:
    """Sum up the log-probabilities of an answer, one token after the other."""
    ids = torch.tensor([[*context, *answer]])
    with inference():
        logits = model(input_ids=ids, use_cache=False).logits[0].double()
    scores = logits.log_softmax(-1)
    return sum(float(scores[i - 1, ids[0, i]]) for i in range(len(context), ids.shape[1]))


def scored(model: PreTrainedModel, bench: Benchmark) -> Score:
    """Score a model by the one metric of a benchmark."""
    (found,) = score(loaded(model), bench, silent(), "x")
    return found


@each_text_case
def test_perplexity_is_that_of_transformers(name: str, over: dict[str, Any]) -> None:
    model, tokens = tiny_model(name, **over), some_tokens(rows=5, length=20)
    bench = Perplexity(tuple(TextExample(tuple(row)) for row in tokens.tolist()), cut=0)
    with inference():
        loss = float(model(input_ids=tokens, labels=tokens).loss)
    found = scored(model, bench)
    assert found.value == pytest.approx(math.exp(loss), rel=5e-3)
    assert found.metric == "perplexity"
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


@each_text_family
def test_padding_and_prompts_count_for_nothing(name: str) -> None:
    model = tiny_model(name)
    rows = [tuple(row) for row in some_tokens(rows=6, length=24).tolist()]
    examples = [TextExample(row[: 24 - 3 * i], start=1 + i) for i, row in enumerate(rows)]
    total, count = 0.0, 0
    for example in examples:
        tokens = list(example.tokens)
        total -= summed(model, tokens[: example.start], tokens[example.start :])
        count += len(example.tokens) - example.start
    found = mean_loss(loaded(model), examples, silent())
    assert found == pytest.approx(total / count, rel=2e-3)


def test_text_is_scored_in_blocks() -> None:
    bench = benchmark([Row(text=WORDS), Row(text=WORDS)], TOKENIZER, 16)
    assert {len(example.tokens) for example in bench.examples} == {16}
    assert isinstance(bench, Perplexity)
    assert bench.cut == 0


def test_prompts_are_scored_on_their_completion() -> None:
    rows = [Row(prompt=WORDS, completion="fox"), Row(prompt="the", completion="dog")]
    model, bench = model_of("llama"), benchmark(rows, TOKENIZER, 16)
    assert bench.cut == 1
    tokens = [(list(e.tokens[: e.start]), list(e.tokens[e.start :])) for e in bench.examples]
    assert all(TOKENIZER.decode(answer) in {" fox<end>", " dog<end>"} for _, answer in tokens)
    total = -sum(summed(model, *each) for each in tokens)
    expected = math.exp(total / sum(len(answer) for _, answer in tokens))
    found = scored(model, bench)
    assert found.value == pytest.approx(expected, rel=5e-3)


@each_text_family
def test_accuracy_is_that_of_brute_force(name: str) -> None:
    model, picked = model_of(name), []
    for row in QUESTIONS:
        context = TOKENIZER(row.prompt)["input_ids"]
        answers = [TOKENIZER(f" {choice}")["input_ids"] for choice in row.choices]
        likely = [summed(model, context, answer) for answer in answers]
        picked.append(row.choices[likely.index(max(likely))])
    # whoever is asked for what the model picks anyway finds that it is always right
    for answers, accuracy in ((picked, 1.0), ([NOUNS[NOUNS.index(p) - 1] for p in picked], 0.0)):
        rows = [
            Row(prompt=row.prompt, completion=answer, choices=row.choices)
            for row, answer in zip(QUESTIONS, answers, strict=True)
        ]
        bench = benchmark(rows, TOKENIZER, 64)
        found = scored(model, bench)
        assert (found.metric, found.value) == ("accuracy", accuracy)


def indifferent() -> PreTrainedModel:
    """Make a model to which every token is equally likely."""
    model = model_of("llama", tie_word_embeddings=False)
    nn.init.zeros_(model.get_output_embeddings().weight)
    return model


def test_an_indifferent_model_has_the_vocabulary_as_perplexity() -> None:
    bench = benchmark([Row(text=WORDS)], TOKENIZER, 32)
    assert scored(indifferent(), bench).value == pytest.approx(288, rel=1e-5)


def test_an_indifferent_model_picks_the_answer_of_fewest_tokens() -> None:
    choices = ("the", "the the", "the the the")
    rows = [
        Row(prompt="a", completion=c, choices=order)
        for c, order in (
            ("the", choices),
            ("the", choices[::-1]),
            ("the the", choices),
            ("the the the", choices),
        )
    ]
    found = scored(indifferent(), benchmark(rows, TOKENIZER, 32))
    assert found.value == 0.5
    # Wilson's interval for 2 of 4 (Newcombe 1998, method 3)
    assert found.interval == pytest.approx((0.1500, 0.8500), abs=1e-4)


def test_questions_may_have_different_numbers_of_choices() -> None:
    rows = [
        Row(prompt="a", completion="the", choices=("the the", "the")),
        Row(prompt="a", completion="the", choices=("the the", "the the the", "the")),
        Row(prompt="a", completion="the the", choices=("the", "the the")),
    ]
    bench = benchmark(rows, TOKENIZER, 32)
    assert isinstance(bench, Choices)
    assert (bench.counts, bench.answers) == ((2, 3, 2), (1, 2, 1))
    assert scored(indifferent(), bench).value == pytest.approx(2 / 3)


def test_questions_that_are_all_too_long_are_cut() -> None:
    row = Row(prompt=WORDS, completion="fox", choices=("fox", "dog"))
    bench = benchmark([row], TOKENIZER, 8)
    assert bench.cut == 1
    assert {len(example.tokens) for example in bench.examples} == {8}


def test_examples_without_a_token_to_predict_have_no_loss() -> None:
    assert (
        mean_loss(
            loaded(indifferent()), [TextExample((1,)), TextExample((1, 2), start=2)], silent()
        )
        == 0
    )


def test_a_huge_loss_is_an_infinite_perplexity() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(17.2)) == pytest.approx(17.2)
    assert perplexity(5000.0) == math.inf


def test_progress_is_told_under_the_given_phase() -> None:
    events: list[Wire] = []
    bench = benchmark([Row(text=WORDS)], TOKENIZER, 16)
    score(loaded(indifferent()), bench, Monitor(recording(events)), "weigh")
    assert events[-1]["phase"] == "weigh"
    assert events[-1]["percent"] == 100.0
