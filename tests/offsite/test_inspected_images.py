"""Vision emulators that are built to memorize: what refuses them, and what they store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from offsite.emulator.layer_drop import drop_layers
from offsite.errors import SuspiciousEmulator
from offsite.inspection import Report, check_inspected, inspect
from offsite.layers import family
from offsite.modality import Batch
from offsite.modality.images import ImageExample
from offsite.modality.images.generated import generated
from offsite.privacy.budget import Mechanism, noise_for
from offsite.rows import ImageRow
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.private import PoissonSamples, PrivateStep
from offsite.training.run import Plan, Run
from offsite.training.tune import Adapter, tune, tune_privately
from offsite_testing.core import DROPPED, cases_where, loaded, silent
from offsite_testing.image_traps import (
    IMAGE_TRAPS,
    LABELS,
    ImageTrap,
    cells_of,
    decoded,
    make_image_trap,
    patches_of,
)
from offsite_testing.tiny import tiny_model

BATCH, STEPS = 8, 6
PLAN = Plan(steps=STEPS, learning_rate=1e-3, seed=0)
CLOSE = 0.05
"""Root mean square of the error of a rebuilt patch, whose pixels are between -1 and 1."""

each_vision_case = cases_where(lambda model: family(model).modality == "images")


def crossed(report: Report) -> set[str]:
    return {figure.sign for figure in report.crossed}


@each_vision_case
def test_an_honest_emulator_passes(name: str, over: dict[str, Any]) -> None:
    emulator = loaded(drop_layers(tiny_model(name, **over), DROPPED))
    before = [(key, type(module)) for key, module in emulator.model.named_modules()]
    check_inspected(inspect(emulator, silent()), "honest", silent(), allowed=False)
    assert [(key, type(module)) for key, module in emulator.model.named_modules()] == before


@pytest.mark.parametrize("trap", IMAGE_TRAPS.values(), ids=IMAGE_TRAPS)
def test_a_trap_is_refused_by_several_signs(trap: ImageTrap) -> None:
    report = inspect(make_image_trap(trap), silent())
    assert crossed(report) >= {"dead_rows", "narrow_rows", "narrow_neurons", "narrow_columns"}
    narrow = next(figure for figure in report.figures if figure.sign == "narrow_neurons")
    assert narrow.where.endswith(f"of block {trap.block}")
    with pytest.raises(SuspiciousEmulator, match=r"one event: .* of block .*allowSuspicious"):
        check_inspected(report, "trap", silent(), allowed=False)


def test_a_processor_that_hides_the_images_is_refused() -> None:
    """All images look the same, so no neuron could be told from another."""
    model = loaded(tiny_model("vit"))
    model.modality.pixels.processor.image_std = [1e9] * 3  # type: ignore[attr-defined]
    assert "contents" in crossed(inspect(model, silent()))


def test_features_too_small_for_any_head_are_refused() -> None:
    """Then AdamW's step is linear in the gradient, whatever head the adapter brings."""
    model = loaded(tiny_model("dinov2", num_labels=0))
    with torch.no_grad():
        norm = model.model.get_submodule("dinov2.layernorm")
        for each in norm.parameters():
            each.mul_(1e-6)
    assert crossed(inspect(model, silent())) == {"spread"}


def test_public_images_are_bounded_and_always_the_same() -> None:
    first, again = (loaded(tiny_model("vit")).modality.public() for _ in range(2))
    assert [each.kind for each in first] == ["clouds", "shapes", "textures"]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.batch.inputs["pixel_values"], other.batch.inputs["pixel_values"])
        assert len(one.batch) == 16


# --- what a trap stores ------------------------------------------------------------------------


def private_images(seed: int) -> Sequence[ImageExample]:
    """Make 48 images, each of a class."""
    images = [image for kind in generated(16, seed).values() for image in kind]
    rows = [ImageRow(None, "", f"{seed}-{n}", image.copy) for n, image in enumerate(images)]
    return [ImageExample(row, n % LABELS, size=0) for n, row in enumerate(rows)]


def read(batches: Sequence[Batch], trap: ImageTrap) -> Tensor:
    """Give every patch that a model read, (images, places, values)."""
    found = patches_of(torch.cat([batch.inputs["pixel_values"] for batch in batches]))
    return found if trap.pixels else cells_of(found)


def rebuilt(trap: ImageTrap, changes: dict[str, Tensor], patches: Tensor) -> tuple[int, int]:
    """Count the patches that a decoder finds in an adapter, and how many of them are these."""
    found = list(decoded(trap, changes))
    errors = [(patches[:, place] - patch).square().mean(1).sqrt().min() for place, patch in found]
    return len(found), sum(float(error) < CLOSE for error in errors)


@pytest.mark.parametrize(
    ("trap", "method"),
    [
        (ImageTrap("vit"), "Blocks"),
        (ImageTrap(on="image", rare=1.0), "Blocks"),
        (ImageTrap(pixels=False), "LoRA"),
    ],
    ids=["patch-Blocks", "image-Blocks", "patch-LoRA"],
)
def test_such_a_trap_really_stores_pixels(
    trap: ImageTrap, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a LoRA mixes pixels with constants 40 times as large, which bfloat16 would round
    monkeypatch.setattr("offsite.layers.hardware.multiplies_bfloat16", lambda kind: False)
    model, seen = make_image_trap(trap), list[Batch]()
    examples = private_images(1)
    drawn = Shuffled(examples, model.modality.collate, BATCH, seed=0)

    def noted(step: int) -> Batch:
        seen.append(drawn(step))
        return seen[-1]

    run = Run(PLAN, Checkpoints(tmp_path / "none"), silent())
    changes = tune(model, Adapter(method, 16, (trap.block,)), noted, examples[:8], run)
    other = read([model.modality.collate(private_images(2))], trap)
    found, right = rebuilt(trap, changes, read(seen, trap))
    assert right > 100
    assert right > found / 2
    assert rebuilt(trap, changes, other)[1] < right / 20


def test_at_epsilon_8_the_decoder_finds_no_more_than_chance(tmp_path: Path) -> None:
    """Inspection is switched off here. The decoder takes its best guess for each row."""
    trap = ImageTrap("vit")
    model, examples = make_image_trap(trap), private_images(1)
    rate = BATCH / len(examples)
    noise = noise_for(8.0, 1 / (10 * len(examples)), rate, STEPS)
    step = PrivateStep(Mechanism(noise, rate), 1.0, BATCH, model.modality.collate)
    run = Run(PLAN, Checkpoints(tmp_path / "none"), silent(), step)
    samples = PoissonSamples([[each] for each in examples], model.modality.collate, rate, seed=0)
    changes, _ = tune_privately(model, Adapter("Blocks", 16, (trap.block,)), samples, run)
    own, other = (read([model.modality.collate(private_images(seed))], trap) for seed in (1, 2))
    found, right = rebuilt(trap, changes, own)
    assert found > 500
    assert right <= rebuilt(trap, changes, other)[1] + 5
