"""What inspection measures, and what it takes for a sign of an emulator built to memorize.

The bounds are between the worst honest emulator and the best trap that were measured; `make bench`
measures both again, and docs/inspection.md explains each sign.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from offsite.errors import SuspiciousEmulator
from offsite.events import Monitor


@dataclass(frozen=True)
class Sign:
    """One property that honest emulators have."""

    said: str
    """What its figure is."""
    bound: float
    side: Literal["least", "most"]
    """Whether the bound is the least or the most that an honest emulator has."""


SIGNS = {
    "contents": Sign("different tokens or patches in public examples", 16, "least"),
    "spread": Sign("spread of the logits, in nats", 0.05, "least"),
    "dead_rows": Sign("share of rows without a gradient", 0.5, "most"),
    "narrow_rows": Sign("share of rows whose gradient is of one event", 0.7, "most"),
    "narrow_neurons": Sign("share of neurons that matter in one event", 0.1, "most"),
    "narrow_columns": Sign("share of inputs that matter in one event", 0.5, "most"),
    "offset": Sign("attention to one fixed place, or one distance beyond the nearest", 0.8, "most"),
    "density": Sign("density of a matrix", 0.1, "least"),
    "row_norms": Sign("largest row norm over the median", 1000, "most"),
    "silent_norms": Sign("share of features that a norm removes", 0.5, "most"),
}
"""The signs by name. A value that is not finite crosses every bound."""


@dataclass(frozen=True)
class Measure:
    """One measured value of a sign, before the worst is chosen."""

    sign: str
    where: str
    """Of which module, tensor or kind of input."""
    value: float


@dataclass(frozen=True)
class Figure(Measure):
    """The worst value of a sign in one emulator."""

    @property
    def expected(self) -> Sign:
        """Get the sign with its bound."""
        return SIGNS[self.sign]

    @property
    def json_value(self) -> float | None:
        """Get the value as JSON has it: None if it is not finite."""
        return self.value if math.isfinite(self.value) else None

    @property
    def crossed(self) -> bool:
        """Whether no honest emulator has such a value."""
        sign = self.expected
        if not math.isfinite(self.value):
            return True
        return self.value < sign.bound if sign.side == "least" else self.value > sign.bound

    def __str__(self) -> str:
        """Say what was found, where, and what is expected."""
        sign = self.expected
        return f"{sign.said}: {self.value:.3g} in {self.where} (at {sign.side} {sign.bound:g})"


@dataclass(frozen=True)
class Report:
    """The figures of one emulator, one a sign."""

    figures: tuple[Figure, ...]

    @classmethod
    def of(cls, measures: Iterable[Measure]) -> "Report":
        """Choose the worst value of each sign."""
        worst: dict[str, Figure] = {}
        for each in measures:
            known = worst.get(each.sign)
            if known is None or _badness(each) > _badness(known):
                worst[each.sign] = Figure(each.sign, each.where, each.value)
        return cls(tuple(worst[name] for name in SIGNS if name in worst))

    @property
    def crossed(self) -> tuple[Figure, ...]:
        """List the figures that no honest emulator has."""
        return tuple(figure for figure in self.figures if figure.crossed)

    def refusal(self, emulator: str) -> SuspiciousEmulator:
        """Make the error that refuses the emulator of this name."""
        return SuspiciousEmulator(
            f"{_said(emulator)}: {'; '.join(map(str, self.crossed))}; it was given no private "
            "data; ask its owner, or allow it in your organization's limits "
            "(allowSuspiciousEmulators) if you trust it"
        )


def _badness(measure: Measure) -> float:
    if not math.isfinite(measure.value):
        return math.inf
    return measure.value if SIGNS[measure.sign].side == "most" else -measure.value


def check_inspected(report: Report, emulator: str, monitor: Monitor, *, allowed: bool) -> None:
    """Report the figures as metrics, and refuse an emulator with one that no honest one has.

    Args:
        emulator: its name, for the message.
        allowed: whether the party's policy accepts it all the same.

    Raises:
        SuspiciousEmulator: it may be built to memorize private data.
    """
    for figure in report.figures:
        monitor.metric("worst", f"inspection_{figure.sign}", figure.value)
    monitor.metric("signs", "inspection_crossed", len(report.crossed))
    if not report.crossed:
        monitor.log(f"the emulator {emulator} passed inspection")
        return
    if not allowed:
        raise report.refusal(emulator)
    found = "; ".join(map(str, report.crossed))
    monitor.log(f"{_said(emulator)}, which allowSuspiciousEmulators accepts: {found}")


def _said(emulator: str) -> str:
    return f"the emulator {emulator} has properties of one that is built to memorize private data"
