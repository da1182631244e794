"""The record of a run: what a recorder makes of events, and how records are joined."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from pydantic import ValidationError

from offsite.config import parse_job
from offsite.events import (
    Artifact,
    Done,
    Egress,
    Event,
    Failed,
    Metric,
    PrivacyReport,
    Progress,
    Rates,
    Started,
)
from offsite.resources import EgressReport
from offsite.runs import Recorder, Run, begin, merged
from offsite.runs.merge import MOST_POINTS
from offsite_testing.parties import HEAD, HOSPITAL, LAB, tune

KEYS = {HOSPITAL: "aaaa-bbbb", LAB: "cccc-dddd"}
DIGEST = f"sha256:{'0' * 64}"


def blank(name: str = "adapter") -> Run:
    job = parse_job({**HEAD, "metadata": {"name": "adapter"}, "spec": tune()}, source="adapter")
    return begin(job, name, party=HOSPITAL, peer=LAB, fingerprints=KEYS)


def recorder(*moments: float) -> Recorder:
    """Make a recorder whose clock shows these seconds, one at each look."""
    clock: Iterator[float] = iter(moments)
    return Recorder(blank(), lambda: next(clock))


def recorded(*events: Event) -> Run:
    made = recorder(*map(float, range(2 + len(events))))
    for event in events:
        made.receive(event)
    return made.run


def loss(step: int, value: float, phase: str = "tune") -> Progress:
    return Progress(phase=phase, step=step, loss=value)


def perplexity(value: float, setting: str = "emulator_tuned") -> Metric:
    return Metric(name="perplexity", setting=setting, value=value, text=DIGEST)


def test_record_says_who_ran_what() -> None:
    run = recorded(Started(fingerprint="f" * 64, inputs={"train": DIGEST, "bundle": DIGEST}))
    assert (run.job, run.stage, run.party, run.peer) == ("adapter", "Tune", HOSPITAL, LAB)
    assert run.spec["tune"]["training"]["steps"] == 6
    assert run.spec["seed"] == 0
    assert (run.inputs_digest, run.bundle) == ("f" * 64, DIGEST)
    assert {"offsite", "python", "torch", "transformers"} <= set(run.versions)
    assert (run.outcome, run.ended) == ("Unfinished", None)


def test_record_survives_the_wire() -> None:
    report = EgressReport.of(
        kind="adapter",
        bundle="adapter",
        job="1",
        sender=HOSPITAL,
        recipient=LAB,
        recipient_keys="cccc-dddd",
        manifest=DIGEST,
        size_bytes=0,
        files=[],
        tensors=[],
    )
    private = PrivacyReport(
        epsilon=8.0, delta=1e-5, unit="row", sampling_rate=0.1, steps=60, noise_multiplier=1.0
    )
    run = recorded(
        loss(1, 3.0),
        Metric(
            name="accuracy", setting="emulator_tuned", value=0.5, interval=(0.25, 0.75), gain=0.1
        ),
        Rates(setting="membership", points=((0.0, 0.0), (0.5, 0.75), (1.0, 1.0))),
        Rates(setting="canary", points=((0.0, 0.0), (0.1, 0.5), (1.0, 1.0))),
        private,
        Egress(report=report.wire()),
        Artifact(name="adapter", digest=DIGEST, uri="file:///x", size_bytes=1),
        Done(peak_memory_bytes=5),
    )
    again = Run.read(run.content())
    assert again == run
    assert (again.egress, again.privacy, again.outcome) == (report, private, "Complete")
    assert again.peak_memory_bytes == 5
    assert again.rates["canary"][1] == (0.1, 0.5)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("DataError", "Failed"),
        ("InterruptedStage", "Interrupted"),
        ("AwaitingApproval", "AwaitingApproval"),
    ],
)
def test_outcome_follows_from_the_last_event(reason: str, outcome: str) -> None:
    run = recorded(Failed(reason=reason, message="why"))
    assert (run.outcome, run.error and run.error.message) == (outcome, "why")
    assert run.ended is not None


def test_phases_that_alternate_keep_their_own_seconds() -> None:
    made = recorder(0, 2, 5, 6, 8, 9, 11, 20)
    for event in (
        loss(1, 3.0),
        loss(2, 2.0),
        loss(1, 0.0, "validate"),
        loss(3, 1.0),
        perplexity(9.0),
        loss(4, 0.5),
    ):
        made.receive(event)
    run = made.run
    assert run.seconds == {"tune": 2 + 3 + 2 + 3, "validate": 1}
    assert run.duration == 20
    assert run.curves["tune"] == ((1, 3.0), (2, 2.0), (3, 1.0), (4, 0.5))


@pytest.mark.parametrize("count", [1, 499, 500, 501, 5000])
def test_curves_are_thinned_at_even_distances(count: int) -> None:
    points = recorded(*(loss(step, 1.0) for step in range(1, count + 1))).curves["tune"]
    steps = [step for step, _ in points]
    assert (steps[0], steps[-1]) == (1, count)
    assert len(steps) <= MOST_POINTS
    assert len({b - a for a, b in pairwise(steps[:-1])}) <= 1


def test_only_the_last_value_of_a_figure_is_kept() -> None:
    run = recorded(perplexity(9.0), perplexity(7.0, "plug_in"), perplexity(8.0))
    assert [(each.setting, each.value) for each in run.metrics] == [
        ("emulator_tuned", 8.0),
        ("plug_in", 7.0),
    ]
    assert run.metric("plug_in") == perplexity(7.0, "plug_in")
    assert run.metric("plug_in", "accuracy") is None


def test_attempts_are_joined() -> None:
    first = recorded(
        perplexity(9.0),
        Rates(setting="canary", points=((0.0, 0.0), (1.0, 1.0))),
        loss(1, 3.0),
        loss(2, 2.0),
        loss(3, 9.0),
        Failed(reason="OSError"),
    )
    then = recorded(loss(3, 1.0), loss(4, 0.5), Done(peak_memory_bytes=1))
    run = merged(first, then)
    assert run.curves["tune"] == ((1, 3.0), (2, 2.0), (3, 1.0), (4, 0.5))
    assert (run.attempts, run.outcome, run.error) == (2, "Complete", None)
    assert run.duration == first.duration + then.duration
    assert run.seconds["tune"] == first.seconds["tune"] + then.seconds["tune"]
    assert (run.metrics, run.rates) == (first.metrics, first.rates)
    assert merged(first, then, attempts=1).attempts == 1


def test_long_curves_of_attempts_are_thinned() -> None:
    first = recorded(*(loss(step, 1.0) for step in range(400)))
    then = recorded(*(loss(step, 1.0) for step in range(400, 800)))
    points = merged(first, then).curves["tune"]
    assert len(points) <= MOST_POINTS
    assert (points[0][0], points[-1][0]) == (0, 799)


def test_record_of_another_version_is_no_record() -> None:
    with pytest.raises(ValidationError):
        Run.read(blank().model_copy(update={"version": 2}).content())
