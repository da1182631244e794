"""How a pod ended that could not say so itself."""

from typing import Any

import pytest

from offsite_operator.observe.terminations import ended_because, never_starts

FULL = 'Usage of EmptyDir volume "tmp" exceeds the limit "200Gi".'
NO_PYTHON = 'exec: "python": executable file not found in $PATH'


def ended(name: str = "step", *, last: bool = False, **how: Any) -> dict[str, Any]:
    """A pod with one container."""
    told = {"name": name, "lastState" if last else "state": {"terminated": how}}
    return {"status": {"containerStatuses": [told]}}


def evicted(message: str, **how: Any) -> dict[str, Any]:
    """A pod that its node was too small for."""
    return {"status": ended(**how)["status"] | {"reason": "Evicted", "message": message}}


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([ended(reason="OOMKilled", exitCode=137)], "step ran out of memory (4Gi)"),
        ([ended(exitCode=3)], "step ended with exit code 3"),
        ([ended(exitCode=3, message="so it is\n")], "step ended with exit code 3: so it is"),
        ([evicted("disk", exitCode=137)], "Evicted: disk"),
        ([evicted(FULL, exitCode=137)], f"Evicted: {FULL}"),
        (
            [ended(exitCode=128, reason="StartError", message=NO_PYTHON)],
            f"(StartError): {NO_PYTHON}",
        ),
        ([ended(exitCode=0)], ""),
        ([], ""),
    ],
)
def test_how_a_pod_ended(pods: list[Any], said: str) -> None:
    assert said in ended_because(pods, "4Gi")
    assert bool(said) == bool(ended_because(pods, "4Gi"))


def test_a_failed_session_request_explains_why_the_step_never_started() -> None:
    said = "offsite: error: https://minio:9000 gives this account no session"
    lender = {"name": "session", "state": {"terminated": {"exitCode": 4, "message": said}}}
    step = {"name": "step", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod = {"status": {"initContainerStatuses": [lender], "containerStatuses": [step]}}
    assert ended_because([pod], "4Gi") == f"session ended with exit code 4: {said}"


@pytest.mark.parametrize("last", [True, False])
def test_the_failure_of_the_head_is_reported_before_the_submitter_s(last: bool) -> None:
    """The head may have been started again since."""
    head = ended("ray-head", last=last, reason="OOMKilled", exitCode=137)
    submitter = ended("ray-job-submitter", exitCode=1)
    assert "ray-head ran out of memory" in ended_because([head, submitter], "4Gi")


@pytest.mark.parametrize(
    ("how", "never"),
    [
        ({"reason": "StartError", "message": NO_PYTHON}, True),
        ({"reason": "ContainerCannotRun", "message": "no such file or directory"}, True),
        ({"reason": "StartError", "message": "context deadline exceeded"}, False),
        ({"reason": "Error", "message": "no such file or directory"}, False),
    ],
)
def test_an_image_without_the_program_is_not_tried_again(how: dict[str, Any], never: bool) -> None:
    assert never_starts([ended(exitCode=128, **how)]) is never
