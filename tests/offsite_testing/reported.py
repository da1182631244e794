"""Records of an exchange as the demo has it, for reports."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from offsite.events import Artifact, Metric, PrivacyReport
from offsite.frontier import Candidate, Cost, Frontier, Point, Skill
from offsite.frontier import Figure as Measure
from offsite.release.capability import Capability, How
from offsite.resources import EgressFact, EgressReport, SentFile, SentTensors
from offsite.runs import Run
from offsite_cli.report.evidence import Attack, Comparison, Estimate, Extras, Healed

START = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
TEXT = "sha256:" + "7e" * 32
FINGERPRINTS = {"lab": "ab12 cd34 ef56 7890", "hospital": "09fe 87dc 65ba 4321"}
VERSIONS = {"offsite": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "transformers": "5.23.0"}


def digest(letter: str) -> str:
    """Make a digest of one letter."""
    return f"sha256:{letter * 64}"


def distill_run(**changes: Any) -> Run:
    """The lab's run, which sent an emulator."""
    facts = {
        "method": "LayerDrop",
        "bottom": "4",
        "top": "4",
        "healed": "True",
        "distilledSteps": "0",
        "model.digest": digest("a"),
        "model.blocks": "30",
        "disclosed.ends": "0-3,26-29",
        "disclosed.middle": "4-7,9,11,13,15,17,19,21,22-24",
    }
    fields: dict[str, Any] = {
        "spec": {
            "stage": "Distill",
            "peer": "hospital",
            "seed": 0,
            "distill": {
                "model": "file:///lab/model",
                "ends": {"bottom": 4, "top": 4},
                "emulator": {
                    "method": "LayerDrop",
                    "blocks": 14,
                    "heal": True,
                    "calibration": "corpus.jsonl",
                },
            },
        },
        "inputs": {"model": digest("a"), "calibration": digest("9")},
        "duration": 82.0,
        "seconds": {"heal": 61.0},
        "egress": _egress("emulator", "lab", "hospital", facts, 216_000_000, 273),
        "artifact": Artifact(
            name="emulator",
            digest=digest("b"),
            uri="file:///exchange/lab/hospital/emulator/1",
            size_bytes=216_000_000,
        ),
        "peak_memory_bytes": 1_600_000_000,
    }
    return _run("Distill", "emulator", "lab", "hospital", 0, fields | changes)


def tune_run(**changes: Any) -> Run:
    """The hospital's run, which sent an adapter after its audits."""
    metrics = [
        Metric(name="worst", setting="inspection_gradients", value=0.11),
        Metric(name="signs", setting="inspection_crossed", value=0.0),
        _score("emulator_zero_shot", 103.0, (93.2, 114.0)),
        _score("emulator_tuned", 6.9, (6.51, 7.33)),
        Metric(name="loss", setting="validation_before", value=4.63),
        Metric(name="loss", setting="validation_after", value=1.94),
        Metric(name="share", setting="silent_rows", value=0.0),
        Metric(name="ratio", setting="row_ratio", value=2.31),
        *_estimate("auc", "membership_auc", 0.537, 0.51, 0.566),
        *_estimate("tpr_at_1_percent_fpr", "membership_tpr", 0.021, 0.012, 0.034),
        *_estimate("auc", "canary_auc", 0.71, 0.63, 0.78),
        *_estimate("tpr_at_1_percent_fpr", "canary_tpr", 0.09, 0.045, 0.16),
        Metric(name="epsilon", setting="canary_epsilon", value=0.64),
        Metric(name="epsilon", setting="canary_largest_epsilon", value=3.8),
    ]
    facts = {"method": "LoRA", "scope": "All", "rank": "16", "outside": "none"}
    fields: dict[str, Any] = {
        "spec": {
            "stage": "Tune",
            "peer": "lab",
            "seed": 0,
            "tune": {
                "bundle": "emulator",
                "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
                "training": {"steps": 60, "learningRate": 0.003, "batchSize": 8},
                "release": {"canaries": 200},
                "evaluate": "test.jsonl",
            },
        },
        "inputs": {
            "bundle": digest("b"),
            "train": digest("5"),
            "validation": digest("6"),
            "evaluate": TEXT,
        },
        "duration": 228.0,
        "seconds": {"tune": 171.0, "evaluate emulator_tuned": 14.0},
        "curves": {"tune": tuple((step, _loss(step)) for step in range(1, 61))},
        "rates": {
            "membership": _power_curve(0.86, 120),
            "canary": _power_curve(0.41, 100),
        },
        "metrics": tuple(metrics),
        "egress": _egress("adapter", "hospital", "lab", facts, 14_000_000, 308),
        "artifact": Artifact(
            name="adapter",
            digest=digest("c"),
            uri="file:///exchange/hospital/lab/adapter/1",
            size_bytes=14_000_000,
        ),
        "peak_memory_bytes": 3_200_000_000,
    }
    return _run("Tune", "adapter", "hospital", "lab", 2, fields | changes)


