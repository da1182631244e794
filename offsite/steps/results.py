"""Checks that a result is what its job requests, before it is sealed or exported.

The author of a job may choose the image that makes the result, so the manifest is not trusted. A
result is compared with the job, and with what was known before the work (`opening.prepare`).
`emulator_results` checks emulators.
"""

import json
from collections.abc import Collection
from math import prod
from pathlib import Path
from typing import Any

from offsite.api import Adapter, PlugIn, Tune
from offsite.bundle import (
    PROVENANCE,
    AdapterFacts,
    EmulatorRecord,
    Manifest,
    check_adapter,
    check_original,
    check_tensors,
    check_whole,
)
from offsite.bundle.manifest import FileEntry, entries_of
from offsite.bundle.original import INDEX
from offsite.bundle.plugged import check_plugged_head, check_plugged_weights
from offsite.errors import BundleError, ModelError
from offsite.families import family_of
from offsite.steps.answers import rank_of
from offsite.steps.classes import classes_of
from offsite.steps.places import is_companion, model_digest, write_labels
from offsite.steps.privacy import check_facts
from offsite.steps.workspace import Source, Workspace

_BESIDE = 256 << 20
"""Bytes allowed beside a model's weights: tokenizer and manifests."""
_WIDER = 4
"""Growth allowed for weights that are written in another dtype."""
_UNKNOWN = 1 << 50
"""Limit for a model at a hub; the pod's disk limit applies."""
_LARGEST_CONFIG = 1 << 20


def most_of(space: Workspace) -> int:
    """Return the size limit of a job's result in bytes."""
    if space.spec.tune is not None:
        adapter, record = space.spec.tune.adapter, space.answered()
        rank = rank_of(adapter, record.linears)
        classes = record.head.max_labels if record.head else 0
        sizes = [_bytes_of(record, adapter, rank, each) for each in (0, classes)]
        return max(sizes) + _BESIDE
    source = source_of(space)
    return _UNKNOWN if source is None else _WIDER * source.size + _BESIDE


def _bytes_of(record: EmulatorRecord, adapter: Adapter, rank: int, classes: int) -> int:
    outside = tuple(sorted(record.modules(classes)))
    shapes = record.expected(adapter.method, adapter.scope, rank, outside, classes)
    return sum(4 * prod(shape) for shape in shapes.values())


def check_answer(space: Workspace, job: Tune, units: int, labels: Collection[str]) -> str:
    """Check an adapter that is about to be sent, as its receiver will, and against the job.

    Args:
        units: Number of units in the training data.
        labels: The labels in it.

    Returns:
        The envelope that it answers.

    Raises:
        BundleError: It is not the job's adapter.
    """
    check_whole(space.result)
    record, adapter = space.answered(), job.adapter
    manifest = check_adapter(space.result, record)
    check_maker(space, manifest)
    rank = rank_of(adapter, record.linears)
    facts = manifest.facts
    assert isinstance(facts, AdapterFacts), "checked by check_adapter"
    check_facts(space.party.limits, job, facts.privacy, units)
    classes = classes_of(record.head, job, labels)
    wanted = AdapterFacts(
        method=adapter.method,
        scope=adapter.scope,
        targets=adapter.targets,
        rank=rank,
        outside=tuple(sorted(record.modules(len(classes)))),
        labels=classes,
        answers=record.digest,
        privacy=facts.privacy,
    )
    stated = (facts, manifest.architecture, manifest.dtype)
    if stated != (wanted, record.architecture, "float32"):
        raise wrong_result(space.result)
    return record.digest


def check_plugged(space: Workspace, job: PlugIn) -> dict[str, FileEntry]:
    """Check a plugged-in model that is about to be exported, and add the original companion files.

    The files beside the weights, including the config, are copied from the original model, not from
    the training step. If the adapter brings a head, the config gets its classes, and the head has
    to be that one. Weights that the adapter may not change must be identical to the model's, byte
    for byte, and no other may change by more than the party allows. For a model at a hub, which is
    not reachable from here, only the head, and names and shapes of the tensors, are checked.

    Returns:
        Size and digest of every file of the checked model, each of which was read once.

    Raises:
        ModelError: Its tensors differ from the model's in name or shape, or there are extra files.
        BundleError: A weight changed by more than the party allows.
        StorageError: The private store did not provide the model.
    """
    folder, source, head = space.result, source_of(space), space.new_head()
    config = config_of(folder)
    weights = {name for name in check_original(folder) if name.endswith(".safetensors")}
    if source is None:
        _check_unknown(folder, config, {*weights, "config.json", INDEX})
        if head is not None:
            check_plugged_head(folder, config, head, job.adapter)
        return entries_of(folder, PROVENANCE)
    for path in folder.iterdir():
        if path.name not in {*weights, INDEX}:
            path.unlink()
    space.party.copy_companions(job.model, folder)
    if head is not None:
        write_labels(folder, head.labels)
    check_original(folder)
    return entries_of(folder, PROVENANCE, _compared(space, job, source))


def _compared(space: Workspace, job: PlugIn, source: Source) -> dict[str, FileEntry]:
    """Compare a plugged-in model's weights with the model's; returns the entries of its files."""
    made, model, most = space.result, space.party.model(job.model), space.party.limits.max_change
    stated = (source.config, space.answered(), most, job.adapter, space.new_head())
    try:
        found = check_plugged_weights(made, model, *stated)
    except (BundleError, ModelError):
        # the reason may be that the model is another one
        _check_unchanged(space, job, source, model_digest(model))
        raise
    known = {path.name: entry.sha256 for path, entry in found.items() if path.parent == model}
    _check_unchanged(space, job, source, model_digest(model, known))
    return {path.name: entry for path, entry in found.items() if path.parent == made}


def _check_unchanged(space: Workspace, job: PlugIn, source: Source, digest: str) -> None:
    if digest != source.digest:
        raise ModelError(f"{job.model} has changed since {space.name} began; run the job again")


def _check_unknown(folder: Path, config: dict[str, Any], kept: Collection[str]) -> None:
    """Check a model made from one at a hub: its tensors, and that it has no code references.

    Raises:
        ModelError: It lacks tensors that its config names, or has extra files.
    """
    check_tensors(folder, family_of(config), config)
    if "auto_map" in config:
        raise ModelError(f"{folder / 'config.json'}: remove auto_map, which names code to run")
    for path in sorted(folder.iterdir()):
        if path.name not in kept and not is_companion(path.name):
            raise ModelError(f"{path} is not a file of the model")


def source_of(space: Workspace) -> Source | None:
    """Read what is known of the job's model; None if the model is at a hub, and so public."""
    model, source = space.spec.model, space.source()
    if source is None and not (model and model.startswith("hf://")):
        raise space.forgotten("of the model")
    return source


def check_maker(space: Workspace, manifest: Manifest) -> None:
    """Check that a manifest names this job, this party and its peer."""
    stated = (manifest.name, manifest.made_by, manifest.made_for)
    if stated != (space.name, space.party.id, space.peer_id):
        raise wrong_result(space.result)


def config_of(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a result.

    Raises:
        BundleError: It is too large, or not JSON.
    """
    path = folder / "config.json"
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise BundleError(f"{path} is larger than {_LARGEST_CONFIG} bytes")
        config: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot read {path}: {error}") from error
    return config


def wrong_result(folder: Path) -> BundleError:
    """Make the error for a result that differs from what its job requests."""
    return BundleError(f"{folder} is not what the job requests; check the image that made it")
