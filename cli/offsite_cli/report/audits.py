"""What the data owner gave away: the adapter, and what it reveals of the data."""

from collections.abc import Iterator, Sequence

from offsite.events import Metric, PrivacyReport
from offsite.runs import Run
from offsite_cli.report.content import Cell, Facts, Note, Part, Plot, Section, Table, Value
from offsite_cli.report.egress import facts_of, file_table, sent_facts, tensor_table
from offsite_cli.report.evidence import Evidence
from offsite_cli.report.plots import Line, roc_plot
from offsite_cli.report.svg import Ink
from offsite_cli.report.words import between, number, share, small

_AUDITS = {
    "membership": "private data: training against validation examples",
    "canary": "canaries: planted against not planted",
}
_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_NO_BOUND = (
    "No differential privacy. The audits below measure what one attack finds; nothing bounds what "
    "another one finds. tune.privacy adds a bound."
)
_UNREAD = "Its owner alone audits the adapter, and has not shared the figures here."


def leak_section(evidence: Evidence) -> Section | None:
    """Say what the data owner gave away; None: the report knows of nothing."""
    run = evidence.run("Tune")
    found = _received(evidence) if run is None else (*_sent(run), *_privacy(run), *_audit(run))
    sections = [*found]
    if not sections:
        return None
    return Section(
        "leak",
        f"What {evidence.data_owner} gave away",
        "An adapter is trained on the data, so it holds traces of it.",
        sections=sections,
        party="data-owner",
    )


def _received(evidence: Evidence) -> Iterator[Section]:
    """Say what the model owner knows of the adapter."""
    run = evidence.run("PlugIn")
    if run is None:
        return
    largest, median = run.metric("largest_change"), run.metric("median_change")
    items: list[tuple[str, Value]] = [("Adapter", str(_plugged(run, "adapter")))]
    if largest is not None and largest.value is not None:
        items.append(("Largest change of a weight", share(largest.value)))
    if median is not None and median.value is not None:
        items.append(("Median change of a weight", share(median.value)))
    yield Section("received", "The adapter that was received", parts=[Facts(items), Note(_UNREAD)])


def _plugged(run: Run, name: str) -> object:
    return (run.spec.get("plugIn") or {}).get(name, "–")


def _sent(run: Run) -> Iterator[Section]:
    if run.egress is None:
        return
    facts = facts_of(run.egress)
    method = facts.get("method", "")
    rank = f" of rank {facts['rank']}" if facts.get("rank", "0") != "0" else ""
    scope = {"All": "in every block", "Ends": "in the end blocks"}.get(facts.get("scope", ""), "")
    items: list[tuple[str, Value]] = [("Trained", f"{method}{rank}, {scope}")]
    if "head" in facts:
        items.append(("Classification head", facts["head"]))
        items.append(("Names of its classes", facts.get("head.labels", "")))
    parts = [sent_facts(run.egress), Facts(items)]
    yield Section(
        "adapter",
        "The adapter that was sent",
        "Nothing else left. The data itself never does.",
        [*parts, tensor_table(run.egress), file_table(run.egress)],
    )


def _privacy(run: Run) -> Iterator[Section]:
    privacy = run.privacy
    if privacy is None:
        if run.artifact is not None:
            yield Section("privacy", "Differential privacy", parts=[Note(_NO_BOUND, "unknown")])
        return
    yield Section(
        "privacy",
        "Differential privacy",
        f"Whatever the emulator and whatever the attack: with or without one {unit_of(privacy)}, "
        f"the adapter is nearly as likely. The bound is ε {number(privacy.epsilon)}.",
        [
            Facts(
                [
                    ("ε", Cell(number(privacy.epsilon), "smaller is stricter")),
                    ("δ", Cell(small(privacy.delta), "chance that the bound does not hold")),
                    ("Protected unit", unit_of(privacy)),
                    ("Noise multiplier", number(privacy.noise_multiplier)),
                    ("Sampling rate", number(privacy.sampling_rate)),
                    ("Training steps", f"{privacy.steps:,}"),
                ]
            )
        ],
    )


def unit_of(privacy: PrivacyReport) -> str:
    """Write the unit that differential privacy protects."""
    kind, _, column = privacy.unit.partition(":")
    return f"group ({column})" if kind == "group" and column else "row of the data"


