"""The gate before an adapter is published: its statistics, its verdicts, and real adapters."""

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from offsite.api import JobSpec, Limits, Release
from offsite.bundle import AdapterFacts, read_manifest
from offsite.config import load_job
from offsite.errors import InterruptedStage, ReleaseRefused
from offsite.events import Event, Monitor, Progress
from offsite.release.canaries import coins, generator
from offsite.release.figures import AUDITED, Figures
from offsite.release.gate import Losses, Measured, check_release
from offsite.release.statistics import auc, epsilon_bound, largest_bound, tpr_at_1_percent_fpr
from offsite.release.traces import traces_in, traces_of
from offsite.release.verdict import required
from offsite.rows import Row
from offsite.sealing import UNDISCLOSED, open_notice
from offsite.stages import run
from offsite.stages.context import Context
from offsite.stages.run import run_job
from offsite.steps.released import check_released
from offsite.steps.workspace import Workspace
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.evaluate import outcomes
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter
from offsite.training.tune import tune as tune_adapter
from offsite.wire import canonical
from offsite_testing.core import loaded as loaded_of
from offsite_testing.core import silent, text_of
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
from offsite_testing.tiny import tiny_model
from offsite_testing.traps import Trap, decoded, make_trap

DRAW = np.random.default_rng(1)


def normal(mean: float, count: int) -> NDArray[np.float64]:
    return DRAW.normal(mean, 1.0, count)


def test_the_auc_is_that_of_the_normal_distributions() -> None:
    """Of two normal distributions at a distance of 1 it is Φ(1/√2), which is 0.760."""
    found = auc(normal(1.0, 2000), normal(0.0, 2000))
    assert found.value == pytest.approx(0.760, abs=0.02)
    assert found.low < 0.760 < found.high
    assert found.high - found.low == pytest.approx(4 * 0.0074, rel=0.2)
    assert auc(np.zeros(50), np.zeros(50)).value == 0.5
    few = auc(np.ones(1), np.zeros(3))
    assert (few.value, few.low, few.high) == (1.0, 0.0, 1.0)


def test_the_tpr_is_taken_where_one_percent_of_the_others_are_above() -> None:
    others = np.arange(200, dtype=np.float64)  # two of them may be above
    members = np.array([196.5, 197.5, 198.5, 300.0])
    found = tpr_at_1_percent_fpr(members, others)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.194, abs=1e-3)
    assert found.high == pytest.approx(0.994, abs=1e-3)
    few = tpr_at_1_percent_fpr(members, others[:198])  # one of them may be
    assert few.value == 1.0
    assert tpr_at_1_percent_fpr(members, np.append(others[:50], 200.0)).value == 0.25


def responses(epsilon: float, count: int) -> tuple[NDArray[np.float64], list[bool]]:
    """Answer for each coin as ε-private randomized response does, which is the worst case of ε."""
    truth = DRAW.random(count) < 0.5
    honest = DRAW.random(count) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, truth, ~truth) + 0.1 * DRAW.random(count), truth.tolist()


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_the_bound_on_epsilon_holds_and_is_not_far_off(epsilon: float) -> None:
    bounds = [epsilon_bound(*responses(epsilon, 1000), 0.0) for _ in range(60)]
    assert sum(bound > epsilon for bound in bounds) <= 7, "3 are allowed, on average"
    assert np.median(bounds) >= 0.7 * epsilon


def test_what_a_number_of_canaries_can_show_has_an_end() -> None:
    assert largest_bound(200, 0.0) == pytest.approx(3.81, abs=0.01)
    assert largest_bound(1000, 0.0) == pytest.approx(5.43, abs=0.01)
    assert largest_bound(200, 1e-3) < largest_bound(200, 1e-5) < largest_bound(200, 0.0)


def test_coins_are_fair_and_come_of_the_secret_alone() -> None:
    tossed = coins(10_000, generator("secret"))
    assert abs(sum(tossed) - 5000) < 200
    assert tossed == coins(10_000, generator("secret"))
    assert tossed != coins(10_000, generator("another"))


@pytest.mark.parametrize("name", ["llama", "gemma", "gpt2"])
def test_canaries_are_of_the_model_s_own_tokens(name: str) -> None:
    text = text_of(loaded_of(tiny_model(name, vocab_size=288)))
    made = text.canaries(50, 20, Random(1))
    assert {example.size for example in made} == {20}
    tokens = {token for example in made for token in example.tokens}
    assert tokens <= set(range(288))
    assert len(tokens) > 250, "they are of all tokens, unused ones too"
    assert len({example.tokens for example in made}) == 50
    assert text.canaries(1, 10**6, Random(1))[0].size == text.context
    assert text.canaries(1, 1, Random(1))[0].weight == 1


