"""Merges a union of sections, discriminated by `method`, into one object.

A structural schema has no unions. The merged object has the fields of all members, and CEL rules
that reject the fields of another method and require those of the chosen one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from offsite.api import RULES, cel

Schema = dict[str, Any]
_METHOD = "method"


def merged(members: Sequence[Schema]) -> Schema:
    """Merge the schemas of a union's members; a single member is returned unchanged.

    Raises:
        ValueError: Two methods define one field differently.
    """
    if len(members) == 1:
        return members[0]
    by_method = {each["properties"][_METHOD]["const"]: each for each in members}
    names = dict.fromkeys(name for each in members for name in each["properties"])
    fields = {name: _field(name, by_method) for name in names if name != _METHOD}
    needed = [name for name in fields if all(_needs(each, name) for each in members)]
    return {
        "type": "object",
        "properties": {_METHOD: _method(members), **fields},
        **({"required": needed} if needed else {}),
        RULES: [
            *(rule for name in fields for rule in _rules(name, by_method)),
            *(rule for method, each in by_method.items() for rule in _guarded(method, each)),
        ],
    }


def _method(members: Sequence[Schema]) -> Schema:
    fields = [each["properties"][_METHOD] for each in members]
    description = " ".join(each["description"] for each in fields)
    default = next(each["default"] for each in fields if "default" in each)
    every = [each["const"] for each in fields]
    return {"type": "string", "enum": every, "default": default, "description": description}


def _field(name: str, by_method: Mapping[str, Schema]) -> Schema:
    """Merge a field. A field that some methods lack gets no default, which the API server would
    set.
    """
    has = {m: e["properties"][name] for m, e in by_method.items() if name in e["properties"]}
    first, *others = has.values()
    if any(each != first for each in others):
        raise ValueError(f"the methods {', '.join(has)} differ in the field {name}; rename one")
    if len(has) == len(by_method):
        return dict(first)
    default = first.get("default")
    description = f"{_list(has)} only" + ("." if default is None else f"; default: {default}.")
    lean = {key: value for key, value in first.items() if key != "default"}
    return {**lean, "description": f"{first['description']} {description}"}


def _rules(name: str, by_method: Mapping[str, Schema]) -> list[Schema]:
    """Build the rules on which methods allow a field, and which require it."""
    has = [method for method, each in by_method.items() if name in each["properties"]]
    needs = [method for method, each in by_method.items() if _needs(each, name)]
    rules = []
    if len(has) < len(by_method):
        alone = f"!has(self.{name}) || {_among(has)}"
        rules.append(
            cel(alone, f"{name} is only allowed with method {_list(has)}", fieldPath=f".{name}")
        )
    if 0 < len(needs) < len(by_method):
        given = f"has(self.{name}) || !({_among(needs)})"
        rules.append(cel(given, f"method {_list(needs)} requires {name}", fieldPath=f".{name}"))
    return rules


def _guarded(method: str, member: Schema) -> list[Schema]:
    """Restrict the rules of one method's section to that method."""
    return [{**r, "rule": f"!({_among([method])}) || ({r['rule']})"} for r in member.get(RULES, [])]


def _needs(member: Schema, name: str) -> bool:
    return name in member.get("required", ())


def _among(methods: Sequence[str]) -> str:
    return f"self.{_METHOD} in [{', '.join(repr(method) for method in methods)}]"


def _list(methods: Sequence[str] | Mapping[str, Any]) -> str:
    return " or ".join(methods)
