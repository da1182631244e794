"""Everything that a job names outside itself is known by its type, wherever its field is."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from offsite.api import BUNDLE_PATTERN, MODEL_PATTERN, JobSpec, Use
from offsite.api.references import references, use_of
from offsite.api.values import (
    DATA_PATTERN,
    FOLDER_PATTERN,
    PATH_PATTERN,
    DataLocation,
    Location,
    Section,
)

PLACES = {PATH_PATTERN, DATA_PATTERN, FOLDER_PATTERN, MODEL_PATTERN, BUNDLE_PATTERN}
SPECS: tuple[dict[str, Any], ...] = (
    {
        "stage": "Distill",
        "distill": {
            "model": "hf://org/model",
            "emulator": {"blocks": 2, "calibration": "c.txt"},
            "training": {"corpus": "t.jsonl"},
            "evaluate": "e.txt",
            "lmEval": {"tasks": ["piqa"], "path": "tasks/"},
        },
    },
    {
        "stage": "Tune",
        "tune": {
            "bundle": "emulator",
            "data": {"train": "t.jsonl", "validation": "v.jsonl"},
            "evaluate": "e.txt",
            "lmEval": {"tasks": ["piqa"], "path": "tasks/"},
        },
    },
    {
        "stage": "PlugIn",
        "plugIn": {
            "model": "pvc://claim/model",
            "adapter": "adapter",
            "evaluate": "e.txt",
            "alphaAuto": {"data": "own.jsonl"},
            "lmEval": {"tasks": ["piqa"], "path": "tasks/"},
            "export": {"to": "s3://bucket/out"},
        },
    },
)


def sections(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """List a section's type, and those of all sections in it."""
    yield kind
    for field in kind.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


def test_every_location_in_the_types_has_a_use() -> None:
    """A field whose pattern is a location's, without one of the types that say its use."""
    found = 0
    for kind in sections(JobSpec):
        for name, schema in kind.model_json_schema(by_alias=False)["properties"].items():
            patterns = {schema.get("pattern")}
            patterns |= {each.get("pattern") for each in schema.get("anyOf", ())}
            if patterns & PLACES:
                found += 1
                assert use_of(kind.model_fields[name]) is not None, f"{kind.__name__}.{name}"
    assert found == sum(len(references_of(spec)) for spec in SPECS)


def references_of(spec: dict[str, Any]) -> tuple[tuple[str, str, Use], ...]:
    return JobSpec.model_validate({"peer": "peer", **spec}).references()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec["stage"]))
def test_a_job_lists_what_it_refers_to(spec: dict[str, Any]) -> None:
    for field, value, _ in references_of(spec):
        place: Any = spec
        for part in field.split("."):
            place = place[part]
        assert place == value


def test_a_job_lists_what_it_opens_and_writes() -> None:
    distill, tune, plug_in = (JobSpec.model_validate({"peer": "peer", **each}) for each in SPECS)
    assert [each.bundle for each in (distill, tune, plug_in)] == [None, "emulator", "adapter"]
    assert [each.model for each in (distill, tune, plug_in)] == [
        "hf://org/model",
        None,
        "pvc://claim/model",
    ]
    assert [each.export_to for each in (distill, tune, plug_in)] == [None, None, "s3://bucket/out"]


def test_a_new_field_is_found_by_its_type_alone() -> None:
    class Inner(Section):
        labels: DataLocation | None = None

    class Outer(Section):
        inner: Inner
        to: Location

    outer = Outer.model_validate({"inner": {"labels": "l.txt"}, "to": "out"})
    assert list(references(outer)) == [
        ("inner.labels", "l.txt", Use.READ_DATA),
        ("to", "out", Use.WRITE_MODEL),
    ]
