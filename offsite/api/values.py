"""Types of a job's fields, such as names and locations, and their rules in CEL.

Every string has a maximum length, because the API server refuses CEL rules on unbounded strings.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from offsite.api.references import Use
from offsite.labels import LONGEST, checked_label, normalized
from offsite.rows import IMAGE_SUFFIXES, PROSE_SUFFIXES, ROW_SUFFIXES
from offsite.wire import NAME_PATTERN, Part

_OWN = r"file:///.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+"
# no part of the path is `.` or `..`: it stays in the claim
_CLAIM = r"pvc://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(/([^./][^/]*|\.[^./][^/]*|\.\.[^/]+))+/?"
_HUB = r"hf://[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9_.-]+)?"
PATH_PATTERN = rf"^({_OWN}|{_CLAIM}|[^:]+)$"
_SUFFIXES = "|".join(suffix[1:] for suffix in (*ROW_SUFFIXES, *PROSE_SUFFIXES, *IMAGE_SUFFIXES))
DATA_PATTERN = rf"^(({_OWN}|{_CLAIM}|[^:]+)\.(?i:{_SUFFIXES})|({_OWN}|{_CLAIM}|[^:]+)/)$"
_WITH_ROWS = "|".join(suffix[1:] for suffix in (*ROW_SUFFIXES, *IMAGE_SUFFIXES))
ROWS_PATTERN = rf"(\.(?i:{_WITH_ROWS})|/)$"
"""What ends the location of data with rows: each is one example, or one image."""
FOLDER_PATTERN = rf"^({_OWN}|{_CLAIM}|[^:]+)/$"
MODEL_PATTERN = rf"^({_OWN}|{_CLAIM}|{_HUB}|[^:]+)$"
BUNDLE_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(@sha256:[0-9a-f]{64})?$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
DURATION_PATTERN = r"^[1-9][0-9]{0,6}[hms]$"
MEMORY_PATTERN = r"^[1-9][0-9]{0,5}(\.[0-9]{1,3})?[MGT]i?$"
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"
TASK_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
LABEL_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"
COLUMN_PATTERN = r"^[A-Za-z0-9_]([A-Za-z0-9_. -]*[A-Za-z0-9_])?$"
CLASS_PATTERN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
# as `printable` has it, but for what only a Python knows of Unicode
LABEL_NAME_PATTERN = r"^[^\p{C}\p{Z}]+( +[^\p{C}\p{Z}]+)*$"

PATTERN_MEANING = {
    NAME_PATTERN: "a DNS label: lower-case letters, digits and hyphens, 63 at most",
    BUNDLE_PATTERN: "the name of a bundle, or name@sha256: and 64 hexadecimal digits",
    DIGEST_PATTERN: "a digest: sha256: and 64 hexadecimal digits",
    DURATION_PATTERN: "a duration, such as 720h, 30m or 10s",
    MEMORY_PATTERN: "an amount of memory, such as 4Gi or 512Mi",
    IMAGE_PATTERN: "a container image, such as registry.example/offsite-runtime:1.0",
    LABEL_PATTERN: "the value of a label: letters, digits, '-', '_' and '.', 63 at most",
    COLUMN_PATTERN: "the name of a column: letters, digits, '_', '.', '-' and spaces",
    LABEL_NAME_PATTERN: "printable characters, and begin and end with no space",
    CLASS_PATTERN: "a DNS name: lower-case letters, digits, '-' and '.'",
    PATH_PATTERN: (
        "a path (relative to the job file), file:///path, s3://bucket/path, or pvc://claim/path"
    ),
    DATA_PATTERN: (
        "a path (relative to the job file), file:///path, s3://bucket/path, or pvc://claim/path, "
        "and end in .jsonl or .ndjson (one JSON object per line), in .txt, .text or .md (plain "
        "text), in / (a folder of images) or in .parquet (images); convert other formats to one of "
        "these"
    ),
    FOLDER_PATTERN: (
        "a folder: a path (relative to the job file), file:///path, s3://bucket/path, or "
        "pvc://claim/path, and end in /"
    ),
    TASK_PATTERN: "the name of a task of lm-eval: letters, digits, '_', '-' and '.'",
    MODEL_PATTERN: (
        "a path (relative to the job file), file:///path, s3://bucket/path, pvc://claim/path, or "
        "hf://org/name@revision"
    ),
}
"""What each pattern means, for errors: "must be …"."""

Bundle = Annotated[str, Field(pattern=BUNDLE_PATTERN, max_length=63 + 72), Use.OPEN_BUNDLE]
"""A bundle that the peer sent."""

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=8)]

Memory = Annotated[str, Field(pattern=MEMORY_PATTERN, max_length=12)]
"""A Kubernetes quantity with a unit of M, Mi or larger."""

LabelName = Annotated[
    str,
    Field(pattern=LABEL_NAME_PATTERN, min_length=1, max_length=LONGEST),
    BeforeValidator(lambda name: normalized(name) if isinstance(name, str) else name),
    AfterValidator(checked_label),
]
"""The name of a class."""

Location = Annotated[str, Field(pattern=PATH_PATTERN, max_length=1024), Use.WRITE_MODEL]
"""Where a model is written; `s3://` is the private store."""

DataLocation = Annotated[str, Field(pattern=DATA_PATTERN, max_length=1024), Use.READ_DATA]
"""Location of a text, a data set, or a folder of images. How it ends determines its format."""

FolderLocation = Annotated[str, Field(pattern=FOLDER_PATTERN, max_length=1024), Use.READ_DATA]
"""Location of a folder of tasks. It ends in `/`."""

ModelLocation = Annotated[str, Field(pattern=MODEL_PATTERN, max_length=1024), Use.READ_MODEL]
"""Location of a model. Only models may be on a hub."""


def is_among(name: str, allowed: Iterable[str]) -> bool:
    """Return whether a name is allowed; an entry that ends in `*` allows all names it begins."""
    return any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each for each in allowed
    )


RULES = "x-kubernetes-validations"
"""Key of the CEL rules in a CRD's schema."""


def cel(rule: str, message: str, **more: str) -> dict[str, Any]:
    """Build a validation rule for the API server, which repeats a validator in Python.

    Args:
        more: Further fields of the rule, such as `fieldPath`.
    """
    return {"rule": rule, "message": message, **more}


PARTS = "accumulate is the number of parts of a batch: set it to batchSize, or less"
PARTS_RULE = cel("self.accumulate <= self.batchSize", PARTS, fieldPath=".accumulate")


def checked_parts(accumulate: int, batch_size: int) -> None:
    """Repeat `PARTS_RULE`; raises ValueError."""
    if accumulate > batch_size:
        raise ValueError(f"accumulate: {PARTS}")


class Section(Part):
    """A section of a resource."""

    model_config = ConfigDict(allow_inf_nan=False, use_attribute_docstrings=True)
