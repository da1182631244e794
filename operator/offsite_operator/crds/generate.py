"""Generates the CustomResourceDefinitions from `offsite.api` and `offsite.resources`.

`python -m offsite_operator.crds.generate FOLDER` writes them. With `--check`, it checks that the
files are up to date.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from offsite import __version__
from offsite.api import NAME_PATTERN, PATTERN_MEANING, RULES, JobSpec, OffsiteJob, cel
from offsite.apiversion import GROUP, VERSION
from offsite.resources import (
    ApprovalSpec,
    JobStatus,
    OffsiteApproval,
    OffsitePeer,
    PeerSpec,
    PeerStatus,
)
from offsite_operator.crds.schema import structural
from offsite_operator.crds.union import Schema

VERSION_LABEL = f"{GROUP}/version"
"""Label of a CRD with the version of the product."""
_HEADER = "# Made by `make generate` from the types in offsite/api and offsite/resources.\n"


@dataclass(frozen=True)
class Column:
    """A printer column; a wide one is shown only with `kubectl get -o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def wire(self) -> dict[str, Any]:
        """Return the column as the CRD spells it."""
        shown = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return shown | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True)
class Kind:
    """A resource type: its models, and its printer columns."""

    resource: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel] | None
    """None: the kind has no status."""
    short: str
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The kind, as in manifests."""
        return self.resource.__name__

    @property
    def plural(self) -> str:
        """The plural name, as in URLs."""
        return f"{self.name.lower()}s"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
KINDS = (
    Kind(
        OffsiteJob,
        JobSpec,
        JobStatus,
        "oj",
        (
            Column("Stage", ".spec.stage"),
            Column("State", ".status.state"),
            Column("Progress", ".status.progress.percent", "number"),
            Column("Peer", ".spec.peer"),
            _AGE,
            Column("Reason", ".status.reason", wide=True),
            Column("Artifact", ".status.artifact.digest", wide=True),
            Column("Epsilon", ".status.privacy.epsilon", "number", wide=True),
            Column("Attempts", ".status.attempts", "integer", wide=True),
            Column("Approver", ".status.approval.approver", wide=True),
        ),
    ),
    Kind(
        OffsitePeer,
        PeerSpec,
        PeerStatus,
        "op",
        (
            Column("Id", ".spec.id"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            _AGE,
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
            Column("Fingerprint", ".status.fingerprint", wide=True),
        ),
    ),
    Kind(
        OffsiteApproval,
        ApprovalSpec,
        None,
        "oa",
        (
            Column("Job", ".spec.job"),
            Column("Verdict", ".spec.verdict"),
            Column("Approver", ".spec.approver"),
            _AGE,
            Column("Digest", ".spec.digest", wide=True),
            Column("Message", ".spec.message", wide=True),
        ),
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """Build the CRD of a kind."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if kind.status else {}),
        "additionalPrinterColumns": [column.wire() for column in kind.columns],
        "schema": {"openAPIV3Schema": _whole(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {VERSION_LABEL: __version__},
            # without it `helm uninstall` would delete every job, peer and approval
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": GROUP,
            "names": _names(kind),
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _names(kind: Kind) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short],
        "categories": ["offsite"],
    }


def _whole(kind: Kind) -> Schema:
    name = f"self.metadata.name.matches(r'{NAME_PATTERN}')"
    message = f"must be {PATTERN_MEANING[NAME_PATTERN]}"
    parts = {"spec": structural(kind.spec)}
    if kind.status is not None:
        parts["status"] = structural(kind.status)
    metadata = {"type": "object", "properties": {"name": {"type": "string"}}}
    return {
        "type": "object",
        "description": kind.resource.__doc__,
        "required": ["spec"],
        "properties": {"metadata": metadata, **parts},
        RULES: [cel(name, message, fieldPath=".metadata.name")],
    }


def rendered() -> dict[str, str]:
    """Render the CRDs: the text of each file by name."""
    return {f"{kind.plural}.yaml": _HEADER + _text(definition(kind)) for kind in KINDS}


def _text(content: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 100
    stream = StringIO()
    yaml.dump(json.loads(json.dumps(content)), stream)  # the copy avoids YAML aliases
    return stream.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Write the CRDs to a folder, or check that they are up to date; returns the exit code."""
    check, folder = arguments[:-1] == ["--check"], Path(arguments[-1])
    stale = [
        folder / name
        for name, text in rendered().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
    if check:
        for path in stale:
            print(f"{path} is out of date; run: make generate", file=sys.stderr)
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(rendered()[path.name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
