"""The three stages as functions. Their arguments are the fields of the stage in a job file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from offsite.api import (
    Accept,
    Adapter,
    AlphaAuto,
    AlphaFactors,
    Base,
    Data,
    DistillTraining,
    Emulator,
    EmulatorRelease,
    Ends,
    Export,
    Grant,
    LmEval,
    OffsiteJob,
    Privacy,
    Release,
    TuneTraining,
)
from offsite.apiversion import API_VERSION
from offsite.client.home import Home, StrPath
from offsite.client.result import Collector, Result
from offsite.config import parse_job
from offsite.events import Event, Monitor

OnEvent = Callable[[Event], object]
Fields = Mapping[str, Any]
"""The fields of a section, instead of its type."""
_DATA = ("train", "validation", "evaluate", "corpus", "calibration")
_FOLDER = "path"
"""The folder of tasks, in `lm_eval`."""


def distill(
    name: str,
    *,
    home: Home,
    peer: str,
    model: StrPath,
    emulator: Emulator | Fields,
    ends: Ends | Fields | None = None,
    training: DistillTraining | Fields | None = None,
    grant: Grant | Fields | None = None,
    release: EmulatorRelease | Fields | None = None,
    evaluate: StrPath | None = None,
    lm_eval: LmEval | Fields | None = None,
    seed: int = 0,
    deterministic: bool = False,
    base: StrPath = ".",
    on_event: OnEvent | None = None,
) -> Result:
    """Make an emulator of a model and send it to a peer: the model owner's first stage.

    A section such as `emulator` is its type, or a mapping with the same fields. An interrupted call
    resumes from its last checkpoint when it is repeated; a finished one returns at once.

    Args:
        name: The name of the job, and of the bundle that it sends.
        home: The model owner's home.
        peer: The alias of the data owner's pinned keys.
        model: The full model: a folder with safetensors, `hf://org/name@revision` or `s3://…`.
        emulator: How the middle of the model is compressed, such as `LayerDrop(blocks=18)`.
        ends: Blocks at both ends that are sent as they are.
        training: Distillation of the emulator; None: it is healed only.
        grant: How the emulator may be used.
        release: Audit of the emulator before it is published, such as `{"maxCapability": 0.5}`.
        evaluate: Data that both parties have, to measure the model and the emulator on.
        lm_eval: Tasks of lm-eval to measure them on, and their folder, such as
            `{"tasks": ["piqa"], "path": "mirror/"}`.
        seed: Random seed.
        deterministic: Give the same bits each time on a GPU, too; slower.
        base: The folder that relative paths are relative to.
        on_event: Called with each event: progress, metrics, logs.

    Returns:
        The bundle in the exchange, with the perplexities or accuracies that were measured.

    Raises:
        SpecError: An argument is missing or wrong; the error lists all of them.
        OffsiteError: The stage failed. Nothing incomplete was sent.
    """
    section = {
        "model": model,
        "emulator": emulator,
        "ends": ends,
        "training": training,
        "grant": grant,
        "release": release,
        "evaluate": evaluate,
        "lm_eval": lm_eval,
    }
    job = _job(name, "Distill", peer, seed, deterministic, distill=section)
    return _run(job, home, base, on_event)


def tune(
    name: str,
    *,
    home: Home,
    peer: str,
    bundle: str,
    data: Data | Fields,
    adapter: Adapter | Fields | None = None,
    training: TuneTraining | Fields | None = None,
    base_model: Base | Fields | None = None,
    privacy: Privacy | Fields | None = None,
    release: Release | Fields | None = None,
    evaluate: StrPath | None = None,
    lm_eval: LmEval | Fields | None = None,
    seed: int = 0,
    deterministic: bool = False,
    base: StrPath = ".",
    on_event: OnEvent | None = None,
) -> Result:
    """Tune an adapter in the peer's emulator and send it back: the data owner's stage.

    Sections, repetition and the common arguments are those of `distill`.

    Args:
        name: The name of the job, and of the bundle that it sends.
        home: The data owner's home.
        peer: The alias of the model owner's pinned keys.
        bundle: The emulator: the name of its bundle, or `name@sha256:…` for one envelope of it.
        data: The private data: `train` and `validation`. A string that names a folder of images
            ends in `/`; a `Path` need not.
        adapter: What is trained.
        training: How to train it.
        base_model: The section `base`: how the emulator is held, such as `{"quantize": "NF4"}`.
        privacy: Differential privacy of the adapter, such as `{"epsilon": 8}`.
        release: Audits of the adapter before it is published, such as `{"canaries": 200}`.
        evaluate: Data that both parties have, to measure the emulator on before and after.
        lm_eval: Tasks of lm-eval to measure it on, and their folder.
        seed: Random seed.
        deterministic: Give the same bits each time on a GPU, too; slower.
        base: The folder that relative paths are relative to.
        on_event: Called with each event: progress, metrics, logs.

    Returns:
        The bundle in the exchange, with the perplexities or accuracies that were measured.

    Raises:
        SpecError: An argument is missing or wrong; the error lists all of them.
        NotSentError: The peer has sent no such emulator yet.
        OffsiteError: The stage failed. Nothing incomplete was sent.
    """
    section = {
        "bundle": bundle,
        "data": data,
        "adapter": adapter,
        "training": training,
        "base": base_model,
        "privacy": privacy,
        "release": release,
        "evaluate": evaluate,
        "lm_eval": lm_eval,
    }
    job = _job(name, "Tune", peer, seed, deterministic, tune=section)
    return _run(job, home, base, on_event)


def plug_in(
    name: str,
    *,
    home: Home,
    peer: str,
    model: StrPath,
    adapter: str,
    alpha: float = 1.0,
    alpha_factors: AlphaFactors | Fields | None = None,
    alpha_auto: AlphaAuto | Fields | None = None,
    evaluate: StrPath | None = None,
    lm_eval: LmEval | Fields | None = None,
    accept: Accept | Fields | None = None,
    export: Export | Fields | None = None,
    seed: int = 0,
    deterministic: bool = False,
    base: StrPath = ".",
    on_event: OnEvent | None = None,
) -> Result:
    """Plug the returned adapter into the full model: the model owner's last stage.

    Sections, repetition and the common arguments are those of `distill`.

    Args:
        name: The name of the job, and of the model that it writes.
        home: The model owner's home.
        peer: The alias of the data owner's pinned keys.
        model: The full model that the emulator was made from.
        adapter: The name of the adapter's bundle, or `name@sha256:…` for one envelope of it.
        alpha: Scale of the adapter's change.
        alpha_factors: Factors of `alpha`, such as `{"attention": 0.4}`.
        alpha_auto: A rule chooses the scale, at most `alpha`, by own data that it names.
        evaluate: Data to measure the model on, before and after.
        lm_eval: Tasks of lm-eval to measure it on, and their folder.
        accept: Requirements on that data; an adapter that misses them is not exported.
        export: Where to write the model; None: `models/<name>` in the home.
        seed: Random seed.
        deterministic: Give the same bits each time on a GPU, too; slower.
        base: The folder that relative paths are relative to.
        on_event: Called with each event: progress, metrics, logs.

    Returns:
        The tuned model, a Hugging Face model folder, with what was measured.

    Raises:
        SpecError: An argument is missing or wrong; the error lists all of them.
        NotSentError: The peer has sent no such adapter yet.
        OffsiteError: The stage failed. No model was written.
    """
    section = {
        "model": model,
        "adapter": adapter,
        "alpha": alpha,
        "alpha_factors": alpha_factors,
        "alpha_auto": alpha_auto,
        "evaluate": evaluate,
        "lm_eval": lm_eval,
        "accept": accept,
        "export": export,
    }
    job = _job(name, "PlugIn", peer, seed, deterministic, plug_in=section)
    return _run(job, home, base, on_event)


def _job(
    name: str, stage: str, peer: str, seed: int, deterministic: bool, **section: Fields
) -> OffsiteJob:
    """Make the job of a call; an argument that is None takes the field's default."""
    content = {
        "apiVersion": API_VERSION,
        "kind": "OffsiteJob",
        "metadata": {"name": name},
        "spec": {
            "stage": stage,
            "peer": peer,
            "seed": seed,
            "deterministic": deterministic,
            **_plain(section),
        },
    }
    return parse_job(content, source=name, by_name=True)


def _plain(value: Any, field: str = "") -> Any:
    """Make mappings dicts and paths strings, and drop what is None."""
    if isinstance(value, Mapping):
        return {key: _plain(each, key) for key, each in value.items() if each is not None}
    if not isinstance(value, os.PathLike):
        return value
    path = os.fspath(value)
    # a Path has no / at its end, and data without a suffix can only be a folder
    folder = field == _FOLDER or (field in _DATA and not Path(path).suffix)
    return f"{path}/" if folder else path


def _run(job: OffsiteJob, home: Home, base: StrPath, on_event: OnEvent | None) -> Result:
    collector = Collector(job.metadata.name, on_event)
    home.run(job, Monitor(collector.receive), base=base)
    return collector.result()
