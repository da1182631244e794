"""Puts a report together from the runs of one exchange."""

from collections.abc import Sequence

from offsite.runs import Run
from offsite.wire import now
from offsite_cli.report import summary
from offsite_cli.report.audits import leak_section
from offsite_cli.report.content import Page
from offsite_cli.report.custody import custody_section
from offsite_cli.report.disclosure import disclosure_section
from offsite_cli.report.evidence import Evidence, Extras, View
from offsite_cli.report.record import cost_section, jobs_section, training_section
from offsite_cli.report.render import render_page
from offsite_cli.report.settings import gain_section
from offsite_cli.report.trade import frontier_section
from offsite_cli.report.words import TERMS


def render(runs: Sequence[Run], view: View | None = None, extras: Extras | None = None) -> str:
    """Write the report of one exchange as HTML.

    Args:
        runs: At most one of each stage.
        view: Whom the report is for; None: the party that ran them.
        extras: What was measured beside the jobs.

    Raises:
        InputError: There is no run, or the reader could not know one of them.
    """
    return render_page(page_of(Evidence.of(runs, view, extras or Extras())))


def page_of(evidence: Evidence) -> Page:
    """Put a report together."""
    sections = (
        gain_section(evidence),
        disclosure_section(evidence),
        frontier_section(evidence),
        leak_section(evidence),
        training_section(evidence),
        cost_section(evidence),
        custody_section(evidence),
        jobs_section(evidence),
    )
    return Page(
        title=summary.title(evidence),
        lead=summary.lead(evidence),
        reader=summary.reader(evidence),
        about=[
            ("Model owner", evidence.model_owner),
            ("Data owner", evidence.data_owner),
            ("Started", f"{min(run.started for run in evidence.runs):%Y-%m-%d %H:%M} UTC"),
            ("Jobs", ", ".join(run.job for run in evidence.runs)),
            ("Report written", f"{now():%Y-%m-%d %H:%M} UTC"),
        ],
        tiles=list(summary.tiles(evidence)),
        sides=list(summary.sides(evidence)),
        sections=[section for section in sections if section is not None],
        words=TERMS,
    )
