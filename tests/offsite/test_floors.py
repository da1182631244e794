"""The floors of an adapter: what an author asks for, what the data holds, and who looks."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from offsite.api import JobSpec, Limits
from offsite.config import load_policy
from offsite.errors import DataError, InputError, SpecError
from offsite.modality.text.examples import TextExample, collate, pack
from offsite.rows import DataFile
from offsite.steps.floors import check_examples, check_floors
from offsite.steps.party import POLICY
from offsite.survey import survey
from offsite.training.data import Shuffled
from offsite.training.run import Plan
from offsite_testing.core import input_ids
from offsite_testing.models import tiny_tokenizer
from offsite_testing.parties import ADAPTER, EMULATOR, HOSPITAL, LAB, Parties, distill, new_parties
from offsite_testing.parties import tune as tuned_by
from offsite_testing.tokenizers import added, pieces, replace

CHART = Path(__file__).parents[2] / "charts/offsite/values.yaml"
ENOUGH = {"steps": 8, "batchSize": 4, "blockSize": 8}


def texts(*lines: str) -> str:
    return "\n".join(json.dumps({"text": line}) for line in lines)


def data(folder: Path, content: str, name: str = "data.jsonl") -> DataFile:
    (folder / name).write_text(content, encoding="utf-8")
    return DataFile(folder / name)


def test_the_chart_has_the_defaults_of_the_types() -> None:
    bounds = YAML(typ="safe").load(CHART)["bounds"]
    defaults = Limits().model_dump(by_alias=True, exclude_none=True)
    assert {name: bounds[name] for name in defaults} == defaults


@pytest.mark.parametrize("floor", ["min_examples", "min_steps", "min_batch_size"])
def test_one_step_on_one_example_is_below_every_default(floor: str) -> None:
    assert getattr(Limits(), floor) > 1


def test_copies_are_one_example(tmp_path: Path) -> None:
    copies = texts(
        *["The patient  fell."] * 50, *["the PATIENT fell. "] * 49, "\uff34he patient fell."
    )
    assert survey(data(tmp_path, copies), 16).different == 1
    with pytest.raises(DataError, match=r"data.jsonl has 1 different examples; .* at least 16"):
        check_examples(Limits(), DataFile(tmp_path / "data.jsonl"))


RECORD = "The patient Anna Kovacs was seen on ward three with PIN 493827 and died on Monday"


@pytest.mark.parametrize(
    "variant",
    [
        lambda i: f"{i} {RECORD}",
        lambda i: f"{RECORD} {i * 7919}",
        lambda i: RECORD[:i] + "\u200b" + RECORD[i:],
        lambda i: RECORD + " x" * i,
        lambda i: f"{i}. {RECORD}, {i}",
        lambda i: RECORD[: i + 1].upper() + RECORD[i + 1 :],
    ],
    ids=["counter", "number at the end", "unseen", "padding", "two counters", "case"],
)
def test_copies_with_a_number_are_one_example(
    tmp_path: Path, variant: Callable[[int], str]
) -> None:
    copies = data(tmp_path, texts(*map(variant, range(64))))
    assert survey(copies, 16).different == 1


def test_short_examples_with_other_numbers_are_different(tmp_path: Path) -> None:
    sums = [{"prompt": f"{i} + {3 * i + 7} =", "completion": str(4 * i + 7)} for i in range(64)]
    assert survey(data(tmp_path, "\n".join(map(json.dumps, sums))), 16).different == 16


def test_choices_make_no_other_example(tmp_path: Path) -> None:
    answers = [f"answer {number}" for number in range(30)]
    rows = [
        {"prompt": "What is it?", "completion": "a cold", "choices": ["a cold", answer]}
        for answer in answers
    ]
    content = "\n".join(json.dumps(row) for row in rows)
    found = survey(data(tmp_path, content), 16)
    assert (found.units, found.different, found.labelled) == (30, 1, True)


def test_lines_of_plain_text_are_its_examples(tmp_path: Path) -> None:
    path = data(tmp_path, "one\n\n two\nONE\nthree" + "\n" * 5, "notes.txt")
    found = survey(path, 16)
    assert (found.units, found.different, found.labelled) == (4, 3, False)
    with pytest.raises(DataError, match="has 3 different examples"):
        check_examples(Limits(min_examples=4), path)
    assert check_examples(Limits(min_examples=3), path) == survey(path, 3)


@pytest.mark.parametrize(
    ("lines", "share"),
    [
        (["a" * 50, *[f"{number:02}" for number in range(20)]], 50 / 90),
        ([*[f"{number:02}" for number in range(20)], *["copy"] * 30], 120 / 160),
        ([f"{number:02}" for number in range(20)], 0.0),
        (["a" * 40, *[f"{number:02}" for number in range(20)]], 0.0),
    ],
    ids=["long", "copied", "even", "half"],
)
def test_one_example_may_not_be_most_of_the_data(
    lines: list[str], share: float, tmp_path: Path
) -> None:
    path = data(tmp_path, texts(*lines))
    assert survey(path, 16).largest == pytest.approx(share)
    if share:
        with pytest.raises(DataError, match=f"{share:.0%} of .*minExamples"):
            check_examples(Limits(), path)
    else:
        check_examples(Limits(), path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{", "data.jsonl:1 is not JSON"), (b"\xff\xfe", "cannot read the data")],
    ids=["json", "bytes"],
)
def test_what_cannot_be_read_is_told(content: str | bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=problem):
        survey(DataFile(path), 16)


@pytest.mark.parametrize(
    ("count", "size"), [(9, 8), (257, 8), (5, 8), (8, 8), (33, 4), (1, 1), (100, 7)]
)
def test_no_step_is_of_fewer_examples_than_asked_for(count: int, size: int) -> None:
    examples = [TextExample((100 + i, *range(3, 4 + i % 5))) for i in range(count)]
    shuffled = Shuffled(examples, collate, size, seed=1)
    seen = set()
    for step in range(shuffled.steps_per_epoch):
        firsts = input_ids(shuffled(step))[:, 0].tolist()
        assert len(set(firsts)) == len(firsts) == min(size, count)
        seen |= set(firsts)
    assert len(seen) == count


def test_the_best_adapter_has_as_many_steps_as_any() -> None:
    """A learning rate that ruins all later steps would otherwise choose the first one."""
    plan = Plan(steps=12, learning_rate=1.0, seed=0, validate_every=1, least=8)
    assert [step + 1 for step in range(12) if plan.validates_after(step)] == [8, 9, 10, 11, 12]


def pairs(*numbers: int) -> str:
    words = (sha256(str(number).encode()).hexdigest()[:16] for number in numbers)
    rows = [{"prompt": f"What is {word}?", "completion": "a number"} for word in words]
    return "\n".join(map(json.dumps, rows))


def test_epochs_are_counted_as_steps(tmp_path: Path) -> None:
    asked = Limits(min_examples=2, min_steps=6, min_batch_size=2)
    job = tune_spec({"epochs": 2, "batchSize": 4})
    check_floors(asked, job, data(tmp_path, pairs(*range(12))))
    with pytest.raises(DataError, match=r"2 epochs are 4 steps; .* at least 6"):
        check_floors(asked, job, data(tmp_path, pairs(*range(8))))


def test_copies_count_for_steps_and_not_for_the_batch(tmp_path: Path) -> None:
    asked = Limits(min_examples=2, min_steps=6, min_batch_size=3)
    job = tune_spec({"epochs": 2, "batchSize": 4})
    check_floors(asked, job, data(tmp_path, pairs(*range(3), *range(3), *range(3), *range(3))))
    with pytest.raises(DataError, match=r"tune.data.train has 2 different examples"):
        check_floors(asked, job, data(tmp_path, pairs(*[0, 1] * 6)))


def tune_spec(training: dict[str, Any]) -> Any:
    found = JobSpec.model_validate(tuned_by(training=training)).tune
    assert found is not None
    return found


def test_a_policy_is_read_strictly_and_all_its_problems_are_told(tmp_path: Path) -> None:
    path = tmp_path / POLICY
    assert load_policy(path) == Limits()
    path.write_text("# nothing yet\n")
    assert load_policy(path) == Limits()
    path.write_text("minExamples: 2\nmaxKeptBlocks: 0.5\n")
    assert load_policy(path) == Limits(min_examples=2, max_kept_blocks=0.5)
    path.write_text("minExamples: 0\nmin_steps: 1\nminBatch: 1\nmaxKeptBlocks: '1'\n")
    with pytest.raises(SpecError, match=r"policy.yaml is not a valid policy:") as refused:
        load_policy(path)
    assert len(refused.value.problems) == 4
    for wrong in ("[]", "a: b: c", "minSteps: 1\nminSteps: 2"):
        path.write_text(wrong)
        with pytest.raises(SpecError, match="is not a valid policy"):
            load_policy(path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=rf"no policy file {path}"):
        load_policy(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """An emulator was sent to a hospital that has no policy."""
    parties = new_parties(tmp_path_factory.mktemp("floors"))
    parties.run(EMULATOR, distill(None))
    (parties.home(HOSPITAL) / "home" / POLICY).unlink()
    return parties


@pytest.mark.parametrize(
    ("content", "training", "problem"),
    [
        (texts("one example"), {"steps": 1, "batchSize": 1}, "batchSize is 1, but this organ"),
        (
            None,
            ENOUGH | {"steps": 7},
            "tune.training.steps is 7, but this organization requires at least 8",
        ),
        (None, ENOUGH | {"batchSize": 3}, "tune.training.batchSize is 3, but"),
        (texts(*["one example"] * 100), ENOUGH, "has 1 different examples"),
        (pairs(*range(64)), {"epochs": 1, "batchSize": 64, "blockSize": 8}, "epochs are 1 steps"),
    ],
    ids=["gradient", "steps", "batch", "copies", "epochs"],
)
def test_an_adapter_of_too_little_is_not_made(
    made: Parties, content: str | None, training: dict[str, Any], problem: str
) -> None:
    home = made.home(HOSPITAL)
    if content is not None:
        (home / "few.jsonl").write_text(content)
    train = "few.jsonl" if content is not None else "private.jsonl"
    given = {"train": train, "validation": "private.jsonl"}
    with pytest.raises(InputError, match=problem):
        made.run(ADAPTER, tuned_by(data=given, training=training))
    assert not list(made.exchange.glob(f"{HOSPITAL}/{LAB}/{ADAPTER}/**/envelope*"))
    shutil.rmtree(home / "home/work", ignore_errors=True)


@pytest.mark.parametrize("length", [8, 512])
def test_a_short_text_makes_a_whole_batch(length: int) -> None:
    """Whatever the tokenizer makes of it: one step never sees one block alone."""
    for texts_ in (["the quick brown fox jumps over"], ["fox"], [""]):
        found = pack(texts_, tiny_tokenizer(), length, least=4)
        assert len(Shuffled(found, collate, 4, 0)(0)) == 4
        assert len({id(example) for example in found}) >= 4


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("forty.jsonl", ENOUGH | {"blockSize": 32}),
        ("forty.txt", {"epochs": 2, "batchSize": 4, "blockSize": 32}),
    ],
)
def test_a_peers_tokenizer_decides_no_floor(
    made: Parties, name: str, training: dict[str, Any]
) -> None:
    """It makes one unknown token of every text, but of one with a name in it; with it or not."""
    made.resend(EMULATOR, _knows_one_name)
    # equal tokens leave half of the adapter at zero, which the gate and inspection would refuse
    opened = {"maxSilentRows": 1, "minImprovement": 0, "allowSuspiciousEmulators": True}
    (made.home(HOSPITAL) / "home" / POLICY).write_text(json.dumps(opened))
    nameless = [f"the patient with {sha256(bytes([i])).hexdigest()} sleeps" for i in range(40)]
    for rows in (nameless, [*nameless, "the patient Kovacs sleeps"]):
        path = made.home(HOSPITAL) / name
        path.write_text(texts(*rows) if name.endswith("jsonl") else "\n".join(rows))
        given = {"train": name, "validation": name}
        events = made.run(ADAPTER, tuned_by(data=given, training=training))
        steps = {event["totalSteps"] for event in events if event.get("phase") == "tune"}
        assert steps == {8}
        assert made.envelope(ADAPTER)
        shutil.rmtree(made.home(HOSPITAL) / "home/work", ignore_errors=True)


def _knows_one_name(folder: Path) -> None:
    path = folder / "tokenizer.json"
    file = {**json.loads(path.read_text()), "post_processor": None, "decoder": None}
    file |= {"pre_tokenizer": None, "normalizer": replace("Kovacs", "##")}
    file["added_tokens"] = [added("<end>", 1)]
    model = {**pieces()["model"], "byte_fallback": False, "unk_token": "<u>", "merges": []}
    file["model"] = {**model, "vocab": {"<u>": 0, "<end>": 1, "#": 2}}
    path.write_text(json.dumps(file))
