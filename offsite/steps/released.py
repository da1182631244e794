"""Checks the audits of a result again, before it is sealed.

The step that trained computed the figures. What needs no torch is measured again: the traces in an
adapter, on the file that is sent, and which blocks all emulators disclose together.
"""

from collections.abc import Collection

from pydantic import ValidationError

from offsite.api import Distill, Tune
from offsite.api.problems import reason
from offsite.bundle import ADAPTER
from offsite.errors import DisclosureError, ReleaseRefused
from offsite.release.capability import Recovery, check_recovery, required_recovery
from offsite.release.figures import AUDITED, Figures
from offsite.release.traces import traces_in
from offsite.release.verdict import check_figures, required
from offsite.steps.workspace import Workspace


def check_released(space: Workspace, job: Tune) -> Figures:
    """Check that an adapter passed the audits that the job and the organization require.

    Raises:
        ReleaseRefused: It did not, or its figures are missing.
    """
    path, limits = space.folder / AUDITED, space.party.limits
    try:
        handed_over = Figures.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ReleaseRefused(
            f"the figures of the adapter in {path} are missing or damaged ({reason(error)}); run "
            "the job again under another name"
        ) from error
    figures = handed_over.model_copy(update={"traces": traces_in(space.result / ADAPTER)})
    check_figures(figures, limits, required(limits, job.release))
    return figures


def check_recovered(space: Workspace, job: Distill, sent: Collection[int]) -> None:
    """Check that an emulator passed the audit that the job and the organization require.

    Args:
        sent: The model's blocks that it and the emulators before it disclose together.

    Raises:
        ReleaseRefused: It did not, or its figures are missing.
        DisclosureError: Other emulators were sent meanwhile, which the audit does not cover.
    """
    release = required_recovery(space.party.limits.emulator_release, job.release)
    if release is None:
        return
    path = space.folder / AUDITED
    try:
        recovery = Recovery.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ReleaseRefused(
            f"the figures of the emulator in {path} are missing or damaged ({reason(error)}); run "
            "the job again under another name"
        ) from error
    check_recovery(recovery, release)
    if not {*sent} <= {*recovery.blocks}:
        raise DisclosureError(
            "other emulators of this model were sent while this one was made, so what can be "
            "recovered from all together is not known; run the job again"
        )
