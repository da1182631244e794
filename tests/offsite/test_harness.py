"""A folder of tasks runs no code, and reads nothing outside itself."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offsite.errors import DataError, InputError, SpecError
from offsite.harness import TaskFolder
from offsite.harness.published import PUBLISHED
from offsite_testing.tasks import CLOZE, MIRROR, QUIZ, write_mirror, write_rows, write_tasks

Change = Callable[[Path], object]
OWNED = "owned.txt"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write good tasks into a folder, from which no process starts and no connection is made."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an attack got out")

    monkeypatch.setattr(os, "system", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return write_tasks(tmp_path / "tasks")


def read(folder: Path, *names: str) -> Any:
    return TaskFolder(folder, "tasks/", names).read()


def replaced(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / f"{name}.yaml"
        content = path.read_text(encoding="utf-8")
        assert old in content
        path.write_text(content.replace(old, new), encoding="utf-8")

    return change


def added(name: str, line: str) -> Change:
    def change(folder: Path) -> None:
        with (folder / f"{name}.yaml").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    return change


def code(folder: Path) -> None:
    """Put Python beside the tasks that writes a file where it runs."""
    source = f"open({str(folder / OWNED)!r}, 'w').close()\ndef f(*a, **k): return a[0]\n"
    (folder / "utils.py").write_text(source, encoding="utf-8")


CODE = (
    added("quiz", "process_docs: !function utils.f"),
    replaced(
        "quiz", 'doc_to_target: "{{answers.index(right)}}"', "doc_to_target: !function utils.f"
    ),
    added("quiz", "process_results: !function utils.f"),
    added("quiz", "custom_dataset: !function utils.f"),
    added("quiz", "class: !function utils.f"),
    added("quiz", "process_docs: utils.f"),
    added("quiz", "include: /etc/passwd"),
    added("quiz", "include: other.yaml"),
    added("quiz", "unsafe_code: true"),
    added("quiz", "use_prompt: promptsource:*"),
    added("quiz", "generation_kwargs: {do_sample: true}"),
    added("quiz", "filter_list: [{name: a, filter: [{function: custom}]}]"),
    added("quiz", "fewshot_config: {sampler: !function utils.f}"),
    added("quiz", "x: !!python/object/apply:os.system [id]"),
    replaced("quiz", "{metric: acc,", "{metric: !function utils.f,"),
    replaced("quiz", "{metric: acc,", "{metric: evil/metric, hf_evaluate: true,"),
    replaced("quiz", "{metric: acc,", "{metric: rouge,"),
    replaced("quiz", "dataset_path: json", "dataset_path: evil/dataset"),
    replaced("quiz", "dataset_path: json", "dataset_path: utils.py"),
    replaced("quiz", "dataset_path: json", "dataset_path: csv"),
    replaced("quiz", "dataset_path: json", "dataset_path: json\ndataset_name: evil"),
    replaced("quiz", "{data_files: {", "{trust_remote_code: true, data_files: {"),
    replaced("quiz", "{data_files: {", "{data_dir: /, data_files: {"),
    replaced("quiz", "output_type: multiple_choice", "output_type: generate_until"),
)


@pytest.mark.parametrize("change", CODE, ids=range(len(CODE)))
def test_a_task_that_names_code_is_refused(folder: Path, change: Change) -> None:
    code(folder)
    change(folder)
    with pytest.raises(SpecError, match=r"tasks/quiz\.yaml is not a valid task"):
        read(folder, "quiz")
    assert not (folder / OWNED).exists()


ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ question.__class__ }}",
    "{{ question['__class__'] }}{{ question|attr('__class__')|attr('__mro__') }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ cycler.__init__.__globals__.os.system('id') }}",
    "{{ '{0.__class__.__mro__}'.format(question) }}",
    "{{ ('{0.__class__.__mro__}'|attr('format'))(question) }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ answers.append('x') }}",
    "{{ range(1000000000) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'quiz.yaml' %}",
)


@pytest.mark.parametrize("field", ["doc_to_text", "doc_to_choice", "doc_to_target", "description"])
@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_cannot_leave_its_sandbox(folder: Path, template: str, field: str) -> None:
    content = [line for line in QUIZ.splitlines() if not line.startswith(f"{field}:")]
    text = "\n".join([*content, f"{field}: {json.dumps(template)}"])
    (folder / "quiz.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"the template of|doc_to_choice must|doc_to_target must"):
        read(folder, "quiz")


def test_what_a_template_gives_is_no_template(folder: Path) -> None:
    """lm-eval would render a column's name, or text that a template put together, again."""
    evil = "{{ ''.__class__ }}"
    rows = [{"question": evil, "hint": "", "answers": [evil, "b"], "right": evil}] * 3
    write_rows(folder / "quiz.jsonl", rows)
    (task,) = read(folder, "quiz")
    first = task.documents["test"][0]
    assert first["text"] == f"Question: {evil}\nAnswer:"
    assert first["choices"] == [evil, "b"]
    assert {task.config[field] for field in task.config if field.startswith("doc_to")} == {
        "text",
        "target",
        "choices",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.jsonl",
        "a/../../secret.jsonl",
        "https://host/a.jsonl",
        "hf://a/b.jsonl",
    ],
)
def test_data_outside_the_folder_is_refused(folder: Path, path: str) -> None:
    write_rows(folder.parent / "secret.jsonl", [{"prompt": "a", "word": "b"}])
    replaced("quiz", "test: quiz.jsonl", f"test: '{path}'")(folder)
    with pytest.raises(DataError, match="is not a file below the folder of the tasks"):
        read(folder, "quiz")


