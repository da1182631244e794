"""The joint report of the demo, which is both parties."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from offsite.events import Event, Metric, Monitor
from offsite.runs import Run, Runs
from offsite.store import write_whole
from offsite_cli.demo.parties import Parties
from offsite_cli.disclosed import ledger_facts

if TYPE_CHECKING:
    from offsite.modality import Share

_SCORED = ("emulator_zero_shot", "emulator_tuned")
"""The settings that the data owner's job scores on the same data."""


@dataclass
class JointReport:
    """Collects what only a demo can measure, and writes it with the records of both parties."""

    _metrics: dict[str, Metric] = field(default_factory=dict)

    def receive(self, event: Event) -> None:
        """Take in an event; the first metric of a setting is the one that counts."""
        if isinstance(event, Metric):
            self._metrics.setdefault(event.setting, event)

    def write(self, parties: Parties, share: "Share | None", monitor: Monitor) -> Path:
        """Write the report; it says what neither party knows by itself."""
        # matplotlib takes a second to import
        from offsite_cli.report.comparisons import comparison_of
        from offsite_cli.report.evidence import Estimate, Extras, View
        from offsite_cli.report.page import render

        homes = (parties.lab / "home", parties.hospital / "home")
        runs = [run for home in homes for run in Runs(home).all(monitor.log)]
        metrics = {**self._metrics, **_of_emulator(runs)}
        comparison = comparison_of(metrics, "held-out private data")
        if share is not None:
            found = Estimate(value=share.value, interval=share.interval)
            comparison = comparison.model_copy(update={"share": found})
        extras = Extras(comparison=comparison, disclosed=ledger_facts(homes[0]))
        write_whole(parties.report, render(runs, View.JOINT, extras).encode())
        return parties.report


def _of_emulator(runs: list[Run]) -> dict[str, Metric]:
    measured = ((setting, run.metric(setting)) for run in runs for setting in _SCORED)
    return {setting: metric for setting, metric in measured if metric is not None}
