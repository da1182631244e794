"""The chain of custody: what was made of what, and whose signature vouches for it.

A digest that two records name ties one link to the next. The report compares them; it does not
verify signatures, which needs the sealed files: `offsite bundles verify --chain` does.
"""

from collections.abc import Iterator, Mapping

from offsite.runs import Run
from offsite_cli.report.content import Cell, Chain, Link, Note, Section, Value
from offsite_cli.report.egress import facts_of
from offsite_cli.report.evidence import Evidence

_VERIFY = (
    "Every link was verified when it was opened: nothing is decrypted before its signature is. To "
    "verify the chain again, from the sealed files: offsite bundles verify --chain."
)


def custody_section(evidence: Evidence) -> Section:
    """Show the chain of custody, as far as the runs go."""
    links = [*_distill(evidence), *_tune(evidence), *_plug_in(evidence)]
    return Section(
        "custody",
        "Chain of custody",
        "What was made of what. Each digest identifies the exact bytes; each party signed what it "
        "sent with the keys of the fingerprint.",
        [Chain(links), Note(_VERIFY)],
    )


def _distill(evidence: Evidence) -> Iterator[Link]:
    run = evidence.run("Distill")
    if run is None:
        return
    model = run.inputs.get("model") or facts_of(run.egress).get("model.digest")
    yield Link("Full model", "model-owner", run.party, [("Digest of its files", _digest(model))])
    yield Link("Emulator", "model-owner", run.party, [*_sealed(run), *_keys(run.fingerprints)])


def _tune(evidence: Evidence) -> Iterator[Link]:
    run = evidence.run("Tune")
    if run is None:
        return
    opened: list[tuple[str, Value]] = [("Opened the emulator", _digest(run.bundle))]
    data = [
        (f"Data: {name}", _digest(digest))
        for name, digest in run.inputs.items()
        if name not in ("bundle", "model")
    ]
    keys = () if evidence.run("Distill") is not None else _keys(run.fingerprints)
    yield Link(
        "Adapter",
        "data-owner",
        run.party,
        [*opened, *data, *_sealed(run), *keys],
        [*_same(evidence.run("Distill"), run, "the emulator that was sent")],
    )


def _plug_in(evidence: Evidence) -> Iterator[Link]:
    run = evidence.run("PlugIn")
    if run is None:
        return
    facts: list[tuple[str, Value]] = [("Opened the adapter", _digest(run.bundle))]
    if model := run.inputs.get("model"):
        facts.append(("Plugged into the model", _digest(model)))
    if run.artifact is not None:
        facts.append(("Digest of the result", _digest(run.artifact.digest)))
        facts.append(("Where it is", Cell(run.artifact.uri, code=True)))
    keys = () if evidence.run("Distill") is not None else _keys(run.fingerprints)
    checks = [
        *_same(evidence.run("Tune"), run, "the adapter that was sent"),
        *_same_model(evidence.run("Distill"), run),
    ]
    yield Link("Plugged-in model", "model-owner", run.party, [*facts, *keys], checks)


def _sealed(run: Run) -> Iterator[tuple[str, Value]]:
    if run.egress is not None:
        yield "Manifest", _digest(run.egress.manifest)
        yield "Egress report", _digest(run.egress.digest)
        yield "Encrypted to", Cell(run.egress.recipient_keys, run.egress.recipient, code=True)
    if run.artifact is not None:
        yield "Signed envelope", _digest(run.artifact.digest)
        yield "Where it is", Cell(run.artifact.uri, code=True)


def _keys(fingerprints: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for party, fingerprint in fingerprints.items():
        yield f"Keys of {party}", Cell(fingerprint, code=True)


def _same(sent: Run | None, opened: Run, what: str) -> Iterator[Cell]:
    """Compare what one run sent with what the next one opened."""
    if sent is not None and sent.artifact is not None and opened.bundle is not None:
        yield _compared(sent.artifact.digest == opened.bundle, what)


def _same_model(distill: Run | None, plug_in: Run) -> Iterator[Cell]:
    if distill is not None and distill.inputs.get("model") and plug_in.inputs.get("model"):
        same = distill.inputs["model"] == plug_in.inputs["model"]
        yield _compared(same, "the model that the emulator was made of")


def _compared(same: bool, what: str) -> Cell:
    if same:
        return Cell(f"Its digest is that of {what}.", tone="good")
    return Cell(f"Its digest is not that of {what}: these runs are of two exchanges.", tone="bad")


def _digest(digest: str | None) -> Cell:
    return Cell("not recorded", tone="unknown") if not digest else Cell(digest, code=True)
