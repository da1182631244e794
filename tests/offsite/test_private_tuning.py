"""Tuning with differential privacy: what a step adds up, and what a resumed run accounts for."""

import copy
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from offsite.emulator.layer_drop import drop_layers
from offsite.errors import InputError, InterruptedStage
from offsite.events import Event, Monitor, Progress
from offsite.modality import Example
from offsite.modality.text import TextExample
from offsite.privacy.budget import Mechanism, ledger_of
from offsite.training.checkpoints import Checkpoints
from offsite.training.private import PoissonSamples, PrivateStep, Sample
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune_privately
from offsite_testing.core import DROPPED, loaded, silent, some_tokens
from offsite_testing.tiny import tiny_model

Units = Sequence[Sequence[Example]]
FORMS = {"LoRA-All": (0, 1, 2, 3), "LoRA-Ends": DROPPED.ends, "Blocks-Ends": DROPPED.ends}
SILENT_NOISE = 1e-9
"""So little that sums can be compared."""


def some_units(*sizes: int, length: int = 10) -> Units:
    """Draw units of as many examples as each size says, of different lengths."""
    rows = some_tokens(sum(sizes), length + 4).tolist()
    every = [TextExample(tuple(row[: length + i % 4])) for i, row in enumerate(rows)]
    return [[every.pop() for _ in range(size)] for size in sizes]


def trained(
    folder: Path,
    units: Units,
    *,
    form: str = "LoRA-All",
    noise: float = 1.0,
    rate: float = 1.0,
    steps: int = 4,
    bound: float = 1.0,
    size: int = 4,
    accumulate: int = 1,
    monitor: Monitor | None = None,
    note: Callable[[int, Sample], object] = lambda step, sample: None,
) -> tuple[dict[str, Tensor], str]:
    """Tune a tiny emulator; returns changes and ledger."""
    folder.mkdir(exist_ok=True)
    tuned = loaded(copy.deepcopy(drop_layers(tiny_model("llama"), DROPPED)))
    collate = tuned.modality.collate
    run = Run(
        Plan(steps=steps, learning_rate=5e-3, seed=3),
        Checkpoints(folder / "checkpoint.safetensors", seconds=0.0),
        monitor or silent(),
        PrivateStep(Mechanism(noise, rate), bound, size, collate, accumulate),
    )
    adapter = Adapter(form.partition("-")[0], 3, FORMS[form])
    samples = PoissonSamples(units, collate, rate, 0)

    def noted(step: int) -> Sample:
        sample = samples(step)
        note(step, sample)
        return sample

    return tune_privately(tuned, adapter, noted, run)


def gradient(folder: Path) -> Tensor:
    """Get the gradient of a run of one step: Adam's first moment is a tenth of it."""
    state = load_file(folder / "checkpoint.safetensors")
    moments = [10 * state[name] for name in sorted(state) if name.endswith("/exp_avg")]
    return torch.cat([each.flatten().double() for each in moments])


def one_step(folder: Path, units: Units, **options: float) -> Tensor:
    trained(folder, units, noise=SILENT_NOISE, steps=1, **options)  # type: ignore[arg-type]
    return gradient(folder)


@pytest.fixture(autouse=True)
def _exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offsite.layers.hardware.multiplies_bfloat16", lambda kind: False)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_moves_every_tensor_by_noise(form: str, tmp_path: Path) -> None:
    changes, ledger = trained(tmp_path, some_units(1, 1, 2), form=form, steps=2)
    assert all(change.count_nonzero() for change in changes.values())
    assert ledger == ledger_of(Mechanism(1.0, 1.0), 2)


def test_one_unit_more_changes_the_mean_by_the_bound_at_most(tmp_path: Path) -> None:
    """Whatever is in it. The sum is divided by the expected number of units, not by theirs."""
    units, bound, size = some_units(1, 3, 2, 1, 1, 9), 0.01, 4
    every = one_step(tmp_path / "all", units, bound=bound, size=size)
    for left_out in range(len(units)):
        rest = [unit for place, unit in enumerate(units) if place != left_out]
        without = one_step(tmp_path / f"{left_out}", rest, bound=bound, size=size)
        assert float((every - without).norm()) == pytest.approx(bound / size, rel=1e-3)


def test_how_units_are_computed_together_does_not_matter(tmp_path: Path) -> None:
    units = some_units(1, 3, 2, 1, 1, 9)
    found = [one_step(tmp_path / f"{n}", units, size=n) * n for n in (1, 2, 4, 16)]
    found.append(one_step(tmp_path / "parts", units, size=16, accumulate=5) * 16)
    for other in found[1:]:
        assert float((other - found[0]).norm()) < 1e-5 * float(found[0].norm())


def test_the_noise_has_the_deviation_that_is_accounted_for(tmp_path: Path) -> None:
    """A step that draws no unit is noise alone: multiplier times bound, over the size."""
    trained(tmp_path, some_units(1, 1), noise=2.0, rate=1e-15, steps=1, bound=0.5, size=8)
    found = gradient(tmp_path)
    assert float(found.std()) == pytest.approx(2.0 * 0.5 / 8, rel=0.05)
    assert float(found.mean()) == pytest.approx(0, abs=0.01)


def test_steps_without_units_are_steps(tmp_path: Path) -> None:
    events: list[Event] = []
    _, ledger = trained(tmp_path, some_units(1, 1), rate=1e-15, monitor=Monitor(events.append))
    assert ledger == ledger_of(Mechanism(1.0, 1e-15), 4)
    told = [event for event in events if isinstance(event, Progress)]
    assert told
    assert all(event.loss is None for event in told)


def test_an_interrupted_run_draws_anew_and_accounts_for_each_step_once(tmp_path: Path) -> None:
    units, stop, drawn = some_units(*[1] * 12), threading.Event(), []

    def noted(step: int, sample: Sample) -> None:
        drawn.append(step)
        if step == 1 and len(drawn) == 2:
            stop.set()

    straight, whole = trained(tmp_path / "straight", units, rate=0.5)
    stopping = Monitor(lambda event: None, stop)
    with pytest.raises(InterruptedStage):
        trained(tmp_path / "stopped", units, rate=0.5, monitor=stopping, note=noted)
    changes, resumed = trained(tmp_path / "stopped", units, rate=0.5, note=noted)
    assert drawn == [0, 1, 2, 3]
    assert whole == resumed == ledger_of(Mechanism(1.0, 0.5), 4)
    assert all(not torch.equal(straight[name], changes[name]) for name in straight)


def test_a_killed_run_accounts_for_the_steps_that_count(tmp_path: Path) -> None:
    """A step that was lost with its noise is made again, with other noise."""
    units = some_units(*[1] * 12)

    def killed(step: int, sample: Sample) -> None:
        if step == 2:
            raise MemoryError

    with pytest.raises(MemoryError):
        trained(tmp_path, units, note=killed)
    before = load_file(tmp_path / "checkpoint.safetensors")
    samples: list[int] = []
    _, ledger = trained(tmp_path, units, note=lambda step, sample: samples.append(step))
    assert samples == [2, 3]
    assert ledger == ledger_of(Mechanism(1.0, 1.0), 4)
    assert before.keys() == load_file(tmp_path / "checkpoint.safetensors").keys()


def test_a_checkpoint_that_accounts_for_too_little_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, some_units(1, 1), steps=2)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    facts["kept/privacy"] = ledger_of(Mechanism(1.0, 1.0), 1)
    save_file(load_file(path), path, facts)
    with pytest.raises(InputError, match="does not account for the privacy of all its steps"):
        trained(tmp_path, some_units(1, 1), steps=2)
