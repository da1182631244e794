"""What left a party: the egress report as a table, and its facts by name."""

import re
from collections.abc import Iterator, Mapping

from offsite.resources import EgressReport
from offsite_cli.report.content import Cell, Facts, Table
from offsite_cli.report.words import size

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_MOST_BLOCKS = 4096
_MOST_ROWS = 12
"""Rows of a table that is not folded."""


def facts_of(report: EgressReport | None) -> Mapping[str, str]:
    """Return the facts of an egress report by name."""
    return {} if report is None else {fact.name: fact.value for fact in report.facts}


def tensor_count(report: EgressReport) -> int:
    """Count the tensors that were sent."""
    return sum(each.count for each in report.tensors)


def sent_facts(report: EgressReport) -> Facts:
    """Say what was sent to whom, and by which digests it is known."""
    return Facts(
        [
            ("Sent to", Cell(report.recipient, "the only party that can open it")),
            ("Bundle", report.bundle),
            ("Size before encryption", size(report.size_bytes)),
            ("Tensors", f"{tensor_count(report):,}"),
            ("Files", f"{len(report.files)}, and the manifest"),
            ("Digest of the egress report", Cell(report.digest, code=True)),
        ]
    )


def tensor_table(report: EgressReport) -> Table:
    """List all tensors that were sent, those of equal shape in one row."""
    return Table(
        f"Every tensor in {report.bundle}",
        ["tensors", "number", "shape", "type", "size"],
        [
            [
                Cell(each.name, code=True),
                f"{each.count:,}",
                " × ".join(map(str, each.shape)) or "–",
                each.dtype,
                size(each.size_bytes),
            ]
            for each in report.tensors
        ],
        (1, 4),
        folded=len(report.tensors) > _MOST_ROWS,
    )


def file_table(report: EgressReport) -> Table:
    """List all files that were sent, with their digests."""
    return Table(
        f"Every file in {report.bundle}",
        ["file", "size", "SHA-256"],
        [
            [Cell(each.name, code=True), size(each.size_bytes), Cell(each.sha256, code=True)]
            for each in report.files
        ],
        (1,),
        folded=len(report.files) > _MOST_ROWS,
    )


def numbers_in(ranges: str) -> set[int]:
    """Read ranges such as `0-3,7,9-12`; what is none, or too large, is left out."""
    return {number for part in ranges.split(",") for number in _numbers(part.strip())}


def _numbers(part: str) -> Iterator[int]:
    found = _RANGE.fullmatch(part)
    if found is not None:
        first = int(found[1])
        last = int(found[2] or first)
        yield from range(first, min(last + 1, _MOST_BLOCKS))
