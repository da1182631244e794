"""Finds the locations and bundles that a job refers to, by the types of its fields."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

_SHARED = ("s3://", "pvc://", "hf://")
"""Beginnings of locations that are not on one machine."""


class Use(StrEnum):
    """How a job uses the location or bundle in a field. It is part of the field's type."""

    READ_DATA = "data"
    READ_MODEL = "model"
    WRITE_MODEL = "export"
    OPEN_BUNDLE = "bundle"

    @property
    def reads(self) -> bool:
        """Whether it is read from the party's own storage."""
        return self in (Use.READ_DATA, Use.READ_MODEL)


class JobReference(NamedTuple):
    """A field of a job that names a location or a bundle."""

    field: str
    """Path of the field in the spec, such as `tune.data.train`."""
    value: str
    use: Use

    @property
    def out_of_reach(self) -> str | None:
        """Say why no pod can access it; None: one may be allowed to."""
        if self.use is Use.OPEN_BUNDLE or self.value.startswith(_SHARED):
            return None
        return (
            f"spec.{self.field} is {self.value!r}, which pods cannot access; use s3://bucket/path "
            "of the private store, or pvc://claim/path"
        )


def references(section: BaseModel, path: str = "") -> Iterator[JobReference]:
    """List the references of a section and its subsections, in the order of their fields."""
    for name, field in type(section).model_fields.items():
        value, here = getattr(section, name), f"{path}{field.alias or name}"
        if isinstance(value, BaseModel):
            yield from references(value, f"{here}.")
        elif value is not None and (use := use_of(field)) is not None:
            yield JobReference(here, value, use)


def use_of(annotation: Any) -> Use | None:
    """Return the use of a field or type; None: it is not a reference."""
    metadata = getattr(annotation, "metadata", getattr(annotation, "__metadata__", ()))
    inner = get_args(getattr(annotation, "annotation", annotation))
    found = (each if isinstance(each, Use) else use_of(each) for each in (*metadata, *inner))
    return next(filter(None, found), None)


def claims_of(*locations: str | None) -> tuple[str, ...]:
    """List the distinct volume claims of locations."""
    on_claims = (p.removeprefix("pvc://") for p in locations if p and p.startswith("pvc://"))
    return tuple(dict.fromkeys(place.partition("/")[0] for place in on_claims))
