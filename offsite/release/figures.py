"""What the audits of an adapter found. No torch."""

from offsite.release.traces import Traces
from offsite.wire import Part

AUDITED = "release.json"
"""The note in a workspace that holds them."""


class Estimate(Part):
    """A figure, with its interval of 95 % confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} (95 % confidence: {self.low:.3g} to {self.high:.3g})"


class Membership(Part):
    """How well one can tell members from others by how much training lowered their loss."""

    auc: Estimate
    """Probability that a member stands out more than another example; 0.5 is a guess."""
    tpr: Estimate
    """Share of the members that are found at a false positive rate of 1 %; 0.01 is a guess."""
    members: int
    others: int


class CanaryAudit(Membership):
    """Membership of canaries, of which coins decided."""

    epsilon: float
    """Lower bound on ε, with a confidence of 95 %."""
    largest_epsilon: float
    """The bound if every guess were right: a larger ε does not show with so many canaries."""
    delta: float
    """The δ that ε belongs to; 0: the training is not private."""


class Figures(Part):
    """All figures of one adapter."""

    untouched_loss: float
    """Validation loss of the emulator as it came, in nats per scored target."""
    tuned_loss: float
    """Validation loss of the emulator with the adapter."""
    traces: Traces
    membership: Membership | None = None
    """Of the private data: examples of `data.train` against those of `data.validation`."""
    canaries: CanaryAudit | None = None

    @property
    def improvement(self) -> float:
        """Share by which the adapter lowered the validation loss."""
        return 1 - self.tuned_loss / self.untouched_loss if self.untouched_loss else 0.0
