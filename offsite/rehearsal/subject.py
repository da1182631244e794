"""What is rehearsed on: one model, its data, and the folder of the results."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from offsite.events import Monitor
from offsite.layers import modality_of
from offsite.rehearsal.keeping import Kept
from offsite.rehearsal.setting import Splits
from offsite.rows import DataFile
from offsite.steps.places import model_digest
from offsite.version import __version__


@dataclass(frozen=True)
class Subject:
    """A model and its data. Rehearsals of one subject share what they have in common."""

    model: Path
    data: Splits
    kept: Kept
    monitor: Monitor

    @cached_property
    def digest(self) -> str:
        """Digest of the model."""
        return model_digest(self.model)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digest of each data set, by its purpose."""
        return self.data.digests()

    @property
    def texts(self) -> dict[str, DataFile]:
        """The data sets that an adapter is tuned on."""
        return {"train": self.data.train, "validation": self.data.validation}

    def facts(self, purpose: str, *data: str, **more: Any) -> dict[str, Any]:
        """List what decides a result, as JSON.

        Args:
            purpose: what the result is.
            data: the purposes of the data sets that take part.
        """
        digests = {name: self.digests[name] for name in data if name in self.digests}
        own = {"purpose": purpose, "version": __version__, "model": self.digest}
        return {**own, "data": digests, **more}

    def check(self) -> None:
        """Read all data sets: what is wrong with them then costs no loading of a model.

        Raises:
            DataError: one cannot be used.
        """
        modality, data = modality_of(self.model), self.data
        for each in (data.train, data.validation, data.test, data.corpus):
            if each is not None:
                modality.check(each)
