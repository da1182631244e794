"""Job documents: read from files or built from flags, and validated before any is sent."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from offsite.api import OffsiteJob
from offsite.apiversion import API_VERSION
from offsite.config import parse_job, reading
from offsite.errors import InputError, SpecError

STDIN = Path("-")
_LIFECYCLE_FIELDS = frozenset({"suspend", "cancel", "retries"})
"""Fields that commands change after a job was submitted; the job stays the same."""


class Document(NamedTuple):
    """A job to submit."""

    content: dict[str, Any]
    """As the user wrote it; the API server fills in the defaults."""
    job: OffsiteJob
    source: str
    """What errors call it: its file, or the command."""

    @property
    def out_of_reach(self) -> list[str]:
        """List the locations that are on one machine, so that no pod can access them."""
        found = (each.out_of_reach for each in self.job.spec.references())
        return [each for each in found if each is not None]

    def check_reachable(self) -> None:
        """Check that pods can access all locations.

        Raises:
            SpecError: some are on this machine.
        """
        if problems := self.out_of_reach:
            raise SpecError(self.source, problems, "job for a cluster")

    def check_namespace(self, namespace: str) -> None:
        """Check that the job belongs to the namespace that it is submitted to.

        Raises:
            InputError: `metadata.namespace` is another one.
        """
        given = self.job.metadata.namespace
        if given and given != namespace:
            raise InputError(
                f"{self.source} is for namespace {given}, not {namespace}; use --namespace {given}"
            )


def read_documents(paths: list[Path]) -> list[Document]:
    """Read every job of some files, of which `-` is stdin.

    Raises:
        InputError: a file cannot be read, or holds an invalid job.
    """
    return [document for path in paths for document in _read(path)]


def check_document(content: Any, source: str) -> Document:
    """Validate the content of one job.

    Raises:
        InputError: it is not a valid job.
    """
    return Document(content, parse_job(content, source=source), source)


def build_content(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Build a job from the values of flags, without those that are None."""
    return {
        "apiVersion": API_VERSION,
        "kind": "OffsiteJob",
        "metadata": {"name": name},
        "spec": _drop_unset(spec),
    }


def spec_differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """List the fields in which two specs differ; both have all defaults filled in."""
    ours, theirs = dict(_leaves(wanted)), dict(_leaves(found))
    return [
        f"{path}: {_format(theirs, path)} in the cluster, {_format(ours, path)} here"
        for path in sorted(ours.keys() | theirs.keys())
        if path not in _LIFECYCLE_FIELDS and ours.get(path) != theirs.get(path)
    ]


def _read(path: Path) -> list[Document]:
    with reading(str(path)):
        text = sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
        contents = list(YAML(typ="safe", pure=True).load_all(text))
    found = [each for each in contents if each is not None]
    if not found:
        raise SpecError(str(path), ["it is empty"])
    many = len(found) > 1
    return [
        check_document(each, f"{path} (document {at})" if many else str(path))
        for at, each in enumerate(found, 1)
    ]


def _drop_unset(value: Mapping[str, Any]) -> dict[str, Any]:
    """Drop values that are None, and sections that become empty."""
    inner = {k: _drop_unset(v) if isinstance(v, Mapping) else v for k, v in value.items()}
    return {k: v for k, v in inner.items() if v is not None and v != {}}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}".lstrip("."))
    elif value not in (None, []):
        yield path, value


def _format(leaves: Mapping[str, Any], path: str) -> str:
    return repr(leaves[path]) if path in leaves else "not set"
