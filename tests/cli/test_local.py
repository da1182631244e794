"""A job that speaks of a cluster, run on one machine."""

from pathlib import Path
from typing import Any

import pytest

from offsite.api import JobSpec
from offsite.config import parse_job
from offsite.errors import SpecError
from offsite_cli.run import check_runs_here, ignored_fields
from offsite_testing.command import finish, start
from offsite_testing.jobs import EXAMPLES, read
from offsite_testing.parties import distill, new_parties


def spec(example: str, **more: Any) -> JobSpec:
    job = read(EXAMPLES / f"{example}.yaml")
    job["spec"] |= more
    return parse_job(job, source="test").spec


def test_claim_is_refused_here() -> None:
    with pytest.raises(SpecError) as refused:
        check_runs_here(spec("cluster/tune"), "job.yaml")
    told = refused.value.problems
    places = ["spec.tune.data.train", "spec.tune.data.validation", "spec.tune.evaluate"]
    assert [problem.partition(":")[0] for problem in told] == places
    assert "pvc://records/private-train.jsonl" in told[0]


@pytest.mark.parametrize("field", ["suspend", "cancel"])
def test_what_is_not_to_run_is_not_run(field: str) -> None:
    with pytest.raises(SpecError, match=rf"spec\.{field}: "):
        check_runs_here(spec("tune", **{field: True}), "job.yaml")


def test_fields_about_pods_are_ignored() -> None:
    assert ignored_fields(spec("tune")) == []
    named = ["resources", "runtime", "backoffLimit", "activeDeadlineSeconds"]
    assert ignored_fields(spec("cluster/distill")) == named


def test_run_refuses_and_tells(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    section = distill(None)
    asked = {**section, "resources": {"gpusPerWorker": 8}}
    done = finish(start(parties, parties.write("emulator", asked)))
    logs = [event["message"] for event in done.events if event["event"] == "log"]
    assert "ignored outside a cluster: resources" in logs
    refused = start(parties, parties.write("emulator", {**section, "suspend": True}))
    assert refused.wait() == 2
    assert "spec.suspend: must not be true for `offsite run`; remove it" in refused.complaint
