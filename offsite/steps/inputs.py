"""The inputs of a job from its own party, on this disk, with their digests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.api import JobSpec
from offsite.bundle.weights import digest_blocks, digest_outside
from offsite.rows import DataFile
from offsite.steps.party import Party
from offsite.steps.places import model_digest, size_of, text_digest
from offsite.steps.workspace import Source
from offsite.wire import canonical, digest_of


@dataclass(frozen=True)
class Inputs:
    """The texts of a job by what they are for, and the model of a model owner's."""

    texts: dict[str, DataFile]
    model: Path | None

    def digests(self) -> dict[str, str]:
        """Compute a digest of each, of a text with the format that it is read in.

        Raises:
            DataError, ModelError: one is not there, or is not what it should be.
        """
        found = {key: _digest(text) for key, text in self.texts.items()}
        return found | ({"model": model_digest(self.model)} if self.model else {})


def inputs_of(spec: JobSpec, party: Party) -> Inputs:
    """Find what a job reads.

    Raises:
        InputError, ModelError, StorageError: a store or a hub did not give it.
    """
    texts = {
        key: DataFile(party.text(location), location)
        for key, location in _texts(spec).items()
        if location
    }
    return Inputs(texts, party.model(spec.model) if spec.model else None)


def source_of(spec: JobSpec, party: Party) -> Source | None:
    """Look at the full model of a job, in a step that has no hub; None: it is at one.

    Raises:
        InputError, ModelError, StorageError: the model is not there, or is none.
    """
    if spec.model is None or spec.model.startswith("hf://"):
        return None
    model = party.model(spec.model)
    return source_in(spec, model, model_digest(model))


def source_in(spec: JobSpec, model: Path, digest: str) -> Source:
    """Say of a model what its result is checked against.

    Args:
        digest: the model's.
    """
    config: dict[str, Any] = json.loads((model / "config.json").read_bytes())
    blocks = digest_blocks(model) if spec.distill else ()
    outside = digest_outside(model) if spec.distill else {}
    size = size_of(model)
    return Source(digest=digest, size=size, config=config, blocks=blocks, outside=outside)


def _digest(text: DataFile) -> str:
    # the same bytes in another format are another text
    return digest_of(canonical([text.format, text_digest(text)]))


def _texts(spec: JobSpec) -> dict[str, str | None]:
    if job := spec.distill:
        corpus = job.training.corpus if job.training else None
        calibration = job.emulator.calibration or corpus
        return {"corpus": corpus, "calibration": calibration, "evaluate": job.evaluate}
    if tune := spec.tune:
        data = tune.data
        evaluate = tune.evaluate or data.validation
        return {"train": data.train, "validation": data.validation, "evaluate": evaluate}
    return {"evaluate": spec.plug_in.evaluate if spec.plug_in else None}
