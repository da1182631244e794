"""Which canaries are in the training data: a coin for each, from a secret.

The coins must be independent of everything that the peer or the job's author chooses, or a bound on
ε would prove nothing. So the secret comes from the operating system's randomness, never from the
job's seed. It is stored with the checkpoint, because an interrupted training has to go on with the
same canaries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

E = TypeVar("E")


@dataclass(frozen=True)
class Canaries(Generic[E]):
    """Canaries, and the coin of each."""

    examples: Sequence[E]
    included: Sequence[bool]
    """Whether a canary is in the training data."""

    @property
    def planted(self) -> tuple[E, ...]:
        """The canaries that are in the training data."""
        return tuple(e for e, coin in zip(self.examples, self.included, strict=True) if coin)


def coins(count: int, draw: Random) -> tuple[bool, ...]:
    """Toss a fair coin for each canary."""
    return tuple(draw.getrandbits(1) == 1 for _ in range(count))


def generator(secret: str) -> Random:
    """Expand a secret to the random numbers of canaries and coins. They are never published."""
    return Random(secret)
