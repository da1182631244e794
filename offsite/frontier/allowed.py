"""Which settings can be made from a model, and which of them an organization allows."""

from collections.abc import Sequence
from pathlib import Path

from offsite.api import Distill, Limits
from offsite.errors import DisclosureError, ModelError
from offsite.frontier.sweep import Candidate
from offsite.frontier.titles import describe
from offsite.release.capability import Capability
from offsite.steps.feasibility import check_emulator_job

_TEXT = "corpus.jsonl"
"""Stands for the location of the corpus, which no check reads."""


def refusals(candidates: Sequence[Candidate], model: Path, limits: Limits) -> list[str | None]:
    """Check all settings before the first one is measured.

    Args:
        model: Folder of the full model, of which nothing was sent yet.

    Returns:
        For each setting, why the organization does not allow it, or None.

    Raises:
        InputError: The config of the model cannot be read.
        ModelError: Some settings cannot be made from this model; lists all of them.
    """
    found: list[str | None] = []
    impossible = []
    for candidate in candidates:
        job = Distill(
            model="model",
            ends=candidate.ends,
            emulator=candidate.emulator.model_copy(update={"calibration": _TEXT}),
            training=candidate.training,
        )
        try:
            check_emulator_job(limits, job, model / "config.json", ())
            found.append(None)
        except DisclosureError as error:
            found.append(str(error))
        except ModelError as error:
            impossible.append(f"{describe(candidate)}: {error}")
    if impossible:
        raise ModelError("not all settings of the sweep can be made:", *impossible)
    return found


def refusal_of(recovered: Capability, limits: Limits) -> str | None:
    """Say why the organization's release gate would refuse an emulator; None: it would not.

    The gate of a job has that job's data, so it may decide otherwise where the figures are close.
    """
    floor = limits.emulator_release
    most = None if floor is None else floor.max_capability
    if most is None or recovered.share <= most:
        return None
    return (
        f"emulatorRelease.maxCapability: attacks recover {recovered.share:.1%} of the model's "
        f"skill, and this organization allows {most:.1%}"
    )
