"""Two pods on Ray share a model by FSDP: the one that is distilled, and the one that is tuned."""

import math
from contextlib import ExitStack

import pytest

from cluster.jobs import is_in
from cluster.organizations import TEXT, Organization
from cluster.overcommit import overcommitted
from cluster.stages import NEEDS, Spec, distill, tune
from offsite.resources import JobStatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

RAY = "offsite-tuning.dev/ray"
SHARED: Spec = {
    "resources": NEEDS | {"workers": 2, "sharding": "FSDP"},
    "runtime": {"engine": "RayJob"},
}


def test_two_workers_heal_distil_and_tune(
    kuberay: None, parties: tuple[Organization, Organization]
) -> None:
    """They make what one worker makes, but for rounding."""
    lab, hospital = parties
    made = distill(steps=8)
    made["distill"] |= {"emulator": {"blocks": 2, "calibration": TEXT}, "evaluate": TEXT}
    answer = tune("shared", steps=8)
    answer["tune"]["evaluate"] = TEXT
    lab.submit("alone", made)
    alone = lab.reaches("alone", is_in("Complete"))
    with ExitStack() as stack:
        for each in parties:
            stack.enter_context(overcommitted(each.space, RAY))
        lab.submit("shared", made | SHARED)
        hospital.submit("tuned", answer | SHARED)
        shared = lab.reaches("shared", is_in("Complete"), 900)
        tuned = hospital.reaches("tuned", is_in("Complete"), 900)
    assert (alone.engine, shared.engine, tuned.engine) == ("Job", "RayJob", "RayJob")
    assert _figures(shared) == pytest.approx(_figures(alone), rel=0.01)
    assert {"emulator_zero_shot", "emulator_tuned"} <= _figures(tuned).keys()
    for each in parties:
        told = each.space.kubectl("get", "events", "--output=jsonpath={.items[*].message}")
        assert "ray-worker" in told


def _figures(status: JobStatus) -> dict[str, float]:
    return {metric.setting: float(metric.value or math.inf) for metric in status.metrics}