def honest(rows: int = 64, columns: int = 8) -> NDArray[np.float32]:
    return DRAW.normal(size=(rows, columns)).astype(np.float32)


def trapped(live: int) -> NDArray[np.float32]:
    """The rows of a few neurons hold text, and all others nothing."""
    made = honest()
    made[live:] = 0
    return made


def test_traces_are_those_of_the_worst_matrix(tmp_path: Path) -> None:
    tensors = {
        "blocks.0.fc1.weight.lora_A": np.zeros((8, 32), np.float32),
        "blocks.0.fc1.weight.lora_B": trapped(live=16),
        "blocks.0.fc2.weight.lora_B": honest(),
        "blocks.0.norm.weight.change": np.zeros(8, np.float32),
    }
    tensors["blocks.0.fc2.weight.lora_B"][3] *= 1000
    save_file(tensors, tmp_path / "adapter.safetensors")
    found = traces_in(tmp_path / "adapter.safetensors")
    assert found == traces_of(tensors.items())
    # beside a row a thousand times as large, all others are silent
    assert found.silent_rows == pytest.approx(63 / 64)
    assert found.silent_rows_in == "blocks.0.fc2.weight.lora_B"
    del tensors["blocks.0.fc2.weight.lora_B"]
    assert traces_of(tensors.items()).silent_rows == 0.75


def test_noise_does_not_hide_silent_rows_nor_does_a_transpose() -> None:
    noisy = trapped(live=16) + 1e-6 * honest()
    assert traces_of([("blocks.0.fc1.weight.lora_B", noisy)]).silent_rows == 0.75
    whole = np.ascontiguousarray(trapped(live=16).T)
    assert traces_of([("blocks.0.fc2.weight.change", whole)]).silent_rows == 0.75


def losses(untouched: float, tuned: NDArray[np.float64]) -> Losses:
    count = len(tuned)
    return Losses(np.full(count, 10 * untouched), 10 * tuned, np.full(count, 10.0))


def measured(**over: Any) -> Measured:
    """An adapter that learned, and from which nothing can be told."""
    usual: dict[str, Any] = {
        "tensors": [("blocks.0.fc1.weight.lora_B", honest())],
        "validation": losses(4.0, 3.0 + 0.1 * normal(0.0, 300)),
        "train": losses(4.0, 3.0 + 0.1 * normal(0.0, 300)),
        "canaries": losses(9.0, 9.0 + 0.1 * normal(0.0, 200)),
        "included": coins(200, generator("secret")),
    }
    return Measured(**usual | over)


STRICT = Release(canaries=200, max_auc=0.6, max_tpr_at_1_percent_fpr=0.1, max_empirical_epsilon=0.5)


def judged(release: Release | None = STRICT, **over: Any) -> tuple[Figures, list[Wire]]:
    events: list[Wire] = []
    figures = check_release(measured(**over), Limits(), release, Monitor(recording(events)))
    return figures, events


def test_an_adapter_that_reveals_nothing_passes_and_its_figures_are_told() -> None:
    figures, events = judged()
    assert Figures.model_validate_json(figures.model_dump_json()) == figures
    told = {event["setting"]: event["value"] for event in events}
    assert told["membership_auc"] == pytest.approx(0.5, abs=0.06)
    assert told["canary_epsilon"] < 0.5 < told["canary_largest_epsilon"]
    assert told["validation_after"] < told["validation_before"]
    assert {"membership_tpr_low", "membership_tpr_high", "canary_tpr", "row_ratio"} <= told.keys()


