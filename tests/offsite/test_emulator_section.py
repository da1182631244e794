"""The section of an emulator has the fields of its own method, and no others."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from offsite.api import EMULATORS, Distill, LayerDrop
from offsite.api.problems import problems
from offsite.emulator import METHODS
from offsite_testing.methods import Both, Narrow


def test_every_method_has_a_section_and_a_module() -> None:
    assert METHODS.keys() == EMULATORS.keys()
    for name, section in EMULATORS.items():
        assert section.model_fields["method"].annotation is not None
        assert section.__name__ == name


def read(kind: type[BaseModel], emulator: Any) -> Any:
    """Read a section in both ways: of a file, and of a request."""
    here = kind.model_validate({"emulator": emulator})
    assert kind.model_validate_json(json.dumps({"emulator": emulator})) == here
    assert kind.model_validate_json(here.model_dump_json(by_alias=True)) == here
    return here


@pytest.mark.parametrize("given", [{"blocks": 2}, {"method": "LayerDrop", "blocks": 2}], ids=str)
def test_a_section_without_a_method_is_of_layer_drop(given: dict[str, Any]) -> None:
    assert read(Both, given).emulator == LayerDrop(blocks=2)
    job = Distill.model_validate({"model": "m", "emulator": given})
    assert job.emulator == LayerDrop(blocks=2)


def test_a_section_is_of_the_method_that_it_names() -> None:
    assert read(Both, {"method": "Narrow", "share": 0.5}).emulator == Narrow(
        method="Narrow", share=0.5
    )


def said(emulator: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Both.model_validate({"emulator": emulator})
    return problems(caught.value)


WRONG: dict[str, tuple[Any, str]] = {
    "another's field": (
        {"method": "Narrow", "share": 0.5, "blocks": 2},
        "emulator.blocks: unknown field; remove it",
    ),
    "a field of the other": (
        {"blocks": 2, "share": 0.5},
        "emulator.share: unknown field; remove it",
    ),
    "nothing": ({}, "emulator.blocks: required, but missing"),
    "no share": ({"method": "Narrow"}, "emulator.share: required, but missing"),
    "another method": (
        {"method": "Wide", "blocks": 2},
        "emulator.method: must be 'LayerDrop' or 'Narrow' (it is 'Wide')",
    ),
    "no name": ({"method": 3}, "emulator.method: must be 'LayerDrop' or 'Narrow' (it is '3')"),
    "out of range": (
        {"method": "Narrow", "share": 2.0},
        "emulator.share: must be less than or equal to 1 (it is 2.0)",
    ),
    "a list": ([], "emulator: must be an object with the fields heal, calibration, method, blocks"),
}


@pytest.mark.parametrize("case", WRONG)
def test_problems_name_the_fields_of_the_method_alone(case: str) -> None:
    given, wanted = WRONG[case]
    assert said(given) == [wanted]


def test_a_method_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ValidationError) as caught:
        Distill.model_validate({"model": "m", "emulator": {"method": "Narrow", "blocks": 2}})
    assert problems(caught.value) == ["emulator.method: must be 'LayerDrop' (it is 'Narrow')"]


def test_parameters_are_the_methods_own_and_no_locations() -> None:
    text = "s3://private/calibration.txt"
    assert LayerDrop(blocks=2, heal=True, calibration=text).parameters == {"blocks": 2}
    assert Narrow(method="Narrow", share=0.5).parameters == {"share": 0.5, "most": 4096}


@pytest.mark.parametrize("middle", [1, 5])
def test_a_method_keeps_every_middle_block_unless_it_says_otherwise(middle: int) -> None:
    assert Narrow(method="Narrow", share=0.5).count(middle) == middle
    assert LayerDrop(blocks=2).count(middle) == 2
