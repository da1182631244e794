"""Runs whose every text tries to become markup, or to deceive the eye."""

from offsite.events import Artifact, Failed, Metric
from offsite.resources import EgressFact, EgressReport, SentFile, SentTensors
from offsite.runs import Run
from offsite_testing import reported

MARKUP = (
    "</script><script>document.title='owned'</script>",
    "\"'><img src=x onerror=\"document.title='owned'\">",
    "</style></svg></title><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% include 'report.css' %}$x^2$",
)
DECEIT = "sent \u202eyleerf\u202c\u200b\x1b[2J"
"""It reverses the reading direction, is invisible, and clears a terminal."""
TEXT = " ".join((*MARKUP, DECEIT))


def hostile_runs() -> list[Run]:
    """The runs of an exchange with hostile names, labels, places, messages and figures."""
    distill, tune, plug_in = (reported.distill_run(), reported.tune_run(), reported.plug_in_run())
    error = Failed(reason=MARKUP[0], message=TEXT)
    return [
        _hostile(distill),
        _hostile(tune).model_copy(
            update={
                "curves": {TEXT: tune.curves["tune"]},
                "metrics": (*tune.metrics, Metric(name=TEXT, setting="emulator_tuned", value=0.5)),
            }
        ),
        _hostile(plug_in).model_copy(update={"error": error, "outcome": "Failed"}),
    ]


def _hostile(run: Run) -> Run:
    update = {
        "id": TEXT[:253],
        "spec": {**run.spec, TEXT: [TEXT], "note": {"text": TEXT}},
        "fingerprints": {TEXT: TEXT},
        "inputs": {**run.inputs, TEXT: TEXT},
        "seconds": {TEXT: 1.0},
        "versions": {TEXT: TEXT},
        "artifact": Artifact(name=TEXT, digest=TEXT, uri=TEXT, size_bytes=1),
        "egress": None if run.egress is None else _egress(run.egress),
    }
    return run.model_copy(update=update)


def _egress(report: EgressReport) -> EgressReport:
    tensors = SentTensors(name=TEXT, dtype=TEXT, shape=[1], count=1, size_bytes=1)
    facts = {fact.name: fact.value for fact in report.facts}
    facts |= {"method": TEXT, "head": TEXT, "head.labels": TEXT, f"grant.{TEXT}": TEXT}
    return report.model_copy(
        update={
            "bundle": TEXT,
            "recipient": TEXT,
            "recipient_keys": TEXT,
            "files": [SentFile(name=TEXT, sha256="0" * 64, size_bytes=1)],
            "tensors": [tensors] * 20,
            "facts": [EgressFact(name=name, value=value) for name, value in facts.items()],
        }
    )
