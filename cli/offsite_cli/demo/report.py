"""The report that the demo ends with."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from offsite.events import PrivacyReport
from offsite.rehearsal import Summary
from offsite.text import printable
from offsite_cli.demo.stage_process import Outcome
from offsite_cli.event_lines import format_privacy
from offsite_cli.rehearsal.table import show as show_summary

if TYPE_CHECKING:
    from offsite.modality import Share

_TUNED = {
    "emulator_tuned": "emulator, tuned",
    "plug_in": "full model, adapter plugged in",
    "full_fine_tuned": "full model, fine-tuned on the private data",
}
OF_TEXT = {
    "full_zero_shot": "full model, untouched",
    "emulator_zero_shot": "emulator, untouched",
    **_TUNED,
}
OF_IMAGES = {
    "full_probe": "full model, untouched, with a linear probe",
    "emulator_zero_shot": "emulator, untouched, with a linear probe",
    **_TUNED,
}
"""The settings and their titles. The first is what a gain is counted from."""


@dataclass(frozen=True)
class Continuation:
    """The beginning of a private text, continued by the full model before and after."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Result:
    """The measurements of the demo."""

    metric: str
    settings: dict[str, float | None]
    stages: dict[str, Outcome]
    model_bytes: int
    continuation: Continuation | None
    """None: the model reads images."""
    share: "Share | None" = None
    """Share of the gain of full fine-tuning that the plug-in reaches; None: not measured."""
    report: Path | None = None
    """The joint report of both parties."""
    repeated: Summary | None = None
    """The same jobs with several seeds; None: with one."""

    @property
    def titles(self) -> dict[str, str]:
        """The settings in their order, and how they are called."""
        return OF_IMAGES if self.continuation is None else OF_TEXT

    @property
    def privacy(self) -> PrivacyReport | None:
        """The differential privacy of the adapter; None: it has none."""
        return self.stages["tune"].privacy

    def event(self) -> dict[str, object]:
        """Return the measurements as a `result` event."""
        return {
            "event": "result",
            "metric": self.metric,
            "settings": self.settings,
            "gainRecovered": None if self.share is None else self.share.value,
            "gainInterval": None if self.share is None else self.share.interval,
            "sizeBytes": {
                "model": self.model_bytes,
                "emulator": self.stages["distill"].size_bytes,
                "adapter": self.stages["tune"].size_bytes,
            },
            "seconds": {name: round(stage.seconds, 1) for name, stage in self.stages.items()},
            "peakMemoryBytes": {name: stage.peak_bytes for name, stage in self.stages.items()},
            "privacy": self.privacy.wire() if self.privacy is not None else None,
            "repeated": None if self.repeated is None else self.repeated.wire(),
            "continuation": None if self.continuation is None else asdict(self.continuation),
            "report": None if self.report is None else str(self.report),
        }


def show(result: Result, console: Console) -> None:
    """Print the metrics, the costs, and of text a continuation before and after."""
    console.print(_settings(result))
    if result.repeated is not None:
        show_summary(result.repeated, console)
    console.print(_costs(result))
    console.print(_privacy(result.privacy))
    if (text := result.continuation) is not None:
        console.print(_quoted("Prompt", text.prompt))
        console.print(_quoted("Continuation by the full model", text.before))
        console.print(_quoted("Continuation with the adapter plugged in", text.after))
    console.print(
        "This demo is both parties, on one machine. A real model owner never sees the private "
        "data,\nso it cannot measure the full model and the plug-in on it"
        + (", or fit a linear probe." if result.continuation is None else "."),
        style="dim",
    )
    if result.report is not None:
        console.print(f"What both gained and gave away: {printable(str(result.report))}")


def _privacy(report: PrivacyReport | None) -> Text:
    shown = "none; --epsilon 8 adds it" if report is None else format_privacy(report)
    return Text.assemble(("Differential privacy", "bold"), ": ", shown)


def _quoted(title: str, text: str) -> Text:
    """Quote text of a model or a data set, with further lines indented."""
    lines = (printable(line) for line in text.strip().split("\n"))
    return Text.assemble((title, "bold"), ": ", "\n  ".join(lines))


def _settings(result: Result) -> Table:
    table = Table(title=f"{result.metric} on held-out private data")
    table.add_column("setting")
    table.add_column(result.metric, justify="right")
    table.add_column("gain recovered", justify="right")
    for key, words in result.titles.items():
        value = result.settings[key]
        share = result.share if key == "plug_in" else None
        table.add_row(
            words,
            f"{value:.3g}" if value is not None else _absent(key),
            "" if share is None else _format_share(share),
        )
    return table


def _format_share(share: "Share") -> str:
    if share.interval is None:
        return f"{share.value:.0%}"
    low, high = share.interval
    return f"{share.value:.0%} ({low:.0%} to {high:.0%})"


def _absent(key: str) -> str:
    """Return why there is no figure."""
    return "with --upper-bound" if key == "full_fine_tuned" else "not finite"


def _costs(result: Result) -> Table:
    table = Table(title=f"The full model has {result.model_bytes / 1e6:.0f} MB")
    for name in ("stage", "by", "seconds", "peak memory", "result"):
        table.add_column(name, justify="left" if name in ("stage", "by") else "right")
    owners = {"distill": "model owner", "tune": "data owner", "plug-in": "model owner"}
    made = {"distill": "emulator", "tune": "adapter", "plug-in": "model"}
    for name, stage in result.stages.items():
        table.add_row(
            name,
            owners[name],
            f"{stage.seconds:.0f}",
            f"{stage.peak_bytes / 1e6:.0f} MB",
            f"{made[name]} of {stage.size_bytes / 1e6:.1f} MB",
        )
    return table