def _audit(run: Run) -> Iterator[Section]:
    rows = [*_rows(run)]
    if rows:
        yield Section(
            "audit",
            "Audits before it left",
            "The data owner measured these before it sealed the adapter. A figure above its limit "
            "would have stopped it.",
            [Table("Audits of the adapter", ["audit", "figure", "what it means"], rows, (1,))],
        )
    attacks = [*_attacks(run)]
    if attacks:
        yield Section(
            "membership",
            "What an attacker can tell of the training data",
            "An attacker has the emulator and the adapter, and guesses which examples were trained "
            "on.",
            attacks,
        )


def _rows(run: Run) -> Iterator[Sequence[Value]]:
    before, after = run.metric("validation_before"), run.metric("validation_after")
    if before is not None and after is not None and before.value and after.value is not None:
        change = after.value / before.value - 1
        yield (
            "Learned something useful",
            f"{number(before.value)} → {number(after.value)}",
            f"validation loss in nats per target, {'+' if change > 0 else '−'}{share(abs(change))}",
        )
    meanings = {
        "silent_rows": ("Rows that are zero or nearly so", "many: the emulator may store text"),
        "row_ratio": ("Largest row against the median", "large: the emulator may store text"),
        "inspection_crossed": ("Signs of a trap in the emulator", "measured on public text"),
    }
    for setting, (title, meaning) in meanings.items():
        metric = run.metric(setting)
        if metric is not None and metric.value is not None:
            written = share if setting == "silent_rows" else number
            yield title, written(metric.value), meaning


def _attacks(run: Run) -> Iterator[Part]:
    found = {kind: metric for kind in _AUDITS if (metric := run.metric(f"{kind}_auc")) is not None}
    if not found:
        if run.artifact is not None:
            yield Note("Not measured: tune.release asks for membership inference and canaries.")
        return
    lines = [
        Line(title, points, Ink.DATA_OWNER if kind == "membership" else Ink.BOTH)
        for kind, title in _AUDITS.items()
        if (points := run.rates.get(kind))
    ]
    if lines:
        yield Plot(
            "membership-plot",
            "Members found, by how many others are accused wrongly",
            "; ".join(f"{_AUDITS[kind]}: {_auc(run, kind)}" for kind in found),
            roc_plot("membership-plot", lines),
            _curves(lines),
            note="Near the dashed line, the attack is no better than a guess.",
        )
    yield Table(
        "Attacks on the adapter",
        ["attack", "AUC (0.5 is a guess)", "found at 1 % false accusations (1 % is a guess)"],
        [[_AUDITS[kind], _auc(run, kind), _rate(run, kind)] for kind in found],
        (1, 2),
    )
    if bound := _canary_bound(run):
        yield bound


def _curves(lines: Sequence[Line]) -> Table:
    """List the curves at a few false positive rates."""
    rows: list[list[Value]] = [
        [share(rate), *(share(_found_at(rate, line)) for line in lines)] for rate in _RATES
    ]
    columns = ["accused wrongly", *(line.label for line in lines)]
    return Table("Share of members found", columns, rows, (0, 1, 2), folded=True)


def _found_at(rate: float, line: Line) -> float:
    return max(found for false, found in line.points if false <= rate)


def _auc(run: Run, kind: str) -> str:
    return _estimate(run, f"{kind}_auc", percent=False)


def _rate(run: Run, kind: str) -> str:
    return _estimate(run, f"{kind}_tpr", percent=True)


def _estimate(run: Run, setting: str, *, percent: bool) -> str:
    value, low, high = (_value(run.metric(f"{setting}{end}")) for end in ("", "_low", "_high"))
    if value is None:
        return "–"
    write = share if percent else number
    if low is None or high is None:
        return write(value)
    return f"{write(value)} ({between((low, high), percent=percent)})"


def _value(metric: Metric | None) -> float | None:
    return None if metric is None else metric.value


def _canary_bound(run: Run) -> Note | None:
    least, most = _value(run.metric("canary_epsilon")), _value(run.metric("canary_largest_epsilon"))
    if least is None:
        return None
    largest = "" if most is None else f" So many canaries can show at most {number(most)}."
    text = f"The canaries prove that ε is at least {number(least)}.{largest}"
    if run.privacy is not None and least > run.privacy.epsilon:
        return Note(f"{text} This is above the bound that was promised: report it.", "bad")
    return Note(text)
