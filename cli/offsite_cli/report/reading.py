"""Reads what other commands wrote with `--output json`, for a report."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.frontier import Frontier
from offsite.rehearsal import Spread, Summary
from offsite.store import disk_errors
from offsite.wire import Part
from offsite_cli.report.evidence import Attack, Comparison, Estimate, Gain

P = TypeVar("P", bound=Part)
_FULL = "full_zero_shot"


def read_evaluation(path: Path) -> Comparison:
    """Read the five settings, as `offsite evaluate --output json` writes them.

    Raises:
        InputError: The file is missing, or is none.
    """
    return comparison_of_summary(_read(path, Summary, "offsite evaluate"))


def comparison_of_summary(summary: Summary) -> Comparison:
    """Compare the five settings of rehearsals that differ in their seed alone."""
    models = summary.models
    return Comparison(
        metric=summary.metric,
        settings={name: _estimate(each.score) for name, each in models.items()},
        gains={
            name: Gain(over=_FULL, value=each.gain.mean, interval=each.gain.interval)
            for name, each in models.items()
            if name != _FULL and each.gain is not None and each.gain.mean is not None
        },
        share=None if summary.share is None else _estimate(summary.share),
        seeds=len(summary.seeds),
        data="stand-in data",
    )


def read_frontier(path: Path) -> Frontier:
    """Read a frontier, as `offsite frontier` writes it.

    Raises:
        InputError: The file is missing, or is none.
    """
    return _read(path, Frontier, "offsite frontier")


def read_attack(path: Path) -> Attack:
    """Read what attacks recover, as `offsite attack recover --output json` writes it.

    Raises:
        InputError: The file is missing, or is none.
    """
    return _read(path, Attack, "offsite attack recover")


def _estimate(spread: Spread) -> Estimate:
    return Estimate(value=spread.mean, interval=spread.interval, error=spread.error)


def _read(path: Path, kind: type[P], command: str) -> P:
    with disk_errors(path):
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        content = path.read_bytes()
    try:
        return kind.model_validate_json(json.dumps(_result(content)))
    except ValueError as error:
        why = reason(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path} is not what `{command} --output json` writes: {why}") from error


def _result(content: bytes) -> Any:
    """Return the JSON of a file: all of it, or its last line after events of progress."""
    try:
        found = json.loads(content)
    except ValueError:
        found = json.loads(content.strip().rpartition(b"\n")[2])
    if isinstance(found, dict) and found.get("event") == "result":
        del found["event"]
    return found
