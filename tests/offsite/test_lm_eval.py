"""Tasks of lm-eval give the figures that lm-eval gives with its own model for transformers."""

import math
import os
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from offsite.errors import DataError
from offsite.harness import TaskFolder
from offsite.harness.published import PUBLISHED
from offsite.modality import Score
from offsite.modality.text.requests import rolled
from offsite.modality.text.tasks import TaskBenchmark, task_benchmarks
from offsite.modality.uncertainty import mean
from offsite.training.evaluate import examined
from offsite_testing.core import loaded, silent, text_of
from offsite_testing.models import WORDS, tiny_tokenizer
from offsite_testing.parties import EMULATOR, LAB, distill, new_parties
from offsite_testing.tasks import MIRROR, write_mirror, write_rows, write_tasks
from offsite_testing.tiny import tiny_model

CONTEXT = 64
LOCAL = ("quiz", "cloze", "prose")


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(3)
    return tiny_model("llama", vocab_size=288, max_position_embeddings=CONTEXT)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mirror(tmp_path_factory.mktemp("mirror"))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def benchmarks(model: PreTrainedModel, folder: Path, names: Sequence[str]) -> list[TaskBenchmark]:
    sources = TaskFolder(folder, f"{folder}/", tuple(names)).read()
    return list(text_of(loaded(model)).tasks(sources))


def scored(model: PreTrainedModel, bench: TaskBenchmark) -> Sequence[Score]:
    return bench.scores(examined(loaded(model), bench, silent(), "x"))


