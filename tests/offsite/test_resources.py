"""The status of a job, as it is written and read."""

from datetime import UTC, datetime

import pytest

from offsite.resources import Condition, ConditionType, JobStatus, MetricStatus, ProgressStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def condition(kind: ConditionType, holds: bool, reason: str) -> Condition:
    status = "True" if holds else "False"
    return Condition(type=kind, status=status, reason=reason, last_transition_time=NOON)


def test_what_is_written_is_read() -> None:
    status = JobStatus(
        conditions=[condition("Accepted", True, "Accepted")],
        observed_generation=2,
        state="Running",
        progress=ProgressStatus(phase="tune", step=1, total_steps=4, percent=25.0, updated_at=NOON),
        metrics=[MetricStatus(name="perplexity", setting="full_zero_shot", value="17.25")],
    )
    wire = status.wire()
    assert wire["progress"]["updatedAt"] == "2026-01-01T12:00:00Z"
    assert "artifact" not in wire
    assert wire["reason"] == "Accepted"
    assert JobStatus.model_validate(wire) == status
    assert JobStatus.model_validate({**wire, "ofALaterVersion": 1}) == status


ACCEPTED = condition("Accepted", True, "Accepted")


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([], None),
        ([ACCEPTED], "Accepted"),
        ([condition("Accepted", False, "WaitingForBundle")], "WaitingForBundle"),
        ([ACCEPTED, condition("Running", False, "WaitingForPod")], "WaitingForPod"),
        ([ACCEPTED, condition("Running", True, "Training")], "Training"),
        (
            [
                ACCEPTED,
                condition("Running", False, "Suspended"),
                condition("Suspended", True, "Asked"),
            ],
            "Asked",
        ),
        ([ACCEPTED, condition("Running", False, "Done"), condition("Complete", True, "Ok")], "Ok"),
        (
            [condition("Accepted", False, "NotAllowed"), condition("Failed", True, "DataError")],
            "DataError",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reason_is_that_of_the_deciding_condition(
    conditions: list[Condition], reason: str | None
) -> None:
    assert JobStatus(conditions=conditions).wire().get("reason") == reason
