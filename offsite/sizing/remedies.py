"""What would make a job fit: changes of its fields, each with the memory that it then needs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from offsite.api import JobSpec
from offsite.sizing.amounts import amount_of, request_of
from offsite.sizing.limits import REQUEST, Limit
from offsite.sizing.phase import Needs

Compute = Callable[[JobSpec], Needs]
"""Computes what a changed job needs."""
_WORKERS = (2, 4, 8)
_SHORTEST = 64


@dataclass(frozen=True)
class Remedy:
    """A change of a job, and what it needs then."""

    changes: Mapping[str, Any]
    """New values by the path of the field, such as `tune.training.accumulate`."""
    needs: Needs

    def __str__(self) -> str:
        fields = ", ".join(f"{path}: {_shown(value)}" for path, value in self.changes.items())
        return f"{fields} ({amount_of(self.needs.device_peak or self.needs.peak)})"


def remedies_for(spec: JobSpec, compute: Compute, fits: Callable[[Needs], bool]) -> list[Remedy]:
    """List the changes that make a job fit: one of each kind, else several together.

    Those that leave the result as it is come first.
    """
    groups = list(_groups(spec))
    if found := [each for group in groups if (each := _first(spec, group, compute, fits))]:
        return found
    together: dict[str, Any] = {}
    for group in groups:
        valid = [each for each in group if _changed(spec, {**together, **each})]
        if not valid:
            continue
        together |= valid[-1]
        if remedy := _first(spec, [together], compute, fits):
            return [remedy]
    return []


def _first(
    spec: JobSpec,
    candidates: list[dict[str, Any]],
    compute: Compute,
    fits: Callable[[Needs], bool],
) -> Remedy | None:
    for changes in candidates:
        changed = _changed(spec, changes)
        if changed is not None and fits(needs := compute(changed)):
            return Remedy(dict(changes), needs)
    return None


def _groups(spec: JobSpec) -> Iterator[list[dict[str, Any]]]:
    """List alternatives of one kind, the mildest first. Those that are not valid are left out."""
    stage = spec.tune or spec.distill
    training = stage.training if stage is not None else None
    if training is None:
        return
    path = "tune.training" if spec.tune else "distill.training"
    batch, length = training.batch_size, training.block_size
    if not training.gradient_checkpointing:
        yield [{f"{path}.gradientCheckpointing": True}]
    yield [{f"{path}.accumulate": count} for count in _divisors(batch) if count > 1]
    if spec.tune and spec.tune.adapter.method == "LoRA":
        yield [{"tune.base.quantize": kind} for kind in ("Int8", "NF4")]
    if spec.resources.workers == 1 and spec.runtime.engine != "Job":
        yield [{"resources.workers": n, "resources.sharding": "FSDP"} for n in _WORKERS]
    yield [{f"{path}.batchSize": count} for count in reversed(_divisors(batch)) if count < batch]
    yield [{f"{path}.blockSize": length // n} for n in (2, 4) if length // n >= _SHORTEST]


def _divisors(count: int) -> list[int]:
    return [n for n in range(1, count + 1) if count % n == 0]


def _changed(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec | None:
    """Change fields of a job; None: the job would not be valid."""
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = content
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value
    try:
        return JobSpec.model_validate(content, by_name=False)
    except ValidationError:
        return None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def explained(spec: JobSpec, compute: Compute, limit: Limit) -> tuple[Needs, str]:
    """Compute what a job needs, and say whether it fits and what would make it fit."""
    needs = compute(spec)
    verdict = f"the job {limit.verdict(needs)}"
    if limit.fits(needs):
        return needs, verdict
    found = [str(each) for each in remedies_for(spec, compute, limit.fits)]
    if needs.peak > limit.memory:
        found.append(f"{REQUEST}: {request_of(needs.peak)}")
    return needs, f"{verdict}; set {' or '.join(found)}"
