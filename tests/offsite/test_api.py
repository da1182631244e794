"""What a job file may say, and what of it decides the result."""

from pathlib import Path
from typing import Any

import pytest

from offsite.api import JobSpec
from offsite.config import load_job, parse_job
from offsite.errors import SpecError
from offsite_testing.jobs import BAD, EXAMPLES, FILES, Bad, read

TUNE = EXAMPLES / "tune.yaml"


def tuned(**more: Any) -> JobSpec:
    job = read(TUNE)
    job["spec"] |= more
    return parse_job(job, source="test").spec


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_example_is_a_job(file: Path) -> None:
    assert load_job(file).metadata.name == read(file)["metadata"]["name"]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_bad_job_is_refused(bad: Bad) -> None:
    with pytest.raises(SpecError) as refused:
        parse_job(bad.job(), source="job.yaml")
    (problem,) = refused.value.problems
    named = problem.partition(":")[0]
    assert bad.path.startswith(named) or named.startswith(f"{bad.path}.")
    assert bad.message in problem


def test_long_value_is_told_in_short() -> None:
    with pytest.raises(SpecError) as refused:
        tuned(peer="a" * 100_000)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "location", ["pvc://claim/a", "pvc://a.b-c/a/b.jsonl", "pvc://c/.hidden/..a/...", "pvc://c/a/"]
)
def test_claim_is_a_location(location: str) -> None:
    export = {"to": location}
    found = tuned(
        stage="PlugIn", tune=None, plugIn={"model": "m", "adapter": "a", "export": export}
    ).plug_in
    assert found is not None
    assert found.export is not None
    assert found.export.to == location


@pytest.mark.parametrize(
    "location",
    ["pvc://claim/a.jsonl", "pvc://c/.hidden/..a/....txt", "s3://texts/a.b/C.JSONL", "a.Md"],
)
def test_a_text_is_named_by_its_format(location: str) -> None:
    data = {"train": location, "validation": location}
    found = tuned(tune={"bundle": "emulator", "data": data}).tune
    assert found is not None
    assert found.data.train == location


def test_what_a_cluster_is_asked_for_decides_nothing() -> None:
    asked = {"resources": {"gpusPerWorker": 8}, "runtime": {"engine": "Job"}, "retries": 3}
    rest = {"suspend": True, "cancel": True, "backoffLimit": 0, "ttlSecondsAfterFinished": 0}
    more = tuned(**asked, **rest, activeDeadlineSeconds=60)
    assert more != tuned()
    assert more.decides() == tuned().decides()


@pytest.mark.parametrize(
    "change", [{"peer": "other"}, {"seed": 2}, {"deterministic": True}], ids=str
)
def test_what_decides_is_told_apart(change: dict[str, Any]) -> None:
    assert tuned(**change).decides() != tuned().decides()
    sections = {"distill", "tune", "plug_in"}
    assert tuned().decides().keys() == {"stage", "peer", "seed", "deterministic", *sections}
