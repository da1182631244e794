"""The verdict on an adapter's figures, before it is published."""

from typing import Any

import numpy as np
import pytest

from offsite.api import Limits, Release
from offsite.errors import ReleaseRefused
from offsite.events import Monitor
from offsite.release.canaries import coins, generator
from offsite.release.figures import Figures
from offsite.release.gate import check_release
from offsite.release.verdict import required
from offsite_testing.audited import STRICT, honest, judged, losses, measured, near, trapped
from offsite_testing.events import Wire, recording


def test_an_adapter_that_reveals_nothing_passes_and_its_figures_are_told() -> None:
    figures, events = judged()
    assert Figures.model_validate_json(figures.model_dump_json()) == figures
    told = {each["setting"]: each["value"] for each in events if each["event"] == "metric"}
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
            {"train": losses(4.0, near(2.9, 300))},
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
    told = {each["setting"]: each["value"] for each in events if each["event"] == "metric"}
    assert told["canary_epsilon"] > 2.5
    curves = {each["setting"]: each["points"] for each in events if each["event"] == "rates"}
    assert list(curves) == ["membership", "canary"]
    assert all(points[-1] == (1.0, 1.0) for points in curves.values())


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
