"""Playing the story: lay everything out, run the stages, and score what only a demo can."""

import json
from pathlib import Path

from offsite.events import Monitor
from offsite.stages import Party
from offsite.store import FolderExchange
from offsite_cli.demo import both
from offsite_cli.demo.icd import write_task, write_texts
from offsite_cli.demo.model import packaged_model
from offsite_cli.demo.own_data import split_own
from offsite_cli.demo.pydoc import write_corpus
from offsite_cli.demo.story import LAB, Cast, Choices, Recipe
from offsite_cli.demo.table import Result

_SHIPPED_TASK = "icd-chapters"


def play(cast: Cast, choices: Choices, monitor: Monitor) -> Result:
    """Play the whole story, and give what was measured.

    Raises:
        OffsiteError: the first thing that went wrong, in the words of the stage that it was in.
    """
    recipe = Recipe()
    model = _lay_out(cast, choices, monitor)
    config = json.loads((model / "config.json").read_bytes())
    cast.write_jobs(model, config, recipe)
    stages = cast.play(monitor.emit)
    text = cast.hospital / "test.jsonl"
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


def _lay_out(cast: Cast, choices: Choices, monitor: Monitor) -> Path:
    """Give each party what it has, and find the folder of the model."""
    cast.lab.mkdir()
    cast.hospital.mkdir()
    write_corpus(cast.lab / "corpus.jsonl")
    _private_data(cast, choices)
    if choices.model is not None:
        return _own_model(cast, choices.model)
    monitor.log("unpacking SmolLM2-135M-Instruct, de-quantised from Q4_1")
    packaged_model(cast.lab / "model")
    return cast.lab / "model"


def _own_model(cast: Cast, model: str) -> Path:
    location = model if Path(model).expanduser().exists() else f"hf://{model}"
    party = Party(LAB, cast.lab, FolderExchange.from_uri(cast.exchange), Path.cwd())
    return party.resolve(location)


def _private_data(cast: Cast, choices: Choices) -> None:
    if choices.task == _SHIPPED_TASK:
        write_task(cast.hospital, cast.seed)
    elif choices.task is not None or choices.data is not None:
        source = Path(choices.task) if choices.task is not None else choices.data
        assert source is not None
        split_own(source, cast.hospital, cast.seed)
    else:
        write_texts(cast.hospital, cast.seed)


def _upper_bound(cast: Cast, model: Path, recipe: Recipe, monitor: Monitor) -> float:
    train, test = cast.hospital / "train.jsonl", cast.hospital / "test.jsonl"
    return both.fine_tune(model, train, test, recipe, cast.seed, cast.root, monitor)
