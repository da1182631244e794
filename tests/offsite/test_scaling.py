"""The scale of an adapter's change: the rule `alphaAuto`, and what is signed of it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from offsite.api import AlphaAuto, AlphaFactors
from offsite.bundle import Origin, check_plugged_in
from offsite.errors import BundleError
from offsite.events import Event, Log, Metric, Monitor
from offsite.plugin import plug_in as plug
from offsite.rows import DataFile
from offsite.stages.evaluation import Evaluation
from offsite.stages.scaling import Returned, choose_scale
from offsite.steps.scale import Scale
from offsite.steps.workspace import SCALE
from offsite_testing import parties as names
from offsite_testing.core import DROPPED, changed, loaded, record_of, silent, snapshot
from offsite_testing.forms import FORMS, TARGETED, Form, own_emulator, randomise
from offsite_testing.parties import Parties, distill, new_parties, plug_in, tune
from offsite_testing.tiny import tiny_model

DIGEST = "sha256:" + "0" * 64


def model() -> PreTrainedModel:
    """Make a model that knows all ids of the tiny tokenizer."""
    return tiny_model("llama", vocab_size=280)


def returned(form: Form, **sizes: float) -> Returned:
    """Draw an adapter for the tiny model.

    Args:
        sizes: multiples of the change, by a part of the names of its weights.
    """
    attached = form.attach(own_emulator(model(), DROPPED), DROPPED)
    randomise(attached)
    changes = attached.changes()
    for name, value in changes.items():
        value *= math.prod(s for part, s in sizes.items() if part in name and "lora_B" in name)
    return Returned(changes, form.facts, record_of(model(), DROPPED))


def own_text(folder: Path) -> DataFile:
    lines = [json.dumps({"text": f"the {word} of the model"}) for word in ("text", "size", "end")]
    (folder / "own.jsonl").write_text("\n".join(lines))
    return DataFile(folder / "own.jsonl")


def chosen(
    folder: Path, adapter: Returned, limit: Scale, most: float | None = None
) -> tuple[Scale, list[Event]]:
    """Let the rule choose, and check that it leaves the model as it was."""
    full, told = loaded(model()), list[Event]()
    before, monitor = snapshot(full.model), Monitor(told.append)
    auto = AlphaAuto(data="own.jsonl", max_regression=most)
    own = Evaluation.read(own_text(folder), full, monitor)
    try:
        return choose_scale(full, adapter, limit, auto, own, monitor), told
    finally:
        assert changed(before, full.model) == set()


def cost(folder: Path, adapter: Returned, **scale: Any) -> float:
    """Measure the perplexity of the model with an adapter, as a PlugIn job does."""
    full, told = loaded(model()), list[Event]()
    plug(full.model, adapter.tensors, adapter.facts, adapter.record, **scale)
    own = Evaluation.read(own_text(folder), full, silent())
    own.report(full, "x", Monitor(told.append))
    return figures(told)["x"] or 0.0


def figures(told: list[Event]) -> dict[str, float | None]:
    return {each.setting: each.value for each in told if isinstance(each, Metric)}


def tried(told: list[Event]) -> int:
    """Count the scales that were tried."""
    return sum(isinstance(each, Log) and "the model is worse by" in each.message for each in told)


def test_the_rule_takes_all_of_an_attention_that_costs_little(tmp_path: Path) -> None:
    limit = Scale(alpha=1.0, factors=AlphaFactors(attention=0.5, ends=0.9))
    scale, told = chosen(tmp_path, returned(FORMS[0], self_attn=0.01, mlp=5.0), limit)
    assert scale == limit
    found = figures(told)
    assert (found["alpha"], found["alpha_attention"], found["alpha_ends"]) == (1.0, 0.5, 0.9)
    after = next(e for e in told if isinstance(e, Metric) and e.setting == "own_plug_in")
    assert (after.over, after.name) == ("own_zero_shot", "perplexity")
    assert any("alpha 1, factors attention 0.5" in e.message for e in told if isinstance(e, Log))


def test_the_attention_costs_no_more_than_the_mlps(tmp_path: Path) -> None:
    adapter = returned(FORMS[0], self_attn=9.0, mlp=2.0)
    start = math.log(cost(tmp_path, adapter, alpha=0.0))
    scale, told = chosen(tmp_path, adapter, Scale(alpha=1.0))
    chose = scale.factors.attention
    assert (scale.alpha, scale.factors.mlp, 0.4 <= chose < 1) == (1.0, 1.0, True)
    mlp, at, above = (
        math.log(cost(tmp_path, adapter, factors=AlphaFactors(attention=each))) - start
        for each in (0.0, chose, chose + 0.1)
    )
    assert above > 2 * max(mlp, 0)
    assert at <= 2 * max(mlp, 0) or chose == 0.4
    assert math.log(figures(told)["own_plug_in"] or 0) == pytest.approx(at + start)
    assert tried(told) <= 5


def test_the_rule_takes_the_largest_scale_within_the_limit(tmp_path: Path) -> None:
    """Compare with every scale, one by one."""
    adapter, best = returned(TARGETED[0], mlp=5.0), 7
    costs = [cost(tmp_path, adapter, alpha=tenths / 10) for tenths in range(11)]
    assert max(costs[: best + 1]) < min(costs[best + 1 :])
    most = (max(costs[: best + 1]) + min(costs[best + 1 :])) / 2 / costs[0] - 1
    scale, told = chosen(tmp_path, adapter, Scale(alpha=1.0), most)
    assert scale == Scale(alpha=0.7)
    assert figures(told)["own_plug_in"] == pytest.approx(costs[best])
    assert tried(told) == 4


def test_a_change_that_costs_too_much_at_every_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="even a tenth of the change makes the model worse"):
        chosen(tmp_path, returned(TARGETED[0], mlp=5.0), Scale(alpha=1.0), 0)


def test_what_is_signed_names_the_scale() -> None:
    origin = Origin(emulator=DIGEST, adapter=DIGEST, alpha=0.5)
    assert origin.wire() == {"emulator": DIGEST, "adapter": DIGEST, "alpha": 0.5}
    factors = AlphaFactors(attention=0.4, middle=0.8)
    named = origin.model_copy(update={"alpha_factors": factors, "alpha_rule": "Auto"})
    assert Origin.model_validate_json(json.dumps(named.wire())) == named
    told = "alpha 0.5, factors attention 0.4, middle 0.8, chosen by the rule Auto"
    assert str(named) == told


AUTO: dict[str, Any] = {"alphaAuto": {"data": "shared.jsonl", "maxRegression": 1000}}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Two parties, whose adapter was sent."""
    parties = new_parties(tmp_path_factory.mktemp("tuned"))
    parties.run(names.EMULATOR, distill(None))
    parties.run(names.ADAPTER, tune())
    return parties


