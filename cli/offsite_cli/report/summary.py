"""The top of a report: what each party gained, gave away, kept and spent."""

from collections.abc import Iterator, Sequence

from offsite.runs import Run
from offsite_cli.report.audits import unit_of
from offsite_cli.report.comparisons import Scored, comparisons, gained, share_of_gain
from offsite_cli.report.content import Cell, Side, Tile, Value
from offsite_cli.report.disclosure import attack, sent_blocks
from offsite_cli.report.egress import tensor_count
from offsite_cli.report.evidence import Evidence, View
from offsite_cli.report.words import between, count, duration, number, share, size, small

_READERS = {
    View.MODEL_OWNER: (
        "This report is for {model_owner}. It holds only what {model_owner} knows. How the adapter "
        "was trained, and on what, {data_owner} alone knows."
    ),
    View.DATA_OWNER: (
        "This report is for {data_owner}. It holds only what {data_owner} knows. How good the full "
        "model became, {model_owner} alone can measure; ask it for its figures."
    ),
    View.JOINT: (
        "This report joins the records of both parties. Neither of them has all of this by itself."
    ),
}


def title(evidence: Evidence) -> str:
    """Say what the report is about, in a line."""
    match evidence.view:
        case View.MODEL_OWNER:
            return f"What {evidence.model_owner} gained, and what it gave away"
        case View.DATA_OWNER:
            return f"What {evidence.data_owner} gained, and what it gave away"
    return f"What {evidence.model_owner} and {evidence.data_owner} gained, and what they gave away"


def lead(evidence: Evidence) -> str:
    """Tell the exchange in three sentences."""
    owner, holder = evidence.model_owner, evidence.data_owner
    return (
        f"{owner} has a model that it cannot give away, and {holder} has data that it cannot give "
        f"away. {owner} sent an emulator: part of its model. {holder} trained an adapter in it, on "
        f"its data, and returned the adapter alone."
    )


def reader(evidence: Evidence) -> str:
    """Say whom the report is for."""
    return _READERS[evidence.view].format(
        model_owner=evidence.model_owner, data_owner=evidence.data_owner
    )


def tiles(evidence: Evidence) -> Iterator[Tile]:
    """Give the figures that matter most."""
    for scored in comparisons(evidence)[:1]:
        yield from _gain_tiles(scored)
    sent = sent_blocks(evidence.run("Distill"))
    if sent is not None:
        given = sent.depth - sent.kept
        note = f"{len(sent.exact)} of them unchanged"
        yield Tile(f"{given} of {sent.depth}", "blocks of the model were given away", note)
    run = evidence.run("Tune")
    if run is not None and run.egress is not None and run.artifact is not None:
        bound = "no differential privacy"
        if run.privacy is not None:
            bound = f"differential privacy: ε {number(run.privacy.epsilon)}"
        left = f"left {evidence.data_owner}: an adapter, and none of the data"
        yield Tile(size(run.egress.size_bytes), left, bound)
    yield from _attack_tile(evidence)


def _attack_tile(evidence: Evidence) -> Iterator[Tile]:
    """Say how well an attack on what was given away does, in the report of one party."""
    run, capabilities = evidence.run("Tune"), evidence.capabilities
    if evidence.view is View.DATA_OWNER and run is not None:
        auc = run.metric("membership_auc")
        if auc is not None and auc.value is not None:
            meaning = "AUC of an attack that recognizes training examples"
            yield Tile(number(auc.value), meaning, "0.5 is a guess, 1 is certainty")
    if evidence.view is View.MODEL_OWNER and capabilities:
        worst = max(capabilities, key=lambda each: each.share)
        yield Tile(share(worst.share), "of the model's skill, to an attacker", attack(worst))


def _gain_tiles(scored: Scored) -> Iterator[Tile]:
    settings = scored.settings
    start = next((settings[k] for k in ("full_zero_shot", "full_probe") if k in settings), None)
    first, last = ("the full model", "plug_in") if start else ("the emulator", "emulator_tuned")
    start = start or settings.get("emulator_zero_shot")
    end = settings.get(last)
    if start is not None and end is not None and start.value is not None and end.value is not None:
        yield Tile(
            f"{number(start.value)} → {number(end.value)}",
            f"{scored.of.metric} of {first}, before and after",
            gained(scored, last),
        )
    best = share_of_gain(scored.of)
    if best is not None and best.value is not None:
        interval = between(best.interval, percent=True)
        yield Tile(
            share(best.value),
            "of the gain of fine-tuning with the data at hand",
            f"95 % interval {interval}" if interval else "",
        )


def sides(evidence: Evidence) -> Iterator[Side]:
    """Describe each party that the report is about."""
    if evidence.view is not View.DATA_OWNER:
        yield Side("model-owner", "Model owner", evidence.model_owner, [*_model_owner(evidence)])
    if evidence.view is not View.MODEL_OWNER:
        yield Side("data-owner", "Data owner", evidence.data_owner, [*_data_owner(evidence)])


