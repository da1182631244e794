"""Tunes an adapter in an emulator, from data to changes: what a Tune job and a rehearsal share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from offsite.api import Ends, Limits, Tune, TuneTraining
from offsite.bundle import AdapterFacts, HeadRecord, PrivacyFacts
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, family
from offsite.modality import Example
from offsite.rows import DataFile
from offsite.stages.context import Trainer
from offsite.stages.evaluation import read_examples, read_units
from offsite.stages.head import begin_head
from offsite.stages.private import private_adapter
from offsite.steps.answers import rank_of
from offsite.steps.floors import check_labels
from offsite.training.data import Shuffled
from offsite.training.head import fit_head
from offsite.training.private import Unit
from offsite.training.tune import Adapter, tune

_VALIDATIONS = 4
"""How often the validation loss is looked at during a run."""


@dataclass(frozen=True)
class Tuning:
    """An adapter about to be tuned: the emulator with its head, and the private data."""

    loaded: Loaded
    job: Tune
    facts: AdapterFacts
    adapter: Adapter
    units: Sequence[Unit]
    """The training data. Without differential privacy, each example is a unit."""
    held_out: Sequence[Example]
    """The validation data."""

    def probe(self, planted: Sequence[Unit], monitor: Monitor) -> None:
        """Start a new head, in place, from a linear probe; with differential privacy, of zeros.

        Args:
            planted: canaries to train on beside the data.
        """
        if self.facts.labels and self.job.privacy is None:
            examples = _examples(self.units, planted)
            fit_head(self.loaded, len(self.facts.labels), examples, self.held_out, monitor)

    def train(
        self, planted: Sequence[Unit], trainer: Trainer, limits: Limits
    ) -> tuple[dict[str, Tensor], PrivacyFacts | None]:
        """Train the adapter; the emulator keeps it.

        Returns:
            its changes, as they are sent, and the bound that holds for them with privacy.

        Raises:
            DataError, InputError: as `private_adapter`.
            InterruptedStage: a signal came; training goes on from its checkpoint next time.
        """
        loaded, job = self.loaded, self.job
        if job.privacy is not None:
            units = self.units
            return private_adapter(loaded, self.adapter, job, units, planted, trainer, limits)
        examples, training = _examples(self.units, planted), job.training
        batches = Shuffled(examples, loaded.modality.collate, training.batch_size, trainer.seed)
        steps = steps_of(training, batches.steps_per_epoch, limits.min_steps)
        run = trainer.run(training, steps, **validations(steps, limits.min_steps))
        return tune(loaded, self.adapter, batches, self.held_out, run), None


def begin_tuning(
    loaded: Loaded,
    job: Tune,
    ends: Ends,
    head: HeadRecord | None,
    answers: str,
    texts: Mapping[str, DataFile],
    monitor: Monitor,
) -> Tuning:
    """Read the private data of a job, and give the emulator, in place, the head that it needs.

    Args:
        loaded: the emulator.
        ends: how many of its blocks are the full model's own.
        head: of the emulator.
        answers: digest of the envelope that the emulator was in.
        texts: `train` and `validation`.

    Raises:
        DataError: the private data cannot be used.
        InputError: the emulator's owner does not accept the rank.
    """
    train, validation = texts["train"], texts["validation"]
    check_labels(job, train, validation)
    loaded = replace(loaded, modality=loaded.modality.augmenting(job.training.augmentation))
    loaded, classes = begin_head(loaded, head, job, train, monitor)
    facts = _facts(loaded, job, answers, classes)
    places = places_of(len(blocks(loaded.model)), ends, facts.scope)
    adapter = Adapter(
        facts.method, facts.rank, places, new_head=bool(classes), targets=facts.targets
    )
    units = _units(train, job, loaded, monitor)
    held_out = read_examples(validation, loaded, job.training.block_size, monitor)
    return Tuning(loaded, job, facts, adapter, units, held_out)


def _facts(loaded: Loaded, job: Tune, envelope: str, classes: tuple[str, ...]) -> AdapterFacts:
    row, adapter = family(loaded.model), job.adapter
    linears = row.linear_sizes(loaded.model.config.to_dict(), adapter.targets)
    return AdapterFacts(
        method=adapter.method,
        scope=adapter.scope,
        targets=adapter.targets,
        rank=rank_of(adapter, linears),
        outside=tuple(sorted(row.heads)),
        labels=classes,
        answers=envelope,
    )


def places_of(count: int, ends: Ends, scope: str) -> tuple[int, ...]:
    """Choose the blocks of an emulator that an adapter is in.

    Args:
        count: how many blocks the emulator has.
        ends: how many of them are the full model's own.
    """
    every = tuple(range(count))
    own = every[: ends.bottom] + every[len(every) - ends.top :]
    return every if scope == "All" else own


def _units(train: DataFile, job: Tune, loaded: Loaded, monitor: Monitor) -> Sequence[Unit]:
    """Read the training data as units; without privacy, each example is one."""
    training = job.training
    if job.privacy is not None:
        return read_units(train, loaded, training.block_size, monitor)
    least = training.batch_size
    return [(e,) for e in read_examples(train, loaded, training.block_size, monitor, least=least)]


def _examples(units: Sequence[Unit], planted: Sequence[Unit]) -> list[Example]:
    return [example for unit in (*units, *planted) for example in unit]


def steps_of(training: TuneTraining, steps_per_epoch: int, least: int) -> int:
    """Compute how many steps an adapter is trained for.

    Args:
        least: what the party requires. A peer's companion files may make few examples of much data.
    """
    return training.steps or max(least, training.epochs * steps_per_epoch)


def validations(steps: int, least: int) -> dict[str, int]:
    """Choose when an adapter is validated: the fields of its `Plan`.

    Args:
        least: how many steps the adapter that is kept must have had.
    """
    return {"validate_every": max(1, steps // _VALIDATIONS), "least": least}
