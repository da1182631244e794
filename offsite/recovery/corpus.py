"""Public data of an attacker: what to train on, to choose the best step with, and to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from offsite.errors import DataError

LEAST = 20
"""Examples that a corpus needs."""
_MOST_VALIDATION, _MOST_TEST = 64, 256


@dataclass(frozen=True)
class Corpus:
    """Disjoint examples of one modality."""

    train: tuple[Any, ...]
    validation: tuple[Any, ...]
    test: tuple[Any, ...]

    @classmethod
    def split(cls, examples: Sequence[Any]) -> "Corpus":
        """Hold out a tenth of the examples for validation, and a tenth for the test, at random.

        At most 64 and 256 are held out. The split is the same for the same number of examples.

        Raises:
            DataError: There are fewer than 20 examples that have a target. Names no file.
        """
        usable = [example for example in examples if example.weight]
        if len(usable) < LEAST:
            raise DataError(
                f"has {len(usable)} examples with a target, and recovery attacks need at least "
                f"{LEAST}; use more data"
            )
        Random(0).shuffle(usable)
        tenth = len(usable) // 10
        validation, test = min(tenth, _MOST_VALIDATION), min(tenth, _MOST_TEST)
        return cls(
            train=tuple(usable[validation + test :]),
            validation=tuple(usable[:validation]),
            test=tuple(usable[validation : validation + test]),
        )
