"""Tasks of lm-eval for tests: a tiny mirror of the paper's data sets, and local tasks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

NOUNS = ("fox", "lazy dog", "strange potion", "wizards")
PROMPTS = ("the quick brown", "jumps over the", "seven wizards brew a", "pack my box with five")


def _numbered(build: Any) -> list[dict[str, Any]]:
    return [build(number, PROMPTS[number % 4], NOUNS[number % 4]) for number in range(6)]


def _labelled(number: int) -> dict[str, Any]:
    return {"text": list(NOUNS), "label": ["A", "B", "C", "D"][: len(NOUNS)]}


def _problems(number: int) -> str:
    asked = [
        {"question": "What  _  .", "answer": "AB"[number % 2], "options": list(NOUNS)},
        {"question": "Who jumps?", "answer": "ABCD"[number % 4], "options": list(NOUNS)},
    ]
    return str(asked)


MIRROR: Mapping[str, tuple[str, list[dict[str, Any]]]] = {
    "openbookqa": (
        "allenai/openbookqa/main/test/0000.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "question_stem": prompt,
                "choices": _labelled(n),
                "answerKey": "ABCD"[n % 4],
            }
        ),
    ),
    "piqa": (
        "baber/piqa/default/validation/0000.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "goal": prompt,
                "sol1": noun,
                "sol2": "the box",
                "label": n % 2,
            }
        ),
    ),
    "arc_easy": (
        "allenai/ai2_arc/ARC-Easy/test-00000-of-00001.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "question": prompt,
                "choices": _labelled(n),
                "answerKey": "DCBA"[n % 4],
            }
        ),
    ),
    "arc_challenge": (
        "allenai/ai2_arc/ARC-Challenge/test/0000.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "question": f"{prompt} {noun}",
                "choices": _labelled(n),
                "answerKey": "ABCD"[n % 4],
            }
        ),
    ),
    "hellaswag": (
        "Rowan/hellaswag/data/validation-00000-of-00001.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "activity_label": "Jumping",
                "ctx_a": f"{prompt} [title] box.",
                "ctx_b": "the fox",
                "endings": [f"jumps [step] over {each}" for each in NOUNS],
                "label": str(n % 4),
            }
        ),
    ),
    "sciq": (
        "allenai/sciq/default/test/0000.parquet",
        _numbered(
            lambda n, prompt, noun: {
                "support": f" {prompt} {noun}",
                "question": prompt,
                **{f"distractor{i}": NOUNS[(n + i) % 4] for i in (1, 2, 3)},
                "correct_answer": noun,
            }
        ),
    ),
    "webqs": (
        "stanfordnlp/web_questions/default/test/0000.parquet",
        _numbered(
            lambda n, prompt, noun: {"question": prompt, "answers": [noun, "the", noun + "s"]}
        ),
    ),
    "race": (
        "EleutherAI/race/high/race-test.parquet",
        _numbered(
            lambda n, prompt, noun: {"article": f"{prompt} {noun}.", "problems": _problems(n)}
        ),
    ),
    "wikitext": (
        "EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test.jsonl",
        _numbered(
            lambda n, prompt, noun: {"page": f" = {noun} = \n {prompt} , {noun} . " * (1 + 4 * n)}
        ),
    ),
}
"""By task: where its data is below the mirror, and the data."""


def write_mirror(folder: Path) -> Path:
    """Write the mirror of all data sets."""
    for path, rows in MIRROR.values():
        write_rows(folder / path, rows)
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write documents as Parquet, or as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


QUIZ = """\
task: quiz
dataset_path: json
dataset_kwargs: {data_files: {test: quiz.jsonl, train: quiz.jsonl}}
output_type: multiple_choice
training_split: train
test_split: test
num_fewshot: 2
description: "Questions.\\n\\n"
doc_to_text: "Question: {{question.strip()}}{% if hint %} ({{hint|upper}}){% endif %}\\nAnswer:"
doc_to_target: "{{answers.index(right)}}"
doc_to_choice: "{{answers}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
CLOZE = """\
task: cloze
dataset_path: parquet
dataset_kwargs: {data_files: {validation: data/cloze.parquet}}
output_type: loglikelihood
validation_split: validation
doc_to_text: "{{prompt}}"
doc_to_target: word
target_delimiter: ""
metric_list: [{metric: perplexity}, {metric: acc}]
"""
PROSE = """\
task: prose
dataset_path: json
dataset_kwargs: {data_files: {test: prose.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
"""


def write_tasks(folder: Path) -> Path:
    """Write local tasks of each kind, with their data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"quiz": QUIZ, "cloze": CLOZE, "prose": PROSE}.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    quiz = _numbered(
        lambda n, prompt, noun: {
            "question": f" {prompt} ",
            "hint": "box" if n % 2 else "",
            "answers": list(NOUNS[: 2 + n % 3]),
            "right": NOUNS[n % 2],
        }
    )
    cloze = _numbered(lambda n, prompt, noun: {"prompt": f"{prompt} ", "word": noun})
    prose = _numbered(lambda n, prompt, noun: {"text": f"{prompt} {noun}. " * (1 + 5 * n)})
    write_rows(folder / "quiz.jsonl", quiz)
    write_rows(folder / "data/cloze.parquet", cloze)
    write_rows(folder / "prose.jsonl", prose)
    return folder
