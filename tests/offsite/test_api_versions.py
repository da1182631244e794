"""Resources that clusters hold today stay readable: see docs/api-versions.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from offsite.api import JobSpec, OffsiteJob
from offsite.resources import JobStatus, PeerStatus

FOLDER = Path(__file__).parent / "resources/v1alpha1"
JOBS = list(YAML(typ="safe").load_all((FOLDER / "jobs.yaml").read_text(encoding="utf-8")))
STATUSES = YAML(typ="safe").load((FOLDER / "statuses.yaml").read_text(encoding="utf-8"))


def fields(kind: type[BaseModel], content: Any, path: str = "") -> Iterator[str]:
    """List the fields that a resource sets, by their path in the type."""
    for name, field in kind.model_fields.items():
        value = content.get(field.alias or name)
        if value is not None:
            yield f"{path}{name}"
            inner = getattr(kind.model_validate(content), name)
            if isinstance(inner, BaseModel):
                yield from fields(type(inner), value, f"{path}{name}.")


def every(kind: type[BaseModel], path: str = "") -> Iterator[str]:
    """List all fields of a type, by their path; of a list, not those of its entries."""
    for name, field in kind.model_fields.items():
        yield f"{path}{name}"
        kinds = [] if get_origin(field.annotation) is list else get_args(field.annotation)
        for inner in (field.annotation, *kinds):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from every(inner, f"{path}{name}.")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: str(job["metadata"]["name"]))
def test_jobs_of_v1alpha1_stay_readable(job: dict[str, Any]) -> None:
    spec = OffsiteJob.model_validate(job).spec
    # nothing is renamed, dropped or given another meaning on the way
    assert spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == job["spec"]


@pytest.mark.parametrize(("name", "kind"), [("job", JobStatus), ("peer", PeerStatus)])
def test_statuses_of_v1alpha1_stay_readable(
    name: str, kind: type[JobStatus] | type[PeerStatus]
) -> None:
    assert kind.model_validate(STATUSES[name]).wire() == STATUSES[name]


def test_the_fixtures_set_every_field() -> None:
    """A new field of the types is set there, too, so that no later change drops it unseen."""
    found = {field for job in JOBS for field in fields(JobSpec, job["spec"])}
    assert set(every(JobSpec)) - found == set()
    assert set(every(JobStatus)) - set(fields(JobStatus, STATUSES["job"])) == set()
    assert set(every(PeerStatus)) - set(fields(PeerStatus, STATUSES["peer"])) == set()
