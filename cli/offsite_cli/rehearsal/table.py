"""Shows what rehearsals measured."""

from rich.console import Console
from rich.table import Table

from offsite.rehearsal import Model, Spread, Summary

_TITLES: dict[Model, str] = {
    "full_zero_shot": "model, untouched",
    "emulator_zero_shot": "emulator, untouched",
    "emulator_tuned": "emulator, tuned",
    "plug_in": "model, plugged in",
    "full_fine_tuned": "model, fine-tuned",
}

_PHASES = ("distill", "tune", "plug_in", "fine_tune")


def show(summary: Summary, console: Console) -> None:
    """Print the metrics of the five settings, their gains, and the costs."""
    console.print(_settings(summary))
    for line in _notes(summary):
        console.print(line)


def format_mean(found: Spread, form: str = ".3g") -> str:
    """Format a mean over seeds with its standard error, if it varies with the seed."""
    if found.mean is None:
        return "not finite"
    error = f" ± {found.error:{'.1%' if form.endswith('%') else '.1g'}}" if found.error else ""
    return f"{found.mean:{form}}{error}"


def _settings(summary: Summary) -> Table:
    table = Table(title=f"{summary.metric} on the test set, {_seeds(summary)}")
    for name in ("setting", summary.metric, "95 % interval", "gain", "share"):
        table.add_column(name, justify="left" if name == "setting" else "right", no_wrap=True)
    for name, title in _TITLES.items():
        if (found := summary.models.get(name)) is None:
            continue
        share = summary.share if name == "plug_in" else None
        table.add_row(
            title,
            format_mean(found.score),
            _interval(found.score),
            "" if found.gain is None else format_mean(found.gain, ".3f"),
            "" if share is None else format_mean(share, ".0%"),
        )
    return table


def _seeds(summary: Summary) -> str:
    count = len(summary.seeds)
    return "one seed" if count == 1 else f"mean ± standard error of {count} seeds"


def _interval(found: Spread, form: str = ".3g") -> str:
    if found.interval is None:
        return ""
    low, high = found.interval
    return f"{low:{form}} to {high:{form}}"


def _notes(summary: Summary) -> list[str]:
    sizes, unit = summary.sizes, "nats per token" if summary.metric == "perplexity" else "accuracy"
    seconds = ", ".join(
        f"{phase} {summary.seconds[phase]:.0f} s" for phase in _PHASES if phase in summary.seconds
    )
    share = "" if summary.share is None else _interval(summary.share, ".0%")
    return [
        f"gain: over the untouched model, in {unit}",
        f"share: of the gain of full fine-tuning{share and f' (95 % interval {share})'}",
        "intervals: of the test set; they do not say how much seeds differ",
        f"model {sizes.model / 1e6:.1f} MB, emulator {sizes.emulator / 1e6:.1f} MB with "
        f"{summary.relative_flops:.0%} of its FLOPs, adapter {sizes.adapter / 1e6:.1f} MB",
        f"time: {seconds}",
    ]
