"""A model that reads images goes through all three stages, with its data on volumes."""

import pytest

from cluster.jobs import condition, is_in
from cluster.organizations import TEXT, Organization
from cluster.stages import distill_vision, plug_in_vision, tune_on_images

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_images_are_tuned_on_and_plugged_in(parties: tuple[Organization, Organization]) -> None:
    lab, hospital = parties
    hospital.submit("seen", tune_on_images("vision"))
    lab.submit("sighted", plug_in_vision("seen"))
    lab.submit("vision", distill_vision())
    status = hospital.reaches("seen", is_in("Complete"), 600)
    settings = {metric.setting for metric in status.metrics if metric.name == "accuracy"}
    assert settings == {"emulator_zero_shot", "emulator_tuned"}
    status = lab.reaches("sighted", is_in("Complete"), 600)
    settings = {metric.setting for metric in status.metrics if metric.name == "accuracy"}
    assert settings == {"full_zero_shot", "plug_in"}
    text = tune_on_images("vision")
    text["tune"]["data"]["train"] = TEXT
    hospital.submit("text", text)
    failed = condition(hospital.reaches("text", is_in("Failed"), 300), "Failed")
    assert "text.txt holds text, but this model reads images" in failed
