"""Checks a returned adapter against the model owner's record of the emulator."""

from math import prod
from pathlib import Path

import numpy as np
from safetensors import safe_open

from offsite.bundle.files import check_names, compare, headers
from offsite.bundle.head import LARGEST_VALUE, VALUE
from offsite.bundle.manifest import AdapterFacts, Manifest, read_manifest
from offsite.bundle.record import EmulatorRecord, largest_rank
from offsite.errors import BundleError
from offsite.families import Shape

ADAPTER = "adapter.safetensors"
_LARGEST_HEADER = 16 << 20
"""Bytes beside an adapter's numbers: the safetensors header, and room for what aligns it."""


def admit_adapter(manifest: Manifest, record: EmulatorRecord) -> None:
    """Check what a manifest says, before any of the files that it names is fetched.

    Raises:
        BundleError: it is of no adapter that the record of its emulator allows, or too large.
    """
    facts = _adapter_facts(manifest, record)
    shapes = _expected(facts, record).values()
    most = sum(4 * prod(shape) for shape in shapes) + _LARGEST_HEADER
    if manifest.size > most:
        raise BundleError(f"{manifest.name} has {manifest.size} bytes; {most} are allowed at most")


def check_adapter(folder: Path, record: EmulatorRecord) -> Manifest:
    """Check a returned adapter that is whole (`check_whole`) against the owner's record.

    Args:
        record: of the emulator that it answers.

    Raises:
        BundleError: it answers another bundle, comes from another party, or holds anything that the
            record does not allow.
    """
    manifest, _ = read_manifest(folder)
    facts = _adapter_facts(manifest, record)
    expected = _expected(facts, record)
    path = folder / ADAPTER
    found = {name: (shape, dtype) for name, shape, dtype in headers(path)}
    compare(path, found, {name: (shape, "F32") for name, shape in expected.items()})
    _check_numbers(path)
    return manifest


def _expected(facts: AdapterFacts, record: EmulatorRecord) -> dict[str, Shape]:
    narrowed = record.narrowed(facts.method, facts.scope, facts.targets)
    return narrowed.expected(
        facts.method, facts.scope, facts.rank, facts.outside, len(facts.labels)
    )


def _adapter_facts(manifest: Manifest, record: EmulatorRecord) -> AdapterFacts:
    facts, name = manifest.facts, manifest.name
    if not isinstance(facts, AdapterFacts):
        raise BundleError(f"{name} is an {facts.kind}, not an adapter")
    check_names(manifest, lambda file: file == ADAPTER)
    if facts.answers != record.digest:
        raise BundleError(f"{name} was tuned in {facts.answers}, not in {record.digest}")
    if manifest.made_by != record.recipient:
        raise BundleError(
            f"{name} was made by {manifest.made_by}, but its emulator was made for "
            f"{record.recipient}"
        )
    if (facts.method, facts.scope) not in record.allowed:
        raise BundleError(f"{name}: an adapter {facts.method}/{facts.scope} is not allowed")
    modules = record.modules(len(facts.labels))
    if foreign := sorted({*facts.outside} - modules):
        allowed = ", ".join(sorted(modules)) or "nothing"
        raise BundleError(
            f"{name} changes {', '.join(foreign)} outside the blocks; allowed is {allowed}"
        )
    if record.head is not None and len(facts.labels) > record.head.max_labels:
        raise BundleError(
            f"{name} brings a head of {len(facts.labels)} classes; {record.head.max_labels} are "
            "allowed at most"
        )
    narrowed = record.narrowed(facts.method, facts.scope, facts.targets)
    most = min(record.max_rank, largest_rank(narrowed.linears))
    if not (1 <= facts.rank <= most if facts.method == "LoRA" else facts.rank == 0):
        raise BundleError(f"{name}: rank {facts.rank} is not allowed; at most {most}")
    return facts


def _check_numbers(path: Path) -> None:
    with safe_open(path, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            values = file.get_tensor(name)
            if not np.isfinite(values).all():
                raise BundleError(f"{path}: {name!r} holds a value that is not finite")
            # no change of a weight, so maxChange does not bound it
            if name.endswith(f".{VALUE}") and np.abs(values).max() > LARGEST_VALUE:
                raise BundleError(f"{path}: {name!r} holds a value above {LARGEST_VALUE:g}")
