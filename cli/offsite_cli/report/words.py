"""How figures are written, and the terms of a report."""

from datetime import timedelta

TERMS = (
    (
        "model owner, data owner",
        "The model owner has a foundation model that it cannot give away. The data owner has data "
        "that it cannot give away.",
    ),
    (
        "emulator",
        "What the model owner sends: the first and last blocks of its model, with a lossy "
        "compression of the middle. One can tune in it, but it is a much worse model.",
    ),
    (
        "adapter",
        "What the data owner returns: a small set of changes to the model's weights, trained on "
        "its data in the emulator.",
    ),
    (
        "plug in",
        "The model owner adds the adapter to its full model, which then fits the data although "
        "the data never left its owner.",
    ),
    (
        "perplexity",
        "How many tokens a model is undecided between, on average, when it predicts the next one. "
        "Lower is better; 1 is perfect.",
    ),
    ("accuracy", "The share of examples that a model answers correctly. Higher is better."),
    (
        "95 % interval",
        "If the evaluation were repeated on other data of the same kind, 95 of 100 such intervals "
        "would hold the true value.",
    ),
    (
        "share of full fine-tuning's gain",
        "0 %: the adapter gained nothing. 100 %: as good as if the model owner had had the data "
        "itself.",
    ),
    (
        "differential privacy (ε, δ)",
        "A mathematical bound on what the adapter reveals of one unit of the data (a row, or a "
        "group such as a patient), against every attack. Smaller is stricter.",
    ),
    (
        "membership inference",
        "An attack that guesses whether an example was in the training data. AUC 0.5 is a coin "
        "toss, 1 is certainty.",
    ),
    (
        "canary",
        "A random example that was planted in the training data on the toss of a coin, to measure "
        "how well an attacker can tell.",
    ),
    (
        "digest, signature, fingerprint",
        "A digest identifies the exact content of a file. A signature proves who made it. A "
        "fingerprint identifies a party's keys: compare it over another channel.",
    ),
)
"""Terms, and what they mean to a reader who knows neither the paper nor the product."""


def number(value: float) -> str:
    """Write a figure with three digits that count."""
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-4 <= size < 1e6:
        digits = f"{value:.3g}" if size < 1000 else f"{value:,.0f}"
        return f"{float(digits):g}" if size < 1000 else digits
    return f"{value:.2g}"


def small(value: float) -> str:
    """Write a small probability."""
    return f"{value:.2g}".replace("e-0", "e-")


def count(number: int, what: str) -> str:
    """Write a number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def share(value: float) -> str:
    """Write a share as a percentage."""
    digits = 1 if value and abs(value) < 0.1 else 0
    return f"{100 * value:.{digits}f} %"


def size(count: int) -> str:
    """Write a number of bytes in decimal units, as disks and networks have them."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Write a time in words."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    whole = timedelta(minutes=round(seconds / 60))
    hours, minutes = divmod(int(whole.total_seconds()) // 60, 60)
    return f"{hours} h {minutes} min"


def between(interval: tuple[float, float] | None, *, percent: bool = False) -> str:
    """Write an interval; empty: there is none."""
    if interval is None:
        return ""
    if percent:
        low, high = (share(end).removesuffix(" %") for end in interval)
        return f"{low} to {high} %"
    return f"{number(interval[0])} to {number(interval[1])}"
