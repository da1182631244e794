"""The sections `tune.release` and `distill.release` of a job: audits before a publication."""

from pydantic import Field

from offsite.api.values import Section


class Release(Section):
    """Audits of an adapter, and the figures above which it is not published.

    With the section, membership inference is measured. With `canaries`, a canary audit is, too.
    """

    canaries: int | None = Field(None, ge=40, le=100_000)
    """Number of canaries: random examples, of which about half are put into the training data."""
    max_auc: float | None = Field(None, ge=0.5, le=1)
    """Largest AUC of membership inference on the private data; 0.5 is a guess."""
    max_tpr_at_1_percent_fpr: float | None = Field(None, ge=0.01, le=1)
    """Largest share of the training data that membership inference finds at a false positive rate
    of 1 %; 0.01 is a guess."""
    max_empirical_epsilon: float | None = Field(None, ge=0)
    """Largest lower bound on ε that the canary audit may prove. Without `canaries`, it uses 200."""

    @property
    def canary_count(self) -> int:
        """Number of canaries to audit with; 0: no canary audit."""
        default = 0 if self.max_empirical_epsilon is None else DEFAULT_CANARIES
        return default if self.canaries is None else self.canaries

    def joined(self, other: "Release") -> "Release":
        """Combine two sections: the stricter value of each field."""
        return Release(
            canaries=max(self.canary_count, other.canary_count) or None,
            max_auc=_least(self.max_auc, other.max_auc),
            max_tpr_at_1_percent_fpr=_least(
                self.max_tpr_at_1_percent_fpr, other.max_tpr_at_1_percent_fpr
            ),
            max_empirical_epsilon=_least(self.max_empirical_epsilon, other.max_empirical_epsilon),
        )


class EmulatorRelease(Section):
    """Audit of an emulator: how much of the full model's skill can be recovered from it.

    Skill is measured as a share of what the full model is above chance: of a text in nats per
    token, of labelled data in accuracy.
    """

    max_capability: float | None = Field(None, gt=0, le=1)
    """Largest share of the full model's skill that may be recovered; absent: no limit."""
    recovery_steps: int = Field(200, ge=1, le=100_000)
    """Number of training steps of each recovery attack, of 16 examples each."""

    def joined(self, other: "EmulatorRelease") -> "EmulatorRelease":
        """Combine two sections: the stricter value of each field."""
        return EmulatorRelease(
            max_capability=_least(self.max_capability, other.max_capability),
            recovery_steps=max(self.recovery_steps, other.recovery_steps),
        )


DEFAULT_CANARIES = 200
"""They can prove an ε of up to 3.8."""


def _least(*limits: float | None) -> float | None:
    return min((each for each in limits if each is not None), default=None)
