"""Job files for a cluster: one or more documents each, checked before anything is sent."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from offsite.api import OffsiteJob
from offsite.config import parse_job, reading
from offsite.errors import InputError, SpecError

STDIN = Path("-")


class Document(NamedTuple):
    """A job as it is sent."""

    content: dict[str, Any]
    """As the user wrote it; the API server fills in the defaults."""
    job: OffsiteJob
    source: str
    """What errors name it by."""

    def check_namespace(self, namespace: str) -> None:
        """Check that the job does not name another namespace than the one that it is sent to.

        Raises:
            InputError: it does.
        """
        given = self.job.metadata.namespace
        if given and given != namespace:
            raise InputError(
                f"{self.source} is for namespace {given}, not {namespace}; say --namespace {given}"
            )


def read_jobs(paths: list[Path]) -> list[Document]:
    """Read every job of some files; `-` is stdin.

    Raises:
        InputError: a file cannot be read, or holds what is no valid job.
    """
    return [document for path in paths for document in _read(path)]


def checked(content: Any, source: str) -> Document:
    """Check the content of one job.

    Raises:
        InputError: it is no valid job.
    """
    return Document(content, parse_job(content, source=source), source)


def _read(path: Path) -> list[Document]:
    with reading(str(path)):
        text = sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
        contents = list(YAML(typ="safe", pure=True).load_all(text))
    found = [each for each in contents if each is not None]
    if not found:
        raise SpecError(str(path), ["is empty"])
    many = len(found) > 1
    return [
        checked(each, f"{path} (document {at})" if many else str(path))
        for at, each in enumerate(found, 1)
    ]