def plug_in_run(**changes: Any) -> Run:
    """The lab's run, which plugged the adapter in."""
    fields: dict[str, Any] = {
        "spec": {
            "stage": "PlugIn",
            "peer": "hospital",
            "seed": 0,
            "plugIn": {
                "model": "file:///lab/model",
                "adapter": "adapter",
                "export": {"to": "plugged-in"},
            },
        },
        "inputs": {"model": digest("a"), "bundle": digest("c")},
        "duration": 13.0,
        "metrics": (
            Metric(name="relative_change", setting="largest_change", value=0.21),
            Metric(name="relative_change", setting="median_change", value=0.04),
        ),
        "artifact": Artifact(
            name="plug-in",
            digest=digest("d"),
            uri="file:///lab/plugged-in",
            size_bytes=269_000_000,
        ),
        "peak_memory_bytes": 1_600_000_000,
    }
    return _run("PlugIn", "plug-in", "lab", "hospital", 7, fields | changes)


def private() -> PrivacyReport:
    """The differential privacy of a private tuning."""
    return PrivacyReport(
        epsilon=7.98,
        delta=8e-5,
        unit="group:patient",
        sampling_rate=0.0065,
        steps=400,
        noise_multiplier=0.61,
    )


def extras() -> Extras:
    """What the demo and the model owner's attack measured."""
    settings = {
        "full_zero_shot": Estimate(value=8.94, interval=(8.41, 9.52)),
        "emulator_zero_shot": Estimate(value=103.0, interval=(93.2, 114.0)),
        "emulator_tuned": Estimate(value=6.9, interval=(6.51, 7.33)),
        "plug_in": Estimate(value=5.55, interval=(5.26, 5.87)),
        "full_fine_tuned": Estimate(value=4.12, interval=(3.93, 4.33)),
    }
    share = Estimate(value=0.615, interval=(0.592, 0.639))
    return Extras(
        comparison=Comparison(metric="perplexity", settings=settings, share=share),
        attack=Attack(
            steps=200,
            blocks=(0, 1, 2),
            found=(
                _capability("Nothing", 0.41, (0.37, 0.45)),
                _capability("LoRA", 0.66, (0.63, 0.69)),
                _capability("Middle", 0.68, (0.65, 0.71)),
                _capability("All", 0.72, (0.69, 0.75)),
            ),
            healed=(Healed(below=7, dropped=(8,), explained=0.31),),
        ),
        frontier=frontier(),
        disclosed=[
            {
                "models": [digest("a")],
                "blocks": 30,
                "ends": [0, 1, 2, 3, 26, 27, 28, 29],
                "mostEnds": 15,
                "middle": list(range(4, 18)),
                "mostMiddle": 17,
                "remaining": 3,
                "emulators": [
                    {
                        "bundle": "emulator",
                        "recipient": "hospital",
                        "at": "2026-11-30T09:01:22Z",
                        "blocks": [{"full": i, "end": False} for i in range(22)],
                    }
                ],
            }
        ],
    )


def frontier() -> Frontier:
    """Twelve emulators, of which the lab sent the fifth."""
    points = [
        _point(4 * row + column + 1, blocks, heal, steps)
        for row, blocks in enumerate((8, 14, 18))
        for column, (heal, steps) in enumerate(((True, 0), (False, 0), (True, 200), (False, 200)))
    ]
    dominated = {2: 1, 6: 5, 10: 9, 4: 3, 12: 11}
    return Frontier(metric="perplexity", seeds=3, points=tuple(points), dominated=dominated)


