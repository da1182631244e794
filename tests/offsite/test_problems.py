"""Errors of files are plain sentences, for every kind of file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.bundle import MANIFEST, read_manifest
from offsite.bundle.provenance import read_provenance
from offsite.errors import InputError
from offsite.sealing.envelope import read_envelope
from offsite.sealing.identity import Entry
from offsite.sealing.publicfile import read_public
from offsite.task import read_task
from offsite_operator.settings import read_settings
from offsite_testing.parties import LAB, ring_of

Reader = Callable[[bytes, Path], object]


def manifest(content: bytes, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(content)
    read_manifest(folder)


def on_disk(read: Callable[[Path], object]) -> Reader:
    def reader(content: bytes, folder: Path) -> object:
        path = folder / "file.json"
        path.write_bytes(content)
        return read(path)

    return reader


READERS: dict[str, Reader] = {
    "a public file": lambda content, _: read_public(content, "lab.pub"),
    "a manifest": manifest,
    "a provenance": lambda content, _: read_provenance(content, [], "model"),
    "an envelope": lambda content, _: read_envelope(content, ring_of(LAB).public()),
    "a task": on_disk(read_task),
    "settings": on_disk(read_settings),
}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"# a comment", "it is not JSON: expected value at line 1 column 1"),
        (b'{"id": "lab", ', "it is not JSON: EOF while parsing a value"),
        (b"[]", "(top level): must be an object"),
        (b'{"color": "red"}', "required, but missing"),
    ],
    ids=["no JSON", "half", "a list", "other fields"],
)
@pytest.mark.parametrize("what", READERS)
def test_no_reader_speaks_of_its_private_store(
    what: str, content: bytes, wanted: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        READERS[what](content, tmp_path)
    said = str(caught.value)
    assert wanted in said
    for word in ("validation error", "pydantic", "model_type", "input_value", "\n"):
        assert word not in said


def test_the_first_problems_are_enough() -> None:
    content = {str(field): 1 for field in range(9)}
    with pytest.raises(ValidationError) as caught:
        Entry.model_validate_json(json.dumps(content))
    said = reason(caught.value)
    assert said.count(";") == 5 + said.count("; remove it")
    assert said.endswith(" more")
