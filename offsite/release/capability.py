"""What the recovery attacks on an emulator found, and the verdict on it. No torch."""

from typing import Literal, get_args

from pydantic import Field

from offsite.api import EmulatorRelease
from offsite.errors import ReleaseRefused
from offsite.wire import Part

How = Literal["Nothing", "LoRA", "Middle", "All"]
"""What an attacker trains on public data: nothing, LoRA in all blocks, the blocks between the ends,
or all weights."""
HOW: tuple[How, ...] = get_args(How)
"""All attacks, from the weakest on; `Nothing` is the baseline."""
Subject = Literal["Emulator", "Union"]
"""What an attacker holds: one emulator, or the blocks of all emulators of the model."""


class Capability(Part):
    """How much of the full model's skill one attack recovers, on one test set."""

    subject: Subject
    how: How
    data: str
    """The test set: `corpus` (held-out examples of the attacker's data), or `evaluate`."""
    metric: str
    """`perplexity` or `accuracy`."""
    value: float | None
    """The metric of the recovered model; None: it is not finite."""
    share: float = Field(allow_inf_nan=False)
    """The recovered model's skill, as a share of the full model's: 0 is chance, 1 the full model.
    """
    interval: tuple[float, float] | None
    """The 95 % confidence interval of the share, for the test set; None: it is not known."""

    @property
    def setting(self) -> str:
        """The setting of its metric, such as `recovered_all_evaluate`."""
        held = "recovered" if self.subject == "Emulator" else "recovered_union"
        return f"{held}_{self.how.lower()}_{self.data}"

    def __str__(self) -> str:
        low, high = self.interval or (self.share, self.share)
        return (
            f"{self.share:.1%} (95 % confidence: {low:.1%} to {high:.1%}; {self.metric} on "
            f"{self.data}, {_HELD[self.subject]}, {_TRAINED[self.how]})"
        )


_HELD = {"Emulator": "this emulator", "Union": "all emulators of this model together"}
_TRAINED = {
    "Nothing": "as it is",
    "LoRA": "LoRA trained",
    "Middle": "the middle blocks trained",
    "All": "all weights trained",
}


class Recovery(Part):
    """The audit of one emulator."""

    steps: int
    """Training steps of each attack."""
    blocks: tuple[int, ...]
    """The full model's blocks that all its emulators hold together, this one included."""
    found: tuple[Capability, ...]

    @property
    def highest(self) -> Capability:
        """The capability with the largest share."""
        return max(self.found, key=lambda each: each.share)


def check_recovery(recovery: Recovery, release: EmulatorRelease) -> None:
    """Refuse to publish an emulator from which more can be recovered than is allowed.

    Args:
        release: What is required, as `required_recovery` combines it.

    Raises:
        ReleaseRefused: A share is above the maximum, or was measured with fewer steps.
    """
    if not recovery.found or recovery.steps < release.recovery_steps:
        raise ReleaseRefused(
            f"the emulator is not published: it was attacked for {recovery.steps} steps, and "
            f"{release.recovery_steps} are required; run the job again under another name"
        )
    limit, highest = release.max_capability, recovery.highest
    if limit is not None and not highest.share <= limit:
        raise ReleaseRefused(
            f"the emulator is not published: public data recovers {highest} of the full model's "
            f"skill; at most {limit:.1%} may be recovered (maxCapability): compress more, distil "
            "less, or leave healing out"
        )


def required_recovery(
    floor: EmulatorRelease | None, asked: EmulatorRelease | None
) -> EmulatorRelease | None:
    """Combine the audit that a job asks for with that of the organization; None: no audit."""
    return asked.joined(floor) if asked and floor else asked or floor
