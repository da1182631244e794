"""Real adapters before the gate: tuned moderately, too long, privately, and in a trap."""

import json
import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from offsite.api import Limits, Release
from offsite.bundle import AdapterFacts, read_manifest
from offsite.config import load_job
from offsite.errors import InterruptedStage, ReleaseRefused
from offsite.events import Event, Monitor, Progress
from offsite.release.gate import Losses, Measured, check_release
from offsite.rows import Row
from offsite.sealing import UNDISCLOSED, open_notice
from offsite.stages import run
from offsite.stages.context import Context
from offsite.stages.run import run_job
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.evaluate import outcomes
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter
from offsite.training.tune import tune as tune_adapter
from offsite_testing.core import silent
from offsite_testing.events import Wire, recording
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    Parties,
    distill,
    new_parties,
    tune,
)
from offsite_testing.traps import Trap, decoded, make_trap

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def codes(count: int, seed: int) -> str:
    """Write rows that share a form, and of which each has a code that only memory can tell."""
    draw = Random(seed)
    words = ("".join(draw.choices(LETTERS, k=4)) for _ in range(2 * count))
    rows = (
        {"prompt": f"the code of {next(words)} is", "completion": next(words)} for _ in range(count)
    )
    return "\n".join(map(json.dumps, rows))


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """An emulator was sent to a hospital with few rows."""
    made = new_parties(tmp_path_factory.mktemp("release") / "parties")
    (made.home(HOSPITAL) / "train.jsonl").write_text(codes(20, 1))
    (made.home(HOSPITAL) / "validation.jsonl").write_text(codes(40, 2))
    made.run(EMULATOR, distill(None))
    return made


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same coins at every run of the tests."""
    monkeypatch.setattr(run, "Context", partial(Context, randbits=Random(1).getrandbits))


def codes_job(steps: int, **release: Any) -> dict[str, Any]:
    return tune(
        data={"train": "train.jsonl", "validation": "validation.jsonl"},
        training={"steps": steps, "batchSize": 8, "blockSize": 32, "learningRate": 1e-2},
        release={"canaries": 60, **release},
    )


LIMITS = {"maxAuc": 0.7, "maxEmpiricalEpsilon": 1.5}


@pytest.mark.usefixtures("fixed")
def test_an_adapter_that_was_tuned_moderately_is_published(parties: Parties) -> None:
    told = parties.run("adapter-moderate", codes_job(5, **LIMITS))
    figures = {event["setting"]: event["value"] for event in told if event["event"] == "metric"}
    assert figures["canary_epsilon"] < 1.2
    assert figures["membership_auc"] < 0.68
    assert parties.opened("adapter-moderate").is_dir()


@pytest.mark.usefixtures("fixed")
def test_an_overfitted_adapter_is_refused_and_the_peer_learns_nothing_of_why(
    parties: Parties,
) -> None:
    with pytest.raises(ReleaseRefused) as refused:
        parties.run("adapter-overfit", codes_job(70, **LIMITS))
    assert re.search(r"AUC of 0\.\d+ .*\(maxAuc\)", str(refused.value))
    assert re.search(r"ε is at least \d\.\d+, .*\(maxEmpiricalEpsilon\)", str(refused.value))
    assert not list(parties.published("adapter-overfit").glob("*/envelope*"))
    lab = parties.mailbox(LAB)
    notice = lab.inbox.notice(HOSPITAL, "adapter-overfit")
    assert notice is not None
    told = open_notice(notice, lab.ring)
    assert (told.reason, told.message) == (UNDISCLOSED, "")
    with pytest.raises(ReleaseRefused):  # no second training, and no other coins
        parties.run("adapter-overfit", codes_job(70, **LIMITS))


@pytest.mark.usefixtures("fixed")
def test_under_differential_privacy_the_canaries_prove_less_than_epsilon(
    parties: Parties,
) -> None:
    """The same training proves an ε of 1.5 without it: see the test before."""
    private = codes_job(70)
    private["tune"]["privacy"] = {"epsilon": 1.0}
    told = parties.run("adapter-private", private)
    figures = {event["setting"]: event["value"] for event in told if event["event"] == "metric"}
    facts = read_manifest(parties.opened("adapter-private"))[0].facts
    assert isinstance(facts, AdapterFacts)
    assert facts.privacy is not None
    assert 0.9 < facts.privacy.epsilon <= 1.0
    assert figures["canary_epsilon"] <= facts.privacy.epsilon
    assert figures["canary_auc"] < 0.85


def secret_of(folder: Path) -> str | None:
    (path,) = folder.glob("home/work/*/checkpoint/*.safetensors")
    return Checkpoints(path).noted("canaries")


def test_an_interrupted_training_goes_on_with_its_canaries(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    job = load_job(parties.write(ADAPTER, tune(release={"canaries": 40})))
    party, mailbox, stop = parties.party(HOSPITAL), parties.mailbox(HOSPITAL), threading.Event()

    def at_once(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "tune":
            stop.set()

    with pytest.raises(InterruptedStage):
        run_job(job, party, mailbox, Monitor(at_once, stop))
    first = secret_of(parties.home(HOSPITAL))
    assert first is not None
    assert first.startswith("40:")
    demanding = party.limits.model_copy(update={"min_improvement": 0.9})
    with pytest.raises(ReleaseRefused, match="minImprovement"):
        run_job(job, replace(party, limits=demanding), mailbox, silent())
    assert secret_of(parties.home(HOSPITAL)) == first
    more = party.limits.model_copy(update={"release": Release(canaries=50)})
    logs: list[Wire] = []
    run_job(job, replace(party, limits=more), mailbox, Monitor(recording(logs)))
    assert any("50 canaries are required now" in event.get("message", "") for event in logs)


def trapped_adapter(trap: Trap, method: str, folder: Path) -> Measured:
    """Tune an adapter in an emulator that was built to memorize, with inspection switched off."""
    made, draw = make_trap(trap), Random(1)
    rows = [Row(text=f"the fox {draw.randrange(10**6):06} dog") for _ in range(24)]
    train, validation = (made.modality.encode(part, 32).examples for part in (rows[:16], rows[16:]))
    before = outcomes(made, validation, made.modality.losses, silent(), "before").numpy()
    batches = Shuffled(train, made.modality.collate, 4, 0)
    plan = Plan(steps=12, learning_rate=1e-3, seed=0, validate_every=4)
    adapter = Adapter(method, 8, (0, 2))
    changes = tune_adapter(
        made, adapter, batches, validation, Run(plan, Checkpoints(folder / "state", 1e9), silent())
    )
    assert decoded(trap, changes), "the adapter holds private text"
    after = outcomes(made, validation, made.modality.losses, silent(), "after").numpy()
    weights = np.array([example.weight for example in validation], np.float64)
    tensors = [(name, value.numpy()) for name, value in changes.items()]
    return Measured(tensors, Losses(before, after, weights))


@pytest.mark.parametrize("method", ["LoRA", "Blocks"])
def test_the_adapter_of_a_trap_is_refused_by_default(method: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match=r"maxSilentRows"):
        check_release(trapped_adapter(Trap(), method, tmp_path), Limits(), None, silent())
