"""Converts pydantic's JSON schema to the structural schema of a CRD.

A structural schema has no references, no unions and no `additionalProperties: false`; its
`exclusiveMinimum` is a boolean. A union becomes one object (`crds.union`). A pattern becomes a CEL
rule, which can have a readable message.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from offsite.api import PATTERN_MEANING, RULES, cel
from offsite_operator.crds.union import Schema, merged

_PREFIX = "#/$defs/"
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def structural(model: type[BaseModel]) -> Schema:
    """Build the schema of a model as it is serialized."""
    # the schema for serialization includes computed fields
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    return _node(schema, schema.pop("$defs", {}))


def _node(given: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    schema = _resolved(given, defs)
    for unused in ("title", "readOnly"):
        schema.pop(unused, None)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    _limit(schema)
    _say_pattern(schema)
    _keep_default(schema)
    _descend(schema, defs)
    return schema


def _resolved(given: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    """Inline references. In a structural schema, an absent field means null."""
    schema = dict(given)
    if options := schema.pop("anyOf", None):
        (option,) = [each for each in options if each != {"type": "null"}]
        schema = _overlaid(option, schema)
    if options := schema.pop("oneOf", None):
        schema = _overlaid(merged([_resolved(each, defs) for each in options]), schema)
    if reference := schema.pop("$ref", None):
        schema = _overlaid(_resolved(defs[reference.removeprefix(_PREFIX)], defs), schema)
    return schema


def _overlaid(schema: Schema, more: Schema) -> Schema:
    rules = [*schema.get(RULES, []), *more.get(RULES, [])]
    return {**schema, **more, **({RULES: rules} if rules else {})}


def _limit(schema: Schema) -> None:
    for exclusive, limit in _LIMITS.items():
        if exclusive in schema:
            schema[limit], schema[exclusive] = schema[exclusive], True
    least = schema.get("minimum", 0)
    if least != int(least):  # the API server rounds it down to compare it with a whole number
        _add_rule(schema, f"self >= {least}", f"should be greater than or equal to {least}")


def _say_pattern(schema: Schema) -> None:
    pattern = schema.pop("pattern", None)
    if pattern is not None:
        _add_rule(schema, f"self.matches(r'{pattern}')", f"must be {PATTERN_MEANING[pattern]}")


def _add_rule(schema: Schema, rule: str, message: str) -> None:
    schema[RULES] = [*schema.get(RULES, []), cel(rule, message)]


def _keep_default(schema: Schema) -> None:
    default = _without_empty(schema.pop("default", None))
    if not _is_empty(default):
        schema["default"] = default


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    lean = {name: _without_empty(each) for name, each in value.items()}
    return {name: each for name, each in lean.items() if not _is_empty(each)}


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _descend(schema: Schema, defs: Mapping[str, Schema]) -> None:
    if properties := schema.get("properties"):
        computed = {name for name, each in properties.items() if each.get("readOnly")}
        required = [name for name in schema.pop("required", []) if name not in computed]
        schema["properties"] = {name: _node(each, defs) for name, each in properties.items()}
        schema |= {"required": required} if required else {}
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            schema[inner] = _node(schema[inner], defs)
    if schema.get("additionalProperties") in (False, True):
        del schema["additionalProperties"]