def _model_owner(evidence: Evidence) -> Iterator[tuple[str, Sequence[Value]]]:
    distill, plug_in = evidence.run("Distill"), evidence.run("PlugIn")
    if plug_in is not None:
        yield "Gained", [*_plugged(evidence, plug_in)]
    elif distill is not None:
        yield "Gained", [Cell("nothing yet: no adapter was plugged in", tone="unknown")]
    if distill is not None:
        yield "Gave away", [*_emulator(evidence, distill)]
        sent = sent_blocks(distill)
        if sent is not None:
            yield "Kept", [f"{count(sent.kept, 'block')} never sent, and so the full model"]
    yield "Spent", [_spent(run) for run in (distill, plug_in) if run is not None]


def _plugged(evidence: Evidence, run: Run) -> Iterator[Value]:
    if run.artifact is None:
        yield Cell("nothing: the adapter was not plugged in", tone="bad")
        return
    yield f"its model of {size(run.artifact.size_bytes)}, tuned for {evidence.data_owner}"
    for scored in comparisons(evidence):
        if (change := _before_and_after(scored, "plug_in")) is not None:
            yield f"{change} ({gained(scored, 'plug_in')})"
            return
    yield Cell("how much better it became was not measured", "plugIn.evaluate does", tone="unknown")


def _emulator(evidence: Evidence, run: Run) -> Iterator[Value]:
    if run.egress is None or run.artifact is None:
        yield Cell("nothing: no emulator was sent", tone="good")
        return
    report, sent = run.egress, sent_blocks(run)
    yield (
        f"an emulator of {size(report.size_bytes)}, {tensor_count(report):,} tensors, to "
        f"{report.recipient} alone"
    )
    if sent is not None:
        changed = f", and {len(sent.changed)} more changed by healing or training"
        yield (
            f"{len(sent.exact)} of {sent.depth} blocks unchanged{changed if sent.changed else ''}"
        )
    capabilities = evidence.capabilities
    if capabilities:
        worst = max(capabilities, key=lambda each: each.share)
        yield f"up to {share(worst.share)} of the model's skill to an attacker ({attack(worst)})"
    else:
        yield Cell(
            "what an attacker can rebuild from it was not measured here",
            "offsite attack recover does",
            tone="unknown",
        )


def _data_owner(evidence: Evidence) -> Iterator[tuple[str, Sequence[Value]]]:
    run = evidence.run("Tune")
    if run is None:
        return
    yield "Gained", [*_tuned(evidence, run)]
    yield "Gave away", [*_adapter(run)]
    yield "Kept", ["all of its data: no example left"]
    yield "Spent", [_spent(run)]


def _tuned(evidence: Evidence, run: Run) -> Iterator[Value]:
    if run.artifact is None:
        yield Cell("nothing yet: no adapter was sent", tone="unknown")
        return
    owner, scored = evidence.model_owner, next(iter(comparisons(evidence)), None)
    plugged = None if scored is None else _before_and_after(scored, "plug_in")
    tuned = None if scored is None else _before_and_after(scored, "emulator_tuned")
    if plugged is None:
        yield f"an adapter for the model of {owner}; how good it makes that model, {owner} can say"
    else:
        yield f"an adapter for the model of {owner}, which fits its data with it: {plugged}"
    if tuned is not None:
        yield f"a tuned emulator of its own: {tuned}"


def _before_and_after(scored: Scored, key: str) -> str | None:
    """Write a metric before and after; None: both were not measured."""
    starts = {
        "plug_in": ("full_zero_shot", "full_probe"),
        "emulator_tuned": ("emulator_zero_shot",),
    }
    start = next((scored.settings[k] for k in starts[key] if k in scored.settings), None)
    end = scored.settings.get(key)
    if start is None or end is None or start.value is None or end.value is None:
        return None
    before, after = number(start.value), number(end.value)
    return f"{scored.of.metric} {before} → {after} on {scored.of.data}"


def _adapter(run: Run) -> Iterator[Value]:
    if run.egress is None or run.artifact is None:
        yield Cell("nothing: no adapter left", tone="good")
        return
    report, privacy = run.egress, run.privacy
    yield (
        f"an adapter of {size(report.size_bytes)}, {tensor_count(report):,} tensors, to "
        f"{report.recipient} alone"
    )
    if privacy is None:
        yield "no proven bound on what the adapter reveals of the data"
    else:
        yield (
            f"a proven bound on what it reveals of each {unit_of(privacy)}: ε "
            f"{number(privacy.epsilon)}, δ {small(privacy.delta)}"
        )
    auc = run.metric("membership_auc")
    if auc is not None and auc.value is not None:
        meaning = f"an AUC of {number(auc.value)}, where 0.5 is a guess"
        yield f"an attacker recognizes training examples with {meaning}"


def _spent(run: Run) -> str:
    peak = run.peak_memory_bytes
    memory = "" if peak is None else f", {size(peak)} of memory"
    return f"{duration(run.duration)} to {_DOING[run.stage]}{memory}"


_DOING = {
    "Distill": "make the emulator",
    "Tune": "tune the adapter",
    "PlugIn": "plug the adapter in",
}
