"""A model that reads images goes through all three stages, with its data on volumes."""

from collections.abc import Callable, Iterator

import pytest

from cluster.access import Cluster
from cluster.jobs import condition, is_in
from cluster.minio import running_minio
from cluster.namespaces import Namespace
from cluster.organizations import TEXT, Organization, settle
from cluster.parties import introduce
from cluster.stages import distill_vision, plug_in_vision, tune_on_images

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def parties(
    crds: Cluster,
    new_module_space: Callable[[str], Namespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Organization, Organization]]:
    """Two organizations at one exchange."""
    folder = tmp_path_factory.mktemp("parties")
    with running_minio(new_module_space("minio")) as minio:
        spaces = {name: new_module_space(name) for name in ("lab", "hospital")}
        lab, hospital = introduce(minio, spaces, folder)
        for party, peer in ((lab, hospital), (hospital, lab)):
            settle(party, peer, minio)
        yield Organization(lab), Organization(hospital)


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
