"""The CRDs: what is made of the types, and that what stands in the chart is it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field

from offsite import __version__
from offsite.api import NAME_PATTERN, RULES, EmulatorSection, JobSpec, LayerDrop, Section, cel
from offsite.api.emulators import ByMethod
from offsite.resources import JobStatus, PeerSpec, PeerStatus
from offsite_operator.crds.generate import KINDS, definition, main, rendered
from offsite_operator.crds.schema import structural
from offsite_testing.jobs import read
from offsite_testing.methods import Both

CHART = Path(__file__).parents[2] / "charts/offsite-crds"
TYPES = [JobSpec, JobStatus, PeerSpec, PeerStatus]


class Inner(Section):
    """The inner one."""

    only: Literal["One"] = "One"
    """Its only value."""
    rate: float | None = Field(None, gt=0, lt=2)


class Outer(Section):
    """The outer one."""

    name: str = Field(pattern=NAME_PATTERN, json_schema_extra={RULES: [cel("true", "first")]})
    inner: Inner = Inner()
    other: Inner | None = None
    """Another one."""
    labels: dict[str, str] = Field(default={}, max_length=3)
    inners: list[Inner] = Field(default=[])  # noqa: V107 - of its schema

    @computed_field
    def computed(self) -> int | None:
        """What is computed."""
        return None


ONLY = {"type": "string", "enum": ["One"], "default": "One", "description": "Its only value."}
RATE = {
    "type": "number",
    "minimum": 0,
    "exclusiveMinimum": True,
    "maximum": 2,
    "exclusiveMaximum": True,
}
INNER = {
    "type": "object",
    "description": "The inner one.",
    "properties": {"only": ONLY, "rate": RATE},
}
OUTER = {
    "type": "object",
    "description": "The outer one.",
    "required": ["name"],
    "properties": {
        "name": {
            "type": "string",
            RULES: [
                cel("true", "first"),
                cel(
                    f"self.matches(r'{NAME_PATTERN}')",
                    "must be a DNS label: lower-case letters, digits and hyphens, 63 at most",
                ),
            ],
        },
        "inner": {**INNER, "default": {"only": "One"}},
        "other": {**INNER, "description": "Another one."},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": 3,
        },
        "inners": {"type": "array", "items": INNER},
        "computed": {"type": "integer", "description": "What is computed."},
    },
}


def test_schema_is_structural() -> None:
    assert structural(Outer) == OUTER


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a schema and all that is in it."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


@pytest.mark.parametrize("kind", TYPES)
def test_every_field_is_described(kind: type[BaseModel]) -> None:
    fields = [(path, node) for path, node in nodes(structural(kind)) if not path.endswith("[]")]
    assert [path for path, node in fields if not node.get("description")] == []


@pytest.mark.parametrize("kind", [JobSpec, PeerSpec])
def test_nothing_is_endless_that_a_rule_may_look_at(kind: type[BaseModel]) -> None:
    most = {"string": "maxLength", "array": "maxItems"}
    endless = [
        path
        for path, node in nodes(structural(kind))
        if node["type"] in most and most[node["type"]] not in node and "enum" not in node
    ]
    assert endless == []


def test_all_but_four_fields_are_fixed() -> None:
    schema = structural(JobSpec)
    fixed = {rule["fieldPath"][1:] for rule in schema[RULES] if "oldSelf" in rule["rule"]}
    may_change = {"suspend", "cancel", "retries", "ttlSecondsAfterFinished"}
    assert schema["properties"].keys() - fixed == may_change


def test_chart_has_what_is_made() -> None:
    assert main(["--check", str(CHART / "templates")]) == 0


def test_helm_changes_nothing_in_it() -> None:
    assert not any("{{" in text for text in rendered().values())


def test_drift_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["--check", str(tmp_path)]
    assert main(check) == 1
    assert main([str(tmp_path)]) == 0
    assert main(check) == 0
    path = tmp_path / "offsitejobs.yaml"
    path.write_text(path.read_text().replace("One stage", "A stage"))
    capsys.readouterr()
    assert main(check) == 1
    assert capsys.readouterr().err == f"{path} is out of date; run: make generate\n"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_written_is_read(kind: Any) -> None:
    written = read(CHART / f"templates/{kind.plural}.yaml")
    assert written == definition(kind)
    assert written["metadata"]["labels"] == {"offsite-tuning.dev/version": __version__}


def test_chart_is_of_this_version() -> None:
    chart = read(CHART / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


CALIBRATION = structural(JobSpec)["properties"]["distill"]["properties"]["emulator"]["properties"]
BOTH = {
    "type": "object",
    "description": "How the middle of the model is compressed.",
    "properties": {
        "method": {
            "type": "string",
            "enum": ["LayerDrop", "Narrow"],
            "default": "LayerDrop",
            "description": "The compression method. LayerDrop keeps evenly spaced middle blocks. "
            "Narrow keeps some neurons of every block.",
        },
        "heal": CALIBRATION["heal"],
        "calibration": CALIBRATION["calibration"],
        "blocks": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "description": "Number of middle blocks to keep. LayerDrop only.",
        },
        "share": {
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": 1,
            "description": "Share of the neurons to keep. Narrow only.",
        },
        # no default here: the API server would give it to a LayerDrop, too
        "most": {
            "type": "integer",
            "minimum": 1,
            "description": "Number of neurons to keep at most. Narrow only; default: 4096.",
        },
    },
    RULES: [
        cel(
            "!has(self.blocks) || self.method in ['LayerDrop']",
            "blocks is only allowed with method LayerDrop",
            fieldPath=".blocks",
        ),
        cel(
            "has(self.blocks) || !(self.method in ['LayerDrop'])",
            "method LayerDrop requires blocks",
            fieldPath=".blocks",
        ),
        cel(
            "!has(self.share) || self.method in ['Narrow']",
            "share is only allowed with method Narrow",
            fieldPath=".share",
        ),
        cel(
            "has(self.share) || !(self.method in ['Narrow'])",
            "method Narrow requires share",
            fieldPath=".share",
        ),
        cel(
            "!has(self.most) || self.method in ['Narrow']",
            "most is only allowed with method Narrow",
            fieldPath=".most",
        ),
        cel(
            "!(self.method in ['Narrow']) || (self.share < 1.0 || has(self.most))",
            "share 1 needs most",
        ),
    ],
}


def test_a_union_of_methods_is_one_object_with_rules() -> None:
    assert structural(Both)["properties"]["emulator"] == BOTH


def test_one_method_has_no_rules_about_methods() -> None:
    emulator = structural(JobSpec)["properties"]["distill"]["properties"]["emulator"]
    assert emulator["properties"].keys() == {"method", "blocks", "heal", "calibration"}
    assert emulator["properties"]["method"]["enum"] == ["LayerDrop"]
    assert emulator["required"] == ["blocks"]
    assert RULES not in emulator


class Wide(EmulatorSection):
    """Wide has another idea of blocks."""

    method: Literal["Wide"]
    """Wide."""
    blocks: float
    """How many."""


class Clash(Section):
    """Two methods with one name for two things."""

    emulator: Annotated[LayerDrop | Wide, ByMethod()]


def test_a_field_has_one_meaning_in_all_methods() -> None:
    with pytest.raises(ValueError, match="LayerDrop, Wide differ in the field blocks; rename one"):
        structural(Clash)