SHOWING = losses(9.0, np.where(coins(200, generator("secret")), 5.0, 9.0))


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"validation": losses(4.0, np.full(300, 3.9999))}, "minImprovement"),
        ({"validation": losses(4.0, np.full(300, np.nan))}, "minImprovement"),
        (
            {"tensors": [("blocks.1.fc1.weight.lora_B", trapped(16))]},
            r"75.0% of .* of blocks.1.fc1",
        ),
        (
            {"train": losses(4.0, 2.9 + 0.1 * normal(0.0, 300))},
            r"AUC of 0\.\d+ \(95 % conf.*maxAuc",
        ),
        ({"train": losses(4.0, np.full(300, 2.0))}, r"1 \(95 % .* 0\.1 \(maxTprAt1PercentFpr\)"),
        (
            {"canaries": SHOWING},
            r"ε is at least [23]\.\d+, .* at most 0\.5 \(maxEmpiricalEpsilon\)",
        ),
        ({"train": None}, "it was not audited"),
        ({"canaries": None}, "it was not audited"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_figures(over: dict[str, Any], said: str) -> None:
    with pytest.raises(ReleaseRefused, match=said) as refused:
        judged(**over)
    assert refused.value.exit_code == 2
    assert not refused.value.retryable


def test_a_row_that_stands_out_is_refused() -> None:
    tall = honest()
    tall[0] *= 60
    with pytest.raises(ReleaseRefused, match="maxRowRatio"):
        judged(tensors=[("blocks.0.fc1.weight.lora_B", tall)])


def test_the_metrics_of_a_refused_adapter_are_told_before() -> None:
    events: list[Wire] = []
    with pytest.raises(ReleaseRefused):
        check_release(measured(canaries=SHOWING), Limits(), STRICT, Monitor(recording(events)))
    told = {event["setting"]: event["value"] for event in events}
    assert told["canary_epsilon"] > 2.5


def test_without_audits_the_checks_of_every_adapter_remain() -> None:
    bare = {"train": None, "canaries": None, "included": ()}
    figures, events = judged(None, **bare)
    assert figures.membership is figures.canaries is None
    assert len(events) == 4
    with pytest.raises(ReleaseRefused, match="maxSilentRows"):
        judged(None, **bare, tensors=[("blocks.0.fc1.weight.lora_B", trapped(16))])


def test_an_author_can_only_be_stricter_than_the_organization() -> None:
    floor = Release(canaries=200, max_auc=0.6)
    limits = Limits(release=floor)
    assert required(limits, None) == floor
    assert required(Limits(), STRICT) == STRICT
    assert required(Limits(), None) is None
    loose = Release(canaries=40, max_auc=0.9, max_empirical_epsilon=1.0)
    assert required(limits, loose) == Release(canaries=200, max_auc=0.6, max_empirical_epsilon=1.0)
    assert required(limits, Release(max_auc=0.5)) == Release(canaries=200, max_auc=0.5)
    assert Release(max_empirical_epsilon=1.0).canary_count == 200
    assert Release().canary_count == 0


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


@pytest.fixture
def finished(parties: Parties, tmp_path: Path) -> Workspace:
    """An adapter that passed, and waits to be sent."""
    spec = JobSpec.model_validate(codes_job(5))
    space = Workspace(parties.party(HOSPITAL), "adapter", spec, LAB, "0" * 64, tmp_path)
    space.result.mkdir()
    save_file({"blocks.0.fc1.weight.lora_B": honest()}, space.result / "adapter.safetensors")
    (tmp_path / AUDITED).write_bytes(canonical(judged()[0].wire()))
    return space


def again(space: Workspace, **limits: Any) -> Figures:
    party = replace(space.party, limits=space.party.limits.model_copy(update=limits))
    assert space.spec.tune is not None
    return check_released(replace(space, party=party), space.spec.tune)


def test_the_step_that_publishes_trusts_no_figure_that_it_can_measure(finished: Workspace) -> None:
    told = again(finished)
    forged = trapped(live=16)
    save_file({"blocks.0.fc1.weight.lora_B": forged}, finished.result / "adapter.safetensors")
    assert told.traces.silent_rows == 0
    with pytest.raises(ReleaseRefused, match="maxSilentRows"):
        again(finished)


def test_the_step_that_publishes_requires_the_audits_of_the_organization(
    finished: Workspace,
) -> None:
    again(finished, release=Release(canaries=100, max_auc=0.7))
    with pytest.raises(ReleaseRefused, match="with 200 canaries, and 300 are required"):
        again(finished, release=Release(canaries=300))
    with pytest.raises(ReleaseRefused, match="maxAuc"):
        again(finished, release=Release(max_auc=0.5))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{}")])
def test_an_adapter_without_figures_is_not_published(
    finished: Workspace, damage: Callable[[Path], object]
) -> None:
    damage(finished.folder / AUDITED)
    with pytest.raises(ReleaseRefused, match="missing or damaged"):
        again(finished)
