"""The conditions of an OffsiteJob, and how they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from offsite.resources import Condition, ConditionType
from offsite.text import printable

Kind = ConditionType
Truth = Literal["True", "False", "Unknown"]
_LONGEST = 4096


@dataclass(frozen=True)
class Says:
    """What a condition is to say."""

    status: Truth
    reason: str
    message: str = ""
    """It may quote anybody."""

    @property
    def shown(self) -> str:
        """The message as a condition and an Event have it."""
        return printable(self.message)[:_LONGEST]


FIRST: Mapping[Kind, Says] = {
    "Accepted": Says("Unknown", "NotChecked", "the operator has not looked at it yet"),
    "Running": Says("False", "NotStarted"),
    "Suspended": Says("False", "NotSuspended"),
    "Complete": Says("False", "NotFinished"),
    "Failed": Says("False", "NotFinished"),
}
"""All of them, on the first visit."""


def updated(
    before: Sequence[Condition], says: Mapping[Kind, Says], generation: int, now: datetime
) -> list[Condition]:
    """Say something new in some conditions; the others say what they said."""
    known = {condition.type: condition for condition in before}
    return [_one(kind, known.get(kind), says.get(kind), generation, now) for kind in FIRST]


def _one(
    kind: Kind, before: Condition | None, says: Says | None, generation: int, now: datetime
) -> Condition:
    if says is None and before is not None:
        return before.model_copy(update={"observed_generation": generation})
    says = says or FIRST[kind]
    changed = before is None or before.status != says.status
    return Condition(
        type=kind,
        status=says.status,
        reason=says.reason,
        message=says.shown,
        last_transition_time=now if changed or before is None else before.last_transition_time,
        observed_generation=generation,
    )
