"""The figures of a stage: only what its own party can compute."""

from pathlib import Path

from offsite.data import read_rows
from offsite.evaluate import Benchmark, benchmark, score
from offsite.events import Monitor
from offsite.layers import Loaded, context
from offsite.stages.workspace import text_digest


def load_benchmark(path: Path, loaded: Loaded, monitor: Monitor) -> Benchmark:
    """Read a text to score models on; says how many prompts had to be cut."""
    bench = benchmark(read_rows(path), loaded.tokenizer, context(loaded.model))
    say_cut(bench.cut, path, monitor)
    return bench


def say_cut(cut: int, path: Path, monitor: Monitor) -> None:
    """Tell how many examples of a file did not fit, if any."""
    if cut:
        monitor.log(f"{cut} examples of {path} are longer than the context; cut on the left")


def report(loaded: Loaded, path: Path, setting: str, monitor: Monitor) -> float:
    """Score a model on a text and tell the figure.

    The event carries the text's digest: figures of two parties compare only if that is the same.
    """
    bench = load_benchmark(path, loaded, monitor)
    value = score(loaded.model, bench, monitor, phase=f"evaluate {setting}")
    monitor.metric(bench.metric, setting, value, text=text_digest(path))
    return value
