"""Measures each setting of a sweep: rehearses it, and attacks its emulator. Publishes nothing."""

from collections.abc import Sequence

from offsite.errors import DataError
from offsite.events import Monitor
from offsite.frontier.allowed import refusal_of, refusals
from offsite.frontier.leak import TEST, Leaks
from offsite.frontier.plan import Plan
from offsite.frontier.points import Cost, Figure, Frontier, Point, Skill, Wanted
from offsite.frontier.summary import summarize
from offsite.frontier.sweep import Candidate
from offsite.frontier.titles import describe
from offsite.recovery import Budget
from offsite.rehearsal import Splits, Spread, Summary, spread
from offsite.rehearsal.emulator import delete_emulator
from offsite.rehearsal.keeping import Kept
from offsite.rehearsal.rehearse import repeat
from offsite.rehearsal.subject import Subject
from offsite.release.capability import Capability


def measure_sweep(
    candidates: Sequence[Candidate], plan: Plan, wanted: Wanted, monitor: Monitor
) -> Frontier:
    """Measure the settings of a sweep one by one.

    Each result is kept when it is there, so an interrupted sweep goes on where it was.

    Args:
        wanted: The limits that a suggestion keeps.

    Raises:
        ModelError, DataError: The model, the data or a setting cannot be used.
        InterruptedStage: A signal came; the same call goes on.
    """
    subject = Subject(plan.model, plan.data, Kept(plan.folder), monitor)
    subject.check()
    leaks = Leaks(subject, Budget(steps=plan.recovery_steps))
    refused = refusals(candidates, plan.model, plan.limits)
    points = []
    for number, candidate in enumerate(candidates, 1):
        monitor.log(f"setting {number} of {len(candidates)}: {describe(candidate)}")
        points.append(_measure_point(number, candidate, refused[number - 1], plan, leaks))
    metric = next(each.metric for each in points[0].attacks if each.data == TEST)
    return summarize(points, metric, len(plan.seeds), wanted)


def _measure_point(
    number: int, candidate: Candidate, refused: str | None, plan: Plan, leaks: Leaks
) -> Point:
    """Measure one setting. Its emulator is large, so it is deleted afterwards."""
    setting, subject = plan.of(candidate), leaks.subject
    with subject.kept.open():
        leak = leaks.of_emulator(setting)
    monitor = subject.monitor
    runs = repeat(plan.model, setting, plan.data, plan.seeds, monitor, folder=plan.folder)
    with subject.kept.open():
        tuned = spread([leaks.of_tuned(run) for run in runs.runs])
        delete_emulator(subject, setting)
    summary = runs.summary()
    return Point(
        number=number,
        setting=candidate,
        gain=_gain(summary, plan.data),
        skill=Skill(
            untouched=_share(leak.untouched),
            recovered=_share(leak.recovered),
            tuned=_figure(tuned),
        ),
        cost=_cost(summary),
        refused=refused or refusal_of(leak.recovered, plan.limits),
        attacks=leak.found,
    )


def _gain(summary: Summary, data: Splits) -> Figure:
    """Return the share of full fine-tuning's gain that the plug-in reaches.

    Raises:
        DataError: Full fine-tuning gains nothing.
    """
    if summary.share is None:
        raise DataError(
            f"fine-tuning the full model on {data.train.name} gains nothing on {data.test.name}, "
            "so no setting can be compared with it; train for more steps, or use other data"
        )
    return _figure(summary.share)


def _figure(found: Spread) -> Figure:
    assert found.mean is not None, "a share is finite"
    return Figure(value=found.mean, interval=found.interval, error=found.error)


def _share(found: Capability) -> Figure:
    return Figure(value=found.share, interval=found.interval)


def _cost(summary: Summary) -> Cost:
    sizes = summary.sizes
    return Cost(
        size_bytes=sizes.emulator,
        size=sizes.emulator / sizes.model,
        flops=summary.relative_flops,
        distill_seconds=summary.seconds["distill"],
        tune_seconds=summary.seconds["tune"],
    )
