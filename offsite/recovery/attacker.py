"""An attacker: public data, test sets, and a budget; and what it recovers from what it holds."""

import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from offsite.adapter import heads
from offsite.errors import DataError
from offsite.events import Monitor
from offsite.layers import Loaded
from offsite.modality import Images
from offsite.recovery.attacks import Budget, recover
from offsite.recovery.corpus import LEAST, Corpus
from offsite.recovery.skill import Recovered, Yardstick
from offsite.recovery.union import union_of
from offsite.release.capability import HOW, Capability, How, Subject
from offsite.rows import DataFile, holds_images, labels_in
from offsite.training.data import batches
from offsite.training.head import fit_head

_HEALING_EXAMPLES = 256


@dataclass(frozen=True)
class Held:
    """A model that an attacker holds."""

    model: Loaded
    middle: Collection[int]
    """The places of its blocks that are not the full model's own."""


@dataclass(frozen=True)
class Attacker:
    """What recovery attacks work with."""

    corpus: Corpus
    classes: tuple[str, ...]
    """The classes of the new head that each model gets; empty: it keeps its own."""
    yardstick: Yardstick
    budget: Budget

    @classmethod
    def of(
        cls,
        full: Loaded,
        data: DataFile,
        tests: Mapping[str, DataFile],
        budget: Budget,
        monitor: Monitor,
    ) -> "Attacker":
        """Read the data, and measure the full model.

        Skill is measured on held-out examples of `data`, and on each of the test sets. A model
        that does not know the classes of `data` gets a new head, which a linear probe begins.

        Args:
            data: public text, or labelled images, to attack with.
            tests: more data to measure skill on, by name.

        Raises:
            DataError: There is too little data, or the full model is no better than chance on it.
        """
        classes = _new_classes(data, full)
        modality = full.modality.with_labels(classes) if classes else full.modality
        rows = modality.read(data)
        with _named(data):
            corpus = Corpus.split(modality.encode(rows, budget.block_size, LEAST).examples)
        benches = {"corpus": modality.scoring(corpus.test)}
        for name, test in tests.items():
            rows = modality.read(test)
            with _named(test):
                benches[name] = modality.benchmark(rows)
        headed = _headed(full, classes, corpus, monitor)
        return cls(corpus, classes, Yardstick.of(headed, benches, corpus.train, monitor), budget)

    def measure(
        self, held: Mapping[Subject, Held], monitor: Monitor, attacks: Sequence[How] = HOW
    ) -> tuple[Capability, ...]:
        """Attack each model in each way, and measure the skill that is recovered.

        Raises:
            InterruptedStage: A signal asked to stop. The attacks begin anew next time.
        """
        found = list[Capability]()
        for subject, each in held.items():
            model = _headed(each.model, self.classes, self.corpus, monitor)
            for how in attacks:
                made = recover(model, each.middle, self.corpus, how, self.budget, monitor)
                skills = self.yardstick.measure(made, monitor, f"{subject}, {how}")
                found += [_capability(subject, how, skill) for skill in skills]
        return tuple(found)

    def union(
        self, full: Loaded, sent: Collection[int], monitor: Monitor, scratch: Path | None = None
    ) -> Held:
        """Put together the blocks of the full model that were sent; see `union_of`."""
        some = self.corpus.train[:_HEALING_EXAMPLES]
        heal_with = [
            batch.to(full.model.device)
            for batch in batches(some, full.modality.collate, self.budget.batch_size)
        ]
        made = union_of(full, sent, heal_with, monitor, scratch)
        return Held(replace(full, model=made.model), made.middle)


def _new_classes(data: DataFile, full: Loaded) -> tuple[str, ...]:
    """List the classes of the head that models need; empty: the full model's own serves.

    Raises:
        DataError: Images have no labels.
    """
    if not isinstance(full.modality, Images) or not holds_images(data):
        return ()
    known = labels_in(data)
    if not known:
        raise DataError(
            f"{data.name} has images without labels, and skill is measured by labels; put each "
            "image into the subfolder of its class, or add the column label"
        )
    return () if known <= {*full.modality.labels} else tuple(sorted(known))


def _headed(loaded: Loaded, classes: Sequence[str], corpus: Corpus, monitor: Monitor) -> Loaded:
    """Give a copy of a model a new head, fitted to its features; without classes, itself."""
    if not classes:
        return loaded
    modality = loaded.modality.with_labels(classes)
    made = replace(loaded, model=copy.deepcopy(loaded.model), modality=modality)
    heads.renew(made.model, classes)
    fit_head(made, len(classes), corpus.train, corpus.validation, monitor)
    return made


@contextmanager
def _named(data: DataFile) -> Iterator[None]:
    """Name the data set in the error when the `with` block cannot use it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{data.name}: {error}") from error


def _capability(subject: Subject, how: How, skill: Recovered) -> Capability:
    return Capability(
        subject=subject,
        how=how,
        data=skill.data,
        metric=skill.metric,
        value=skill.value if math.isfinite(skill.value) else None,
        share=skill.share.value if math.isfinite(skill.share.value) else 0.0,
        interval=skill.share.interval,
    )