def origin_of(parties: Parties, name: str) -> Origin:
    folder = parties.home(names.LAB) / "home/models" / name
    return check_plugged_in(folder, [parties.mailbox(names.LAB).ring.public()]).origin


def metrics(told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {event["setting"]: event for event in told if event["event"] == "metric"}


def test_the_scale_of_a_job_is_signed(tuned: Parties) -> None:
    tuned.run("fixed", plug_in(alpha=0.5, alphaFactors={"mlp": 0.5}))
    assert str(origin_of(tuned, "fixed")) == "alpha 0.5, factors mlp 0.5"
    told = metrics(tuned.run("auto", plug_in(**AUTO)))
    origin = origin_of(tuned, "auto")
    assert (origin.alpha, origin.alpha_rule) == (1.0, "Auto")
    factor = origin.alpha_factors.attention if origin.alpha_factors else 1.0
    assert factor == told["alpha_attention"]["value"]
    assert told["own_zero_shot"]["value"] == told["full_zero_shot"]["value"]
    assert told["own_plug_in"]["value"] == pytest.approx(told["plug_in"]["value"])


NOTES: dict[str, tuple[bytes | None, str]] = {
    "above the job's": (b'{"alpha": 0.9, "factors": {}}', "a larger scale than the job allows"),
    "a factor above the job's": (
        b'{"alpha": 0.5, "factors": {"mlp": 1.0}}',
        "a larger scale than the job allows",
    ),
    "none": (None, "does not say which scale the rule chose"),
    "no number": (b'{"alpha": NaN}', "does not say which scale the rule chose"),
}


@pytest.mark.parametrize("case", NOTES)
def test_a_note_of_the_rule_is_not_trusted(
    tuned: Parties, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of the author's own may write anything."""
    content, said = NOTES[case]

    def forged(scale: Scale, space: Any) -> None:
        if content is not None:
            (space.folder / SCALE).write_bytes(content)

    monkeypatch.setattr(Scale, "note", forged)
    spec = plug_in(**AUTO, alpha=0.5, alphaFactors={"mlp": 0.5})
    with pytest.raises(BundleError, match=said):
        tuned.run(f"forged-{list(NOTES).index(case)}", spec)