def link(name: str) -> Change:
    def change(folder: Path) -> None:
        secret = folder.parent / f"secret-{name}"
        (folder / name).rename(secret)
        (folder / name).symlink_to(secret)

    return change


@pytest.mark.parametrize("name", ["quiz.jsonl", "quiz.yaml"])
def test_links_are_not_followed(folder: Path, name: str) -> None:
    link(name)(folder)
    with pytest.raises(DataError, match="is a link, or not a regular file"):
        read(folder, "quiz")


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    link("data")(folder)
    with pytest.raises(DataError, match="is a link, or not a regular file"):
        read(folder, "cloze")
    mirror = write_mirror(folder.parent / "mirror")
    link("allenai")(mirror)
    with pytest.raises(DataError, match="is a link, or not a regular file"):
        read(mirror, "sciq")


def write_quiz(rows: Any) -> Change:
    return lambda folder: write_rows(folder / "quiz.jsonl", rows)


ROW = {"question": "a", "hint": "", "answers": ["b", "c"], "right": "c"}
WRONG: tuple[tuple[Change, str], ...] = (
    (
        lambda f: (f / "quiz.yaml").unlink(),
        "there is no file tasks/quiz.yaml; tasks of lm-eval",
    ),
    (added("quiz", "#" * (1 << 20)), "tasks/quiz.yaml has more than 1048576 bytes"),
    (added("quiz", "metadata: &a {b: *a}"), "quiz.yaml is not a valid task"),
    (added("quiz", "tag: &a [*a]"), "quiz.yaml is not a valid task"),
    (lambda f: (f / "quiz.jsonl").unlink(), "there is no file tasks/quiz.jsonl"),
    (lambda f: (f / "quiz.jsonl").write_text("{]\n"), "tasks/quiz.jsonl:1 is not JSON"),
    (lambda f: (f / "quiz.jsonl").write_text("[1]\n"), "tasks/quiz.jsonl:1 is not a JSON object"),
    (lambda f: (f / "quiz.jsonl").write_bytes(b"\xff"), "tasks/quiz.jsonl is not UTF-8 text"),
    (lambda f: (f / "quiz.jsonl").write_text(""), "tasks/quiz.jsonl has no documents"),
    (
        lambda f: (f / "quiz.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "is a pointer of Git LFS",
    ),
    (write_quiz([{"question": "a"}]), r"doc_to_text fails \(UndefinedError: 'hint' is undefined\)"),
    (write_quiz([ROW | {"right": "d"}]), "the template of doc_to_target fails"),
    (write_quiz([ROW | {"answers": []}]), "the template of doc_to_target fails"),
    (write_quiz([ROW | {"answers": ["", "c"]}]), "doc_to_choice must give a list of texts"),
    (write_quiz([ROW | {"answers": [1, "c"]}]), "doc_to_choice must give a list of texts"),
    (replaced("quiz", "task: quiz", "task: other"), "task: must be 'quiz', as the file is named"),
    (replaced("quiz", "{data_files: {test:", "{data_files: {dev:"), "no file for the split 'test'"),
    (replaced("quiz", "test_split: test\n", ""), "test_split: required, but missing"),
    (replaced("quiz", 'doc_to_choice: "{{answers}}"\n', ""), "doc_to_choice: output_type multiple"),
    (replaced("quiz", "{metric: acc,", "{metric: perplexity,"), "metric_list: 'perplexity' is not"),
    (replaced("quiz", "{metric: acc,", "{metric: acc_norm,"), "metric_list: names a metric twice"),
    (replaced("quiz", "num_fewshot: 2", "num_fewshot: 2000"), "num_fewshot: must be less than"),
    (added("quiz", "dataset_pth: json"), "dataset_pth: unknown field"),
    (added("quiz", "process_docs: f"), "process_docs: it would run code of the task's author"),
    (replaced("quiz", "{{question.strip()}}", "{{question"), "the template of doc_to_text is not"),
)


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_with_a_task_is_told(folder: Path, change: Change, said: str) -> None:
    change(folder)
    with pytest.raises(InputError, match=said):
        read(folder, "quiz")


@pytest.mark.parametrize(
    ("target", "number"), [("right", 1), ("{{right}}", 2), ("{{answers[0]}}", 1), (0, 0)]
)
def test_digits_of_a_template_are_a_number_as_in_lm_eval(
    folder: Path, target: str | int, number: int
) -> None:
    write_rows(folder / "quiz.jsonl", [ROW | {"answers": ["1", "2", "3"], "right": "2"}])
    replaced("quiz", '"{{answers.index(right)}}"', json.dumps(target))(folder)
    (task,) = read(folder, "quiz")
    assert task.documents["test"][0]["target"] == number


def test_parquet_that_is_none_is_told(folder: Path) -> None:
    (folder / "data/cloze.parquet").write_bytes(b"PAR1 and more")
    with pytest.raises(DataError, match=r"tasks/data/cloze.parquet is damaged, or not Parquet"):
        read(folder, "cloze")


def test_a_local_task_cannot_pass_for_one_of_lm_eval(folder: Path) -> None:
    (folder / "piqa.yaml").write_text(CLOZE.replace("cloze", "piqa"), encoding="utf-8")
    with pytest.raises(DataError, match=r"tasks/piqa\.yaml has the name of a task of lm-eval"):
        read(folder, "piqa")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_mirror_that_lacks_a_data_set_is_told(tmp_path: Path, name: str) -> None:
    mirror = write_mirror(tmp_path)
    (mirror / MIRROR[name][0]).unlink()
    with pytest.raises(DataError, match=f"{PUBLISHED[name].data}.* has no file of the split"):
        read(mirror, name)


def test_the_digest_is_that_of_the_questions(folder: Path) -> None:
    """Not of the folder's other files; another prompt is another task."""
    before = [task.digest for task in read(folder, "quiz", "cloze")]
    (folder / "README.md").write_text("more", encoding="utf-8")
    assert [task.digest for task in read(folder, "quiz", "cloze")] == before
    replaced("quiz", "Questions.", "Answer!")(folder)
    with (folder / "data/cloze.parquet").open("ab"):
        write_rows(folder / "data/cloze.parquet", [{"prompt": "a", "word": "b"}])
    after = [task.digest for task in read(folder, "quiz", "cloze")]
    assert not {*before} & {*after}
