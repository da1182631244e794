"""Builds the egress report: exactly what a checked result sends to the peer.

It is computed from the copy of the result that is sealed, after all checks. Its digest covers the
digest of the manifest, and so every byte, the recipient's keys, and everything that an approver
reads. It is a function of these alone, so that `Publish` finds the digest that `Report` found.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from offsite.bundle import EmulatorRecord, Manifest
from offsite.bundle.files import headers
from offsite.errors import BundleError
from offsite.events import Event, Metric
from offsite.resources import EgressFact, EgressReport, SentFile, SentTensors
from offsite.sealing import PublicRing
from offsite.steps.workspace import FIGURES, Workspace
from offsite.store import write_whole
from offsite.wire import Part, canonical

_NUMBERED = re.compile(r"(.*?\.)(\d+)(\..*)")
_BITS = re.compile(r"\d+")
_MOST_KINDS = 300
"""Kinds of tensors that are listed one by one; a report has to fit into a status."""
_MOST_LABELS = 4000
"""Characters of the names of classes that are listed."""
_MOST_FIGURES = 100
_LONGEST = 200
"""Characters of a name or a value that the Work step reports."""


class Figure(Part):
    """A figure that the work measured."""

    name: str = Field(max_length=_LONGEST)
    value: str = Field(max_length=_LONGEST)


_FIGURES = TypeAdapter(tuple[Figure, ...])


class Figures:
    """Collects what the work measures."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def receive(self, event: Event) -> None:
        """Take in one event of the stage."""
        if isinstance(event, Metric):
            value = "not finite" if event.value is None else f"{event.value:.6g}"
            self._found[f"{event.setting}.{event.name}"[:_LONGEST]] = value

    def save(self, folder: Path) -> None:
        """Write the figures into a workspace's folder."""
        found = [{"name": name, "value": value} for name, value in self._found.items()]
        write_whole(folder / FIGURES, canonical(found[:_MOST_FIGURES]))


def egress_report(
    space: Workspace,
    folder: Path,
    recipient: PublicRing,
    manifest: Manifest,
    digest: str,
    draft: EmulatorRecord | None,
) -> EgressReport:
    """Build the report of a result that passed its checks.

    Args:
        folder: What is sent.
        digest: Of its manifest.
        draft: The record of an emulator that is sent.

    Raises:
        BundleError: A file is not readable, or the figures are not valid.
    """
    facts = manifest.facts.wire()
    head = list(head_facts(facts.pop("labels", [])))
    return EgressReport.of(
        kind=facts.pop("kind"),
        bundle=manifest.name,
        job=space.sent_as,
        sender=space.party.id,
        recipient=recipient.id,
        recipient_keys=recipient.fingerprint,
        answers=facts.pop("answers", None),
        manifest=digest,
        size_bytes=manifest.size,
        files=[
            SentFile(name=name, sha256=entry.sha256, size_bytes=entry.size)
            for name, entry in sorted(manifest.files.items())
        ],
        tensors=list(_tensors(folder, manifest)),
        facts=[*_flat("", facts), *head, *_disclosed(space, draft)],
        figures=list(_figures(space.folder / FIGURES)),
    )


def ranges(places: Iterable[int]) -> str:
    """Format numbers as ranges, such as 0-3,7,9-12."""
    runs = groupby(enumerate(sorted(places)), lambda each: each[1] - each[0])
    found = [[place for _, place in run] for _, run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)


def head_facts(labels: Sequence[str]) -> Iterator[EgressFact]:
    """Describe the new head of an adapter: the names of its classes are the sender's own."""
    if not labels:
        return
    yield EgressFact(name="head", value=f"new, with {len(labels)} classes")
    # quoted, since a name may hold a comma
    quoted = [json.dumps(name, ensure_ascii=False) for name in labels]
    ends = accumulate(len(each) + 2 for each in quoted)
    shown = sum(end <= _MOST_LABELS for end in ends)
    rest = f" and {len(labels) - shown} more" if shown < len(labels) else ""
    yield EgressFact(name="head.labels", value=f"{', '.join(quoted[:shown])}{rest}")


def _tensors(folder: Path, manifest: Manifest) -> Iterator[SentTensors]:
    """Group the tensors by name without the block's number, dtype and shape."""
    weights = sorted(name for name in manifest.files if name.endswith(".safetensors"))
    kinds: dict[tuple[str, str, str, tuple[int, ...]], list[int | None]] = {}
    for file in weights:
        for name, shape, dtype in headers(folder / file):
            found = _NUMBERED.fullmatch(name)
            before, number, after = found.groups() if found else (name, None, "")
            places = kinds.setdefault((before, after, dtype, shape), [])
            places.append(None if number is None else int(number))
    listed = sorted(kinds.items())
    yield from (_sent(*kind, places) for kind, places in listed[:_MOST_KINDS])
    if rest := [_sent(*kind, places) for kind, places in listed[_MOST_KINDS:]]:
        count, size = sum(each.count for each in rest), sum(each.size_bytes for each in rest)
        yield SentTensors(name="others", dtype="any", shape=[], count=count, size_bytes=size)


def _sent(
    before: str, after: str, dtype: str, shape: tuple[int, ...], places: list[int | None]
) -> SentTensors:
    numbers = [place for place in places if place is not None]
    number = ranges(numbers) if len(numbers) < 2 else f"{{{ranges(numbers)}}}"
    bits = _BITS.search(dtype)
    size = len(places) * prod(shape) * (int(bits[0]) if bits else 8) // 8
    name = f"{before}{number}{after}"
    return SentTensors(
        name=name, dtype=dtype, shape=list(shape), count=len(places), size_bytes=size
    )


def _flat(name: str, value: Any) -> Iterator[EgressFact]:
    """List the facts in a JSON value by their paths."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}" if name else key, each)
    elif isinstance(value, list | tuple):
        yield EgressFact(name=name, value=", ".join(map(str, value)) or "none")
    elif value is not None:
        yield EgressFact(name=name, value=str(value))


def _disclosed(space: Workspace, draft: EmulatorRecord | None) -> Iterator[EgressFact]:
    """List what an emulator discloses of its model, and how it may be used."""
    job, source = space.spec.distill, space.source()
    if job is None or draft is None:
        return
    depth = len(source.blocks) if source is not None else draft.blocks[-1].full + 1
    kept, ends = [b.full for b in draft.blocks], [b.full for b in draft.blocks if b.end]
    yield EgressFact(name="model.digest", value=draft.model_digest)
    yield EgressFact(name="model.blocks", value=str(depth))
    yield EgressFact(name="disclosed.ends", value=ranges(ends))
    yield EgressFact(name="disclosed.middle", value=ranges({*kept} - {*ends}))
    yield from _flat("grant", job.grant.wire())


def _figures(path: Path) -> Iterator[EgressFact]:
    try:
        found = _FIGURES.validate_json(path.read_bytes())
    except FileNotFoundError:  # a result of an earlier version
        return
    except (OSError, ValidationError) as error:
        raise BundleError(f"{path} does not hold the figures of the work: {error}") from error
    if len(found) > _MOST_FIGURES:
        raise BundleError(f"{path} holds more than {_MOST_FIGURES} figures")
    yield from (EgressFact(name=each.name, value=each.value) for each in found)