def _point(number: int, blocks: int, heal: bool, steps: int) -> Point:
    recovered = 0.3 + 0.025 * blocks + 0.0002 * steps
    gain = 0.04 * blocks + 0.0004 * steps + (0.05 if heal else -0.1)
    setting: dict[str, Any] = {
        "ends": {"bottom": 4, "top": 4},
        "emulator": {"method": "LayerDrop", "blocks": blocks, "heal": heal},
        "training": {"steps": steps, "corpus": "corpus.jsonl"} if steps else None,
    }
    return Point(
        number=number,
        setting=Candidate.model_validate(setting),
        gain=Measure(value=gain, interval=(gain - 0.03, gain + 0.03), error=0.01),
        skill=Skill(
            untouched=Measure(value=recovered - 0.2),
            recovered=Measure(value=recovered, interval=(recovered - 0.02, recovered + 0.02)),
            tuned=Measure(value=recovered + 0.1),
        ),
        refused="too many blocks" if blocks == 18 else None,
        cost=Cost(
            size_bytes=(8 + blocks) * 9_800_000,
            size=(8 + blocks) / 30,
            flops=(8 + blocks) / 30,
            distill_seconds=60.0,
            tune_seconds=200.0,
        ),
    )


def _capability(how: How, share: float, interval: tuple[float, float]) -> Capability:
    return Capability(
        subject="Emulator",
        how=how,
        data="corpus",
        metric="perplexity",
        value=40.0,
        share=share,
        interval=interval,
    )


def _run(stage: str, job: str, party: str, peer: str, minutes: int, fields: dict[str, Any]) -> Run:
    begun = START + timedelta(minutes=minutes)
    known: dict[str, Any] = {
        "id": f"{job}-{begun:%Y%m%dT%H%M%SZ}",
        "job": job,
        "stage": stage,
        "party": party,
        "peer": peer,
        "fingerprints": FINGERPRINTS,
        "started": begun,
        "ended": begun + timedelta(seconds=fields["duration"]),
        "outcome": "Complete",
        "versions": VERSIONS,
    }
    return Run(**(known | fields))


def _egress(
    kind: str, sender: str, recipient: str, facts: dict[str, str], size: int, tensors: int
) -> EgressReport:
    return EgressReport.of(
        kind=kind,
        bundle=kind,
        job=f"{kind}-1",
        sender=sender,
        recipient=recipient,
        recipient_keys=FINGERPRINTS[recipient],
        manifest=digest("e" if kind == "emulator" else "f"),
        size_bytes=size,
        files=[
            SentFile(name="config.json", sha256="1" * 64, size_bytes=700),
            SentFile(name="model.safetensors", sha256="2" * 64, size_bytes=size - 700),
        ],
        tensors=[
            SentTensors(
                name="blocks.{0-21}.mlp.up_proj.weight",
                dtype="BF16",
                shape=[1536, 576],
                count=tensors - 1,
                size_bytes=size - 1000,
            ),
            SentTensors(name="norm.weight", dtype="BF16", shape=[576], count=1, size_bytes=1000),
        ],
        facts=[EgressFact(name=name, value=value) for name, value in facts.items()],
    )


def _score(setting: str, value: float, interval: tuple[float, float]) -> Metric:
    return Metric(name="perplexity", setting=setting, value=value, text=TEXT, interval=interval)


def _estimate(name: str, setting: str, value: float, low: float, high: float) -> list[Metric]:
    found = {"": value, "_low": low, "_high": high}
    return [Metric(name=name, setting=setting + end, value=each) for end, each in found.items()]


def _loss(step: int) -> float:
    """A loss that falls, with the noise of small batches."""
    return round(1.9 + 2.6 * math.exp(-step / 14) + 0.12 * math.sin(step * 2.399), 4)


def _power_curve(power: float, count: int) -> tuple[tuple[float, float], ...]:
    rates = (i / count for i in range(count + 1))
    return tuple((rate, round(rate**power, 4)) for rate in rates)
