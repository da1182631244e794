"""The stage of the data owner: tune an adapter in the bundle, and send the adapter alone."""

from pathlib import Path

from torch import Tensor

from offsite.api import JobSpec, Tune
from offsite.bundle import AdapterFacts, EmulatorFacts, Manifest, check_emulator, read_manifest
from offsite.data import Example, Shuffled
from offsite.errors import BundleError, ModelError
from offsite.evaluate import Benchmark
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, load
from offsite.stages.publish import already_published, publish_adapter
from offsite.stages.report import Yardstick, read_examples
from offsite.stages.workspace import Party, Workspace, text_digest, workspace
from offsite.train import Plan
from offsite.tune import tune

_RANK = 16
_VALIDATIONS = 4
"""How often the validation loss is looked at during a run."""


def run_tune(name: str, spec: JobSpec, job: Tune, party: Party, monitor: Monitor) -> None:
    """Tune the adapter of a job and publish it to the peer. Opens no full model.

    Raises:
        BundleError: the peer sent no such bundle, or one that may not be opened.
        DataError: the private data cannot be used.
        InterruptedStage: a signal came; training goes on from its checkpoint next time.
    """
    train, validation = party.resolve(job.data.train), party.resolve(job.data.validation)
    text = party.resolve(job.evaluate) if job.evaluate else validation
    texts = {"train": train, "validation": validation, "evaluate": text}
    inputs = {key: text_digest(path) for key, path in texts.items()}
    _, inputs["bundle"] = read_manifest(party.sent(spec.peer, job.bundle))
    with workspace(party, name, spec, inputs) as space:
        if already_published(space, spec.peer, monitor):
            return
        folder, manifest = _open(space, spec.peer, job.bundle, inputs["bundle"])
        loaded = _load(folder)
        yard = Yardstick.read(text, loaded, monitor)
        private = _private(job, texts, loaded, monitor)
        yard.report(loaded, "emulator_zero_shot", monitor)
        facts = _facts(job, manifest, inputs["bundle"])
        changes = _train(loaded, manifest, facts, job, private, spec.seed, space, monitor)
        yard.report(loaded, "emulator_tuned", monitor)
        publish_adapter(space, spec.peer, changes, facts, manifest.architecture, monitor)


def _open(space: Workspace, peer: str, bundle: str, digest: str) -> tuple[Path, Manifest]:
    """Copy the peer's bundle to a folder of our own, and check it there."""
    folder, party = space.folder / "opened", space.party
    party.exchange.fetch(peer, party.id, bundle, folder)
    manifest, found = check_emulator(folder)
    if found != digest:
        raise BundleError(f"the bundle {bundle} was changed while it was read; run the job again")
    if (manifest.made_by, manifest.name) != (peer, bundle):
        raise BundleError(
            f"the bundle {bundle} of {peer} says that it is {manifest.name} of {manifest.made_by}"
        )
    return folder, manifest


def _load(folder: Path) -> Loaded:
    """Load what was checked; what no check of ours foresees is still the peer's fault."""
    try:
        return load(folder)
    except ModelError as error:
        raise BundleError(str(error)) from error


def _private(
    job: Tune, texts: dict[str, Path], loaded: Loaded, monitor: Monitor
) -> tuple[tuple[Example, ...], Benchmark]:
    """Read the private data: what to train on, and what to validate with."""
    train = read_examples(texts["train"], loaded, job.training.block_size, monitor)
    return train, Yardstick.read(texts["validation"], loaded, monitor).bench


def _facts(job: Tune, manifest: Manifest, digest: str) -> AdapterFacts:
    adapter = job.adapter
    rank = (adapter.rank or _RANK) if adapter.method == "LoRA" else 0
    return AdapterFacts(method=adapter.method, scope=adapter.scope, rank=rank, answers=digest)


def _places(loaded: Loaded, manifest: Manifest, scope: str) -> tuple[int, ...]:
    assert isinstance(manifest.facts, EmulatorFacts)
    every = tuple(range(len(blocks(loaded.model))))
    ends = every[: manifest.facts.bottom] + every[len(every) - manifest.facts.top :]
    return every if scope == "All" else ends


def _train(
    loaded: Loaded,
    manifest: Manifest,
    facts: AdapterFacts,
    job: Tune,
    private: tuple[tuple[Example, ...], Benchmark],
    seed: int,
    space: Workspace,
    monitor: Monitor,
) -> dict[str, Tensor]:
    training, (examples, validation) = job.training, private
    batches = Shuffled(examples, training.batch_size, seed)
    steps = training.steps or training.epochs * batches.steps_per_epoch
    return tune(
        loaded.model,
        _places(loaded, manifest, facts.scope),
        batches,
        Plan(
            steps=steps,
            learning_rate=training.learning_rate,
            seed=seed,
            validate_every=max(1, steps // _VALIDATIONS),
        ),
        method=facts.method,
        rank=facts.rank,
        validation=validation,
        checkpoints=space.checkpoints,
        monitor=monitor,
        gradient_checkpointing=training.gradient_checkpointing,
    )
