"""Checks the audits of an adapter again, before it is sealed.

The step that trained computed the figures. What needs no torch is measured again, on the file that
is sent.
"""

from pydantic import ValidationError

from offsite.api import Tune
from offsite.api.problems import reason
from offsite.bundle import ADAPTER
from offsite.errors import ReleaseRefused
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
        told = Figures.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ReleaseRefused(
            f"the figures of the adapter in {path} are missing or damaged ({reason(error)}); run "
            "the job again under another name"
        ) from error
    figures = told.model_copy(update={"traces": traces_in(space.result / ADAPTER)})
    check_figures(figures, limits, required(limits, job.release))
    return figures
