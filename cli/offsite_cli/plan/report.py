"""A plan as lines of text, or as JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from offsite.api import JobSpec
from offsite.sizing import Limit, Needs, Phase, Remedy, amount_of, remedies_for
from offsite_cli.plan.machine import Rate
from offsite_cli.tables import align

_MARGIN = 0.87
"""Share of the memory above which an estimate that fits may still be too low."""


@dataclass(frozen=True)
class Planned:
    """What a job needs, what there is, and what would make it fit."""

    stage: str
    workers: int
    needs: Needs
    limit: Limit
    rate: Rate
    remedies: tuple[Remedy, ...]
    """One of these changes makes the job fit."""

    @classmethod
    def of(
        cls, spec: JobSpec, compute: Callable[[JobSpec], Needs], limit: Limit, rate: Rate
    ) -> "Planned":
        """Plan a job."""
        needs = compute(spec)
        found = () if limit.fits(needs) else remedies_for(spec, compute, limit.fits)
        return cls(spec.stage, spec.resources.workers, needs, limit, rate, tuple(found))

    @property
    def fits(self) -> bool:
        """Whether the job fits."""
        return self.limit.fits(self.needs)

    def seconds(self, phase: Phase) -> float:
        """Estimate how long a phase takes."""
        return phase.flops / (self.rate.flops * self.workers)


def as_lines(planned: Planned) -> list[str]:
    """Format a plan for people; what does not fit comes first."""
    needs, rate = planned.needs, planned.rate
    lines = [f"{planned.stage} {planned.limit.verdict(needs)}"]
    if planned.fits and needs.peak > _MARGIN * planned.limit.memory:
        lines.append("It is close: estimates are within 15 %.")
    lines += [f"  to fit: {remedy}" for remedy in planned.remedies]
    if not planned.fits and not planned.remedies:
        lines.append("  no change of the job makes it fit: use a machine with more memory")
    rows = [["PHASE", "MEMORY", "TIME", "DISK", "OF THE MEMORY"]]
    rows += [_row(planned, phase) for phase in needs.phases]
    return [
        *lines,
        "",
        *align(rows),
        "",
        f"result: {amount_of(needs.sent)}",
        f"time: {rate.flops / 1e12:.3g} TFLOP/s for each worker, {rate.how}",
        f"assumed: {_assumed(rate)}",
    ]


def as_facts(planned: Planned) -> dict[str, Any]:
    """Describe a plan as JSON."""
    needs, limit, rate = planned.needs, planned.limit, planned.rate
    return {
        "stage": planned.stage,
        "fits": planned.fits,
        "memoryBytes": needs.peak,
        "deviceMemoryBytes": needs.device_peak or None,
        "limit": {"memoryBytes": limit.memory, "deviceBytes": limit.device, "of": limit.what},
        "remedies": [
            {"set": dict(each.changes), "memoryBytes": each.needs.peak} for each in planned.remedies
        ],
        "seconds": round(sum(map(planned.seconds, needs.phases)), 1),
        "rate": {"flopsPerSecond": rate.flops, "how": rate.how},
        "diskBytes": needs.disk,
        "resultBytes": needs.sent,
        "phases": [_facts(planned, phase) for phase in needs.phases],
        "assumed": _assumed(rate),
    }


def _assumed(rate: Rate) -> str:
    dtype = "bfloat16" if rate.bfloat16 else "float32"
    return f"matrices are multiplied in {dtype}; four bytes of text are a token"


def _facts(planned: Planned, phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "memoryBytes": phase.peak,
        "memory": dict(phase.memory),
        "deviceMemory": dict(phase.device),
        "flops": phase.flops,
        "seconds": round(planned.seconds(phase), 1),
        "diskBytes": phase.disk,
    }


def _row(planned: Planned, phase: Phase) -> list[str]:
    parts = phase.device or phase.memory
    detail = ", ".join(f"{name} {amount_of(size)}" for name, size in parts.items() if size)
    disk = amount_of(phase.disk) if phase.disk else "-"
    peak = amount_of(phase.device_peak or phase.peak)
    return [phase.name, peak, _duration(planned.seconds(phase)), disk, detail]


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
