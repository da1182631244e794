"""What the step Open says of the memory that the work will need."""

import pytest

from offsite_testing.parties import ADAPTER, EMULATOR, distill, new_parties, tune
from offsite_testing.pods import Pods

_SMALL = {"resources": {"memoryPerWorker": "64Mi"}}


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    """The pods of two parties, of which one has sent an emulator."""
    parties = new_parties(tmp_path_factory.mktemp("estimating") / "all")
    pods = Pods(parties)
    pods.run_all(EMULATOR, distill(None, emulator={"blocks": 2, "heal": False}))
    return pods


def estimates(pods: Pods) -> list[str]:
    return [str(each["message"]) for each in pods.events if each["event"] == "estimate"]


def test_a_request_that_is_too_small_is_known_before_the_work(pods: Pods) -> None:
    pods.events.clear()
    pods.run("Open", ADAPTER, {**tune(), **_SMALL})
    (message,) = estimates(pods)
    assert "does not fit into the 64 MiB of spec.resources.memoryPerWorker" in message
    assert message.endswith("resources.memoryPerWorker: 2Gi")


def test_a_request_that_suffices_is_said_to(pods: Pods) -> None:
    pods.events.clear()
    pods.run("Open", EMULATOR, distill(None, emulator={"blocks": 2, "heal": False}))
    (message,) = estimates(pods)
    assert "fits into the 4.0 GiB" in message


def test_the_sizes_of_a_model_at_the_hub_are_not_known(pods: Pods) -> None:
    pods.events.clear()
    emulator = {"blocks": 2, "heal": False}
    pods.run("Open", EMULATOR, distill(None, model="hf://lab/model", emulator=emulator))
    assert not estimates(pods)
