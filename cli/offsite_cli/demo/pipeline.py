"""Run the demo: prepare both parties, run the stages, and measure what only a demo can."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from offsite.api import MODEL_PATTERN
from offsite.errors import DataError
from offsite.events import Monitor
from offsite.rows import DataFile, read_rows
from offsite.steps.places import from_hub, model_digest
from offsite_cli.demo.icd import questions, texts
from offsite_cli.demo.parties import Parties
from offsite_cli.demo.report import Result
from offsite_cli.demo.settings import Choices, Recipe
from offsite_cli.demo.shipped import write_corpus, write_model
from offsite_cli.demo.splits import Splits, split_file, write_splits

_SHIPPED_TASK = "icd-chapters"


def run_demo(parties: Parties, choices: Choices, monitor: Monitor) -> Result:
    """Run the demo, and return its measurements.

    Raises:
        OffsiteError: a stage failed; with the message of that stage.
    """
    recipe = Recipe.of(choices)
    model = prepare(parties, choices, recipe, monitor)
    stages = parties.run_stages(monitor.emit)
    # importing torch takes seconds, so it happens only where it is needed
    from offsite_cli.demo import full_access

    text = DataFile(parties.hospital / "test.jsonl")
    before = full_access.score_and_continue(model, text, "full_zero_shot", monitor)
    after = full_access.score_and_continue(parties.tuned_model, text, "plug_in", monitor)
    best = _upper_bound(parties, model, recipe, monitor) if choices.upper_bound else None
    figures = stages["tune"].figures
    emulator = {name: figures[name] for name in ("emulator_zero_shot", "emulator_tuned")}
    settings = {"full_zero_shot": before.value, **emulator}
    return Result(
        metric=before.metric,
        settings={**settings, "plug_in": after.value, "full_fine_tuned": best},
        stages=stages,
        model_bytes=sum(path.stat().st_size for path in model.glob("*.safetensors")),
        prompt=before.prompt,
        before=before.continuation,
        after=after.continuation,
    )


def prepare(parties: Parties, choices: Choices, recipe: Recipe, monitor: Monitor) -> Path:
    """Write keys, inputs and job files of both parties; returns the folder of the model.

    Raises:
        InputError: the model or the data cannot be used; nothing was deleted.
    """
    # check the user's model and data before deleting an earlier demo
    private = _private_data(choices, parties.seed)
    model = _own_model(choices.model, recipe) if choices.model is not None else None
    parties.refuse_inside(*filter(None, (model, choices.data, _task_file(choices))))
    parties.create()
    write_corpus(parties.lab / "corpus.jsonl")
    write_splits(parties.hospital, private)
    if model is None:
        monitor.log("unpacking SmolLM2-135M-Instruct, de-quantised from Q4_1")
        model = parties.lab / "model"
        write_model(model)
    parties.write_jobs(model, recipe)
    return model


def _own_model(name: str, recipe: Recipe) -> Path:
    """Return the folder of a model that is a local folder or a hub id."""
    path = Path(name).expanduser()
    if path.is_dir() or not re.fullmatch(MODEL_PATTERN, f"hf://{name}"):
        folder = path.resolve()
    else:
        folder = from_hub(name)
    model_digest(folder)
    recipe.kept_blocks(folder)
    return folder


def _task_file(choices: Choices) -> Path | None:
    named = choices.task is not None and choices.task != _SHIPPED_TASK
    return Path(str(choices.task)).expanduser() if named else None


def _private_data(choices: Choices, seed: int) -> Splits:
    if choices.task == _SHIPPED_TASK:
        return questions(seed)
    task = _task_file(choices)
    if task is not None and not read_rows(DataFile(task))[0].choices:
        raise DataError(
            f'{task} has no column "choices", so it is not a labelled task; use --data instead'
        )
    source = task or choices.data
    return split_file(source.expanduser(), seed) if source else texts(seed)


def _upper_bound(parties: Parties, model: Path, recipe: Recipe, monitor: Monitor) -> float | None:
    from offsite_cli.demo import full_access

    train, test = (DataFile(parties.hospital / f"{name}.jsonl") for name in ("train", "test"))
    with TemporaryDirectory(prefix="upper-bound-", dir=parties.root) as scratch:
        return full_access.fine_tune(
            model, train, test, recipe, parties.seed, Path(scratch), monitor
        )
