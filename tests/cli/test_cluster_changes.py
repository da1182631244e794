"""Several jobs changed at once, while the operator writes to them."""

from typing import Any

import pytest

from offsite.errors import InputError
from offsite_cli.cluster.errors import ClusterUnreachable, Conflict
from offsite_cli.cluster.lifecycle import _for_each, _patch_job, suspend_patch


class Busy:
    """Jobs that the operator has written to, some times, between a look and a change."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.spec: dict[str, Any] = {"suspend": False}

    def path(self, *parts: str) -> str:
        return "/".join(parts)

    def get(self, path: str) -> dict[str, Any]:
        return {"metadata": {"name": "x", "resourceVersion": str(self.times)}, "spec": self.spec}

    def patch(self, path: str, content: dict[str, Any]) -> None:
        if self.times:
            self.times -= 1
            raise Conflict("the object has been modified")
        assert content["metadata"] == {"resourceVersion": "0"}
        self.spec |= content["spec"]


def test_a_status_that_is_written_meanwhile_is_no_disagreement() -> None:
    jobs: Any = Busy(times=4)
    assert _patch_job(jobs, "x", suspend_patch) is None
    assert jobs.spec == {"suspend": True}
    jobs = Busy(times=5)
    with pytest.raises(Conflict):
        _patch_job(jobs, "x", suspend_patch)


def test_what_cannot_be_done_is_told_when_the_rest_is_done() -> None:
    done = list[str]()

    def do(name: str) -> None:
        if name.startswith("no"):
            raise InputError(f"{name} not found")
        done.append(name)

    with pytest.raises(InputError, match="none not found\n  nobody not found"):
        _for_each(["a", "none", "b", "nobody", "c"], do)
    assert done == ["a", "b", "c"]


def test_nobody_is_asked_again_who_is_away() -> None:
    asked = list[str]()

    def do(name: str) -> None:
        asked.append(name)
        raise ClusterUnreachable("nobody answers")

    with pytest.raises(ClusterUnreachable):
        _for_each(["a", "b"], do)
    assert asked == ["a"]
