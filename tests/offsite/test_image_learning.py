"""A vision model with its own head learns in the three stages, and its figures are reported."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from offsite.inspection import SIGNS
from offsite_testing.events import Wire
from offsite_testing.images import CLASSES, tinted, tinted_folder
from offsite_testing.models import save_tiny
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    TINY,
    Parties,
    distill,
    introduce,
    plug_in,
    tune,
)

NAMED = {"id2label": dict(enumerate(CLASSES))}
ON_IMAGES: dict[str, Any] = {
    "emulator": {"blocks": 2, "calibration": "corpus/"},
    "evaluate": "shared/",
    "training": {"corpus": "corpus/", "steps": 4, "batchSize": 4},
}
DATA = {"train": "train/", "validation": "held-out/"}
TRAINING = {"steps": 24, "batchSize": 8, "learningRate": 3e-3}


def parties_with_images(root: Path, **model: Any) -> Parties:
    """Give the lab a vision model and unlabelled images, the hospital labelled ones."""
    parties = Parties(root)
    lab, hospital = parties.home(LAB), parties.home(HOSPITAL)
    lab.mkdir(parents=True)
    hospital.mkdir()
    introduce(lab, hospital)
    parties.limit(HOSPITAL, TINY)
    save_tiny(lab / "model", "vit", **model)
    (lab / "corpus").mkdir()
    for number in range(12):
        tinted(CLASSES[number % 3], number).save(lab / f"corpus/{number}.png")
    tinted_folder(lab / "shared", 4, start=100)
    shutil.copytree(lab / "shared", hospital / "shared")
    tinted_folder(hospital / "train", 8, start=200)
    tinted_folder(hospital / "held-out", 4, start=300)
    return parties


def metrics(events: list[Wire], name: str = "accuracy") -> dict[str, Wire]:
    """Find the metrics of a name by their setting."""
    return {e["setting"]: e for e in events if e["event"] == "metric" and e["name"] == name}


def logs(events: list[Wire]) -> list[str]:
    return [event["message"] for event in events if event["event"] == "log"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parties, dict[str, list[Wire]]]:
    parties = parties_with_images(tmp_path_factory.mktemp("images"), **NAMED)
    told = {EMULATOR: parties.run(EMULATOR, distill(None, **ON_IMAGES))}
    told[ADAPTER] = parties.run(ADAPTER, tune(data=DATA, training=TRAINING, evaluate="shared/"))
    told[PLUGGED] = parties.run(PLUGGED, plug_in(evaluate="shared/"))
    return parties, told


Story = tuple[Parties, dict[str, list[Wire]]]


def test_an_emulator_of_a_vision_model_is_healed_and_distilled_on_unlabelled_images(
    run: Story,
) -> None:
    parties, told = run
    phases = {e["phase"] for e in told[EMULATOR] if e["event"] == "progress"}
    assert phases >= {"heal", "distill"}
    assert {*metrics(told[EMULATOR])} == {"full_zero_shot", "emulator_zero_shot"}
    rates = [e.get("imagesPerSecond") for e in told[EMULATOR] if e.get("phase") == "distill"]
    assert all(rates)
    model = AutoModelForImageClassification.from_pretrained(parties.opened(EMULATOR))
    assert model.config.num_hidden_layers == 4
    AutoImageProcessor.from_pretrained(parties.opened(EMULATOR), backend="pil")


def test_an_adapter_learns_images_and_reports_accuracy_with_its_interval(run: Story) -> None:
    _, told = run
    found = metrics(told[ADAPTER])
    before, after = found["emulator_zero_shot"], found["emulator_tuned"]
    assert after["value"] > before["value"] + 0.2
    low, high = after["interval"]
    assert low < after["value"] <= high <= 1
    assert {f"inspection_{sign}" for sign in SIGNS} & {
        e["setting"] for e in told[ADAPTER] if e["event"] == "metric"
    }
    by_class = [line for line in logs(told[ADAPTER]) if "emulator_tuned: loss by class" in line]
    assert all(label in by_class[0] for label in CLASSES)


def test_the_plugged_in_model_is_better_and_opens_with_transformers_alone(run: Story) -> None:
    parties, told = run
    found = metrics(told[PLUGGED])
    assert found["plug_in"]["value"] > found["full_zero_shot"]["value"] + 0.2
    folder = parties.home(LAB) / "home/models" / PLUGGED
    model = AutoModelForImageClassification.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    shown = [tinted(label, 900 + number) for label in CLASSES for number in range(4)]
    with torch.no_grad():
        said = model(**processor(shown, return_tensors="pt")).logits.argmax(1)
    right = [model.config.id2label[int(number)] for number in said]
    assert sum(a == b for a, b in zip(right, sorted([*CLASSES] * 4), strict=True)) >= 9


def test_a_model_without_a_head_is_not_scored_and_the_log_says_why(tmp_path: Path) -> None:
    parties = parties_with_images(tmp_path, num_labels=0)
    told = parties.run(EMULATOR, distill(None, **ON_IMAGES))
    assert metrics(told) == {}
    assert "full_zero_shot is not scored: the model has no head, so it names no class" in logs(told)
