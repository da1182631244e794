"""Reads what other commands wrote with `--output json`, for a report."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.frontier import Frontier
from offsite.release.capability import Capability
from offsite.store import disk_errors
from offsite_cli.report.evidence import Comparison, Estimate, Gain

T = TypeVar("T")
_FULL = ("full_zero_shot", "full_probe")


class _Read(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )


class _Spread(_Read):
    mean: float | None
    error: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def estimate(self) -> Estimate:
        return Estimate(value=self.mean, interval=self.interval, error=self.error)


class _Scored(_Read):
    score: _Spread
    gain: _Spread | None = None


class _Summary(_Read):
    """The part of a rehearsal's summary that a report shows."""

    metric: str
    seeds: tuple[int, ...]
    models: dict[str, _Scored]
    share: _Spread | None = None


def read_evaluation(path: Path) -> Comparison:
    """Read the five settings, as `offsite evaluate --output json` writes them.

    Raises:
        InputError: The file is missing, or is none.
    """
    return comparison_in(_content(path), str(path))


def comparison_in(content: bytes | str, source: str) -> Comparison:
    """Read the five settings from JSON; see `read_evaluation`."""
    found = _parsed(TypeAdapter(_Summary), content, source, "offsite evaluate")
    over = next((name for name in _FULL if name in found.models), "")
    return Comparison(
        metric=found.metric,
        settings={name: each.score.estimate for name, each in found.models.items()},
        gains={
            name: Gain(over=over, value=each.gain.mean, interval=each.gain.interval)
            for name, each in found.models.items()
            if name != over and each.gain is not None and each.gain.mean is not None
        },
        share=None if found.share is None else found.share.estimate,
        seeds=len(found.seeds),
        data="the test set",
    )


def read_frontier(path: Path) -> Frontier:
    """Read a frontier, as `offsite frontier --output json` writes it.

    Raises:
        InputError: The file is missing, or is none.
    """
    return _parsed(TypeAdapter(Frontier), _content(path), str(path), "offsite frontier")


def read_recovery(path: Path) -> tuple[Capability, ...]:
    """Read what attacks recover, as `offsite attack recover --output json` writes it.

    Raises:
        InputError: The file is missing, or is none.
    """
    several = TypeAdapter(tuple[Capability, ...])
    return _parsed(several, _content(path), str(path), "offsite attack recover")


def _content(path: Path) -> bytes:
    with disk_errors(path):
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        return path.read_bytes()


def _parsed(kind: TypeAdapter[T], content: bytes | str, source: str, command: str) -> T:
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{source} is not what `{command} --output json` writes: {reason(error)}"
        ) from error