def of_lm_eval(model: PreTrainedModel, tasks: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Score a model by lm-eval's own `evaluate` and `HFLM`."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tiny_tokenizer(), batch_size=4, max_length=CONTEXT - 1)
    found = lm_eval.evaluate(lm, {"tasks": tasks}, bootstrap_iters=0)
    return {
        task: {name.partition(",")[0]: value for name, value in metrics.items()}
        for task, metrics in found["results"].items()
    }


def published(name: str, mirror: Path, cache: Path) -> Any:
    """Load a task as lm-eval does, from its own file; only its data is ours."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent / PUBLISHED[name].folder
    manager = lm_eval.tasks.TaskManager(include_path=folder, include_defaults=False)
    path = mirror / MIRROR[name][0]
    absent = {"training_split", "validation_split", "test_split"} - {
        PUBLISHED[name].split + "_split"
    }
    config = {
        "dataset_path": "parquet" if path.suffix == ".parquet" else "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {PUBLISHED[name].split: str(path)},
            "cache_dir": str(cache),
        },
        **dict.fromkeys(absent),
    }
    return manager.load([{"group": "all", "task": [{"task": name, **config}]}])["tasks"][name]


def check_equal(found: Sequence[Score], expected: dict[str, float], task: str) -> None:
    for score in found:
        theirs = expected[score.metric.removeprefix(f"{task}/")]
        if score.metric.endswith("perplexity"):
            assert math.log(score.value) == pytest.approx(math.log(theirs), rel=1e-4), score
        else:
            assert score.value == pytest.approx(theirs, rel=1e-4), score


@pytest.mark.filterwarnings("ignore")  # of lm-eval and datasets themselves, which run here
def test_published_tasks_have_the_figures_of_lm_eval(
    model: PreTrainedModel, mirror: Path, tmp_path: Path
) -> None:
    tasks = {name: published(name, mirror, tmp_path) for name in PUBLISHED}
    expected = of_lm_eval(model, tasks)
    assert {*PUBLISHED} == {*MIRROR}
    for bench in benchmarks(model, mirror, list(PUBLISHED)):
        found = scored(model, bench)
        assert len(found) == len(bench.metrics)
        check_equal(found, expected[bench.name], bench.name)


@pytest.mark.filterwarnings("ignore")
def test_local_tasks_have_the_figures_of_lm_eval(
    model: PreTrainedModel, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval.tasks

    monkeypatch.chdir(local)  # lm-eval takes paths from here
    manager = lm_eval.tasks.TaskManager(include_path=local, include_defaults=False)
    tasks = dict(manager.load(list(LOCAL))["tasks"])
    for task in tasks.values():
        task.set_fewshot_seed(1234)
    expected = of_lm_eval(model, tasks)
    for bench in benchmarks(model, local, LOCAL):
        check_equal(scored(model, bench), expected[bench.name], bench.name)


def test_a_template_runs_code_in_lm_eval() -> None:
    """The attack that `test_harness` shows to fail here."""
    from lm_eval.utils import apply_template

    assert apply_template("{{ lipsum.__globals__['os'].getpid() }}", {}) == str(os.getpid())


def test_windows_predict_each_token_once() -> None:
    """As `lm_eval.utils.get_rolling_token_windows` cuts them."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokenizer = tiny_tokenizer()
    for words in (1, 9, 40):
        text = " ".join(WORDS.split()[:1] * words)
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        windows = map(
            make_disjoint_window,
            get_rolling_token_windows(tokens, int(tokenizer.bos_token_id or 0), 8, 1),
        )
        expected = [([*context, *predicted], len(context)) for context, predicted in windows]
        found = [(list(each.tokens)[-9:], each.start) for each in rolled(tokenizer, text, 9)]
        assert [tokens[1:] for tokens, _ in found] == [tokens[1:] for tokens, _ in expected]
        assert [start for _, start in found] == [start for _, start in expected]


def test_a_model_is_compared_with_another_on_the_same_questions(
    model: PreTrainedModel, local: Path
) -> None:
    quiz, _, prose = benchmarks(model, local, LOCAL)
    other = deepcopy(model)
    nn.init.normal_(other.get_output_embeddings().weight)
    before, after = (examined(loaded(each), prose, silent(), "x") for each in (model, other))
    (first, *_), (second, *_) = prose.scores(before), prose.scores(after)
    gain = prose.compare(before, after)
    assert gain.metric == "prose/word_perplexity"
    assert gain.value == pytest.approx(math.log(first.value / second.value))
    assert gain.interval is not None
    accuracy = quiz.compare(*(examined(loaded(m), quiz, silent(), "x") for m in (model, other)))
    assert accuracy.metric == "quiz/acc"
    assert abs(accuracy.value) <= 1


def test_chance_is_that_of_a_guess(model: PreTrainedModel, local: Path, mirror: Path) -> None:
    quiz, cloze, prose = benchmarks(model, local, LOCAL)
    (webqs,) = benchmarks(model, mirror, ("webqs",))
    guess = quiz.chance(())
    assert guess.amounts == pytest.approx([1 / 2, 1 / 3, 1 / 4] * 2)
    assert webqs.chance(()).amounts.sum() == 0
    for bench in (cloze, prose):
        outcomes = examined(loaded(model), bench, silent(), "x")
        assert bench.chance(bench.examples).metric == bench.skill(outcomes).metric
        # tokens as frequent as here are likelier than those of a model that learned nothing
        assert mean(bench.chance(bench.examples)) > mean(bench.skill(outcomes))


def test_what_a_prompt_has_too_much_is_cut_on_its_left(model: PreTrainedModel, local: Path) -> None:
    (quiz,) = benchmarks(model, local, ("quiz",))
    assert quiz.cut > 0
    assert max(example.size for example in quiz.examples) == CONTEXT
    assert all(example.weight > 0 for example in quiz.examples)


def test_documents_stay_out_of_the_logs(
    model: PreTrainedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """lm-eval warns of what it takes for wrong, and quotes the whole document."""
    mirror = write_mirror(tmp_path)
    rows = [{"goal": "SECRET", "sol1": "a", "sol2": "b", "label": 7}] * 3
    write_rows(mirror / MIRROR["piqa"][0], rows)
    with pytest.raises(DataError, match="the data of the task piqa does not fit it"):
        benchmarks(model, mirror, ("piqa",))
    rows[0] = rows[0] | {"label": 0}
    write_rows(mirror / MIRROR["piqa"][0], rows)
    (bench,) = benchmarks(model, mirror, ("piqa",))
    scored(model, bench)
    assert "SECRET" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", ["empty", "strips"])
def test_no_tokenizer_of_a_peer_makes_a_task_fail(
    local: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure would tell the peer what stands in the tasks."""
    tokenizer = tiny_tokenizer()
    honest = type(tokenizer).__call__

    def encode(self: Any, text: str, **options: Any) -> Any:
        found = honest(self, text, **options)
        found["input_ids"] = [] if name == "empty" else found["input_ids"][:2]
        return found

    monkeypatch.setattr(type(tokenizer), "__call__", encode)
    sources = TaskFolder(local, f"{local}/", LOCAL).read()
    peer = tiny_model("llama", vocab_size=288, max_position_embeddings=CONTEXT)
    for bench in task_benchmarks(sources, tokenizer, CONTEXT):
        assert all(math.isfinite(score.value) for score in scored(peer, bench))


def test_a_stage_reports_tasks_beside_its_data(tmp_path: Path) -> None:
    parties = new_parties(tmp_path, vocab_size=288)
    write_tasks(parties.home(LAB) / "tasks")
    section = {"tasks": ["quiz", "prose"], "path": "tasks/"}
    events = parties.run(EMULATOR, distill(steps=None, lmEval=section))
    metrics = {(e["name"], e["setting"]): e for e in events if e["event"] == "metric"}
    for name in ("perplexity", "quiz/acc", "prose/word_perplexity"):
        full, emulator = (metrics[name, each] for each in ("full_zero_shot", "emulator_zero_shot"))
        assert "over" not in full
        assert emulator["over"] == "full_zero_shot"
        assert emulator["text"] == full["text"]
    nats = metrics["perplexity", "emulator_zero_shot"]["gain"]
    assert nats == pytest.approx(
        math.log(metrics["perplexity", "full_zero_shot"]["value"])
        - math.log(metrics["perplexity", "emulator_zero_shot"]["value"])
    )
    (started,) = (each for each in events if each["event"] == "started")
    assert "lmEval" in started["inputs"]


def test_a_model_for_images_has_no_tasks() -> None:
    with pytest.raises(DataError, match="lmEval has tasks of text"):
        loaded(tiny_model("vit")).modality.tasks(())
