"""The section `tune.privacy` of a job: differential privacy for the rows of the private data."""

import math
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from offsite.api.values import COLUMN_PATTERN, RULES, Section, cel
from offsite.rows import COLUMNS

_ONE = "set exactly one of epsilon and noiseMultiplier"
_RESERVED = f"must be a column other than {', '.join(COLUMNS)}"


def _group_rules(schema: dict[str, Any]) -> None:
    names = ", ".join(f"'{name}'" for name in COLUMNS)
    schema[RULES] = [cel(f"!(self.group in [{names}])", _RESERVED, fieldPath=".group")]


class Unit(Section):
    """What differential privacy protects as a whole: all rows with the same value in a column."""

    model_config = ConfigDict(json_schema_extra=_group_rules)

    group: Annotated[str, Field(pattern=COLUMN_PATTERN, max_length=63)]
    """Column, such as `patient`: rows with the same value (a string or integer) are one unit."""

    @model_validator(mode="after")
    def _is_no_text(self) -> "Unit":
        if self.group in COLUMNS:
            raise ValueError(f"group: {_RESERVED}")
        return self


class Privacy(Section):
    """Differential privacy (DP-SGD, arXiv 1607.00133) of the adapter, for each unit of the data.

    An adapter is (ε, δ)-differentially private with respect to adding or removing one unit. The
    bound is for this adapter: those of several adapters of the same data add up.
    """

    model_config = ConfigDict(
        json_schema_extra={RULES: [cel("has(self.epsilon) != has(self.noiseMultiplier)", _ONE)]}
    )

    epsilon: float | None = Field(None, ge=0.01, le=1000)
    """Privacy budget ε of the adapter: less is more private. It determines the noise."""
    noise_multiplier: float | None = Field(None, ge=0.1, le=1000)
    """Standard deviation of the noise, divided by `maxGradNorm`. Set it instead of `epsilon`."""
    delta: float | None = Field(None, ge=1e-15, lt=1)
    """Bound δ of the adapter, below 1 / N for N units; absent: 1 / (10 · N), rounded down."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e6)
    """Maximum norm of the gradient of a unit. A larger gradient is clipped to it."""
    unit: Unit | None = None
    """The unit that ε and δ protect: all rows of a group together; absent: each row."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Privacy":
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError(_ONE)
        return self

    @property
    def unit_name(self) -> str:
        """The unit as the manifest names it: `row`, or `group:` and the column."""
        return "row" if self.unit is None else f"group:{self.unit.group}"

    def delta_of(self, units: int) -> float:
        """Choose δ: the job's own, or 1 / (10 · units), rounded down to one digit.

        The manifest tells δ to the peer. Rounding keeps the number of units from it.

        Args:
            units: Number of units in the training data.
        """
        return self.delta if self.delta is not None else _digits(1 / (10 * units), 1, math.floor)


def sampling_rate(batch_size: int, units: int) -> float:
    """Compute the probability of each unit to be in a batch, rounded up to two digits.

    Training uses this rate, so ε is exact for it. The manifest tells the rate to the peer. Rounding
    keeps the number of units from it.

    Args:
        batch_size: Expected number of units in a batch.
        units: Number of units in the training data.
    """
    return min(1.0, _digits(batch_size / units, 2, math.ceil))


def _digits(value: float, digits: int, rounded: Any) -> float:
    """Round a positive value to a number of significant digits."""
    exponent = math.floor(math.log10(value)) - digits + 1
    # a value that is a round number already stays as it is, whatever its binary fraction
    scaled = float(f"{value / 10.0**exponent:.9g}")
    return float(f"{rounded(scaled)}e{exponent}")
