"""The inputs of a job from its own party, on the local disk, with their digests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offsite.api import JobSpec, Tune
from offsite.bundle.weights import digest_blocks, digest_outside
from offsite.rows import DataFile, holds_images, labels_in, read_rows
from offsite.steps.party import Party
from offsite.steps.places import data_digest, model_digest, size_of
from offsite.steps.workspace import Source
from offsite.wire import canonical, digest_of

if TYPE_CHECKING:
    from offsite.harness import TaskFolder


@dataclass(frozen=True)
class Inputs:
    """A job's data sets by purpose, and the model of a model owner's job."""

    texts: dict[str, DataFile]
    model: Path | None
    tasks: "TaskFolder | None" = None
    """Tasks of lm-eval."""

    def digests(self) -> dict[str, str]:
        """Compute the digest of each input; the digest of data includes its format.

        Checks the form of the data: what the files alone decide. Nothing from the peer takes part,
        so this comes before a peer's emulator is inspected, and before it is even fetched.

        Raises:
            DataError, SpecError, ModelError: An input is missing or invalid.
        """
        for text in self.texts.values():
            _check_form(text)
        found = {key: _digest(text) for key, text in self.texts.items()}
        if self.tasks:
            found["lmEval"] = digest_of(canonical([each.digest for each in self.tasks.read()]))
        return found | ({"model": model_digest(self.model)} if self.model else {})


def inputs_of(spec: JobSpec, party: Party) -> Inputs:
    """Locate the inputs of a job.

    Raises:
        InputError, ModelError, StorageError: A store or hub did not provide an input.
    """
    texts = {
        key: _data(spec.tune, party, location, key)
        for key, location in _texts(spec).items()
        if location
    }
    model = party.model(spec.model) if spec.model else None
    return Inputs(texts, model, _tasks(spec, party))


def _tasks(spec: JobSpec, party: Party) -> "TaskFolder | None":
    stage = spec.distill or spec.tune or spec.plug_in
    if stage is None or (job := stage.lm_eval) is None:
        return None
    from offsite.harness import TaskFolder  # needs Jinja, which pods with keys lack

    return TaskFolder(party.data(job.path), job.path, tuple(job.tasks))


def training_data(job: Tune, party: Party) -> DataFile:
    """Locate the private data that a job's adapter is tuned on.

    Raises:
        InputError, StorageError: The private store did not provide it.
    """
    return _data(job, party, job.data.train, "train")


def _data(job: Tune | None, party: Party, location: str, key: str) -> DataFile:
    """Locate a text. Only the training data must have the column of its unit."""
    unit = job.privacy.unit if job and job.privacy else None
    group = unit.group if unit else ""
    return DataFile(party.data(location), location, group, must_group=key == "train")


def source_of(spec: JobSpec, party: Party) -> Source | None:
    """Describe the full model of a job, in a step without hub access; None: it is at a hub.

    Raises:
        InputError, ModelError, StorageError: The model is missing or invalid.
    """
    if spec.model is None or spec.model.startswith("hf://"):
        return None
    model = party.model(spec.model)
    return source_in(spec, model, model_digest(model))


def source_in(spec: JobSpec, model: Path, digest: str) -> Source:
    """Describe a model, as the baseline for checking the result.

    Args:
        digest: The model's digest.
    """
    config: dict[str, Any] = json.loads((model / "config.json").read_bytes())
    blocks = digest_blocks(model) if spec.distill else ()
    outside = digest_outside(model) if spec.distill else {}
    size = size_of(model)
    return Source(digest=digest, size=size, config=config, blocks=blocks, outside=outside)


def _check_form(text: DataFile) -> None:
    if holds_images(text):
        labels_in(text)  # decoding the images takes longer than inspection
    else:
        read_rows(text)


def _digest(text: DataFile) -> str:
    # the same bytes in another format are a different text
    return digest_of(canonical([text.format, data_digest(text)]))


def _texts(spec: JobSpec) -> dict[str, str | None]:
    if job := spec.distill:
        corpus = job.training.corpus if job.training else None
        calibration = job.emulator.calibration or corpus
        return {"corpus": corpus, "calibration": calibration, "evaluate": job.evaluate}
    if tune := spec.tune:
        data = tune.data
        evaluate = tune.evaluate or data.validation
        return {"train": data.train, "validation": data.validation, "evaluate": evaluate}
    if plug_in := spec.plug_in:
        auto = plug_in.alpha_auto
        return {"evaluate": plug_in.evaluate, "alpha": auto.data if auto else None}
    return {}
