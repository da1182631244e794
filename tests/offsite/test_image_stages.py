"""All three stages on images, with each form of data in one of its places."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offsite.errors import DataError
from offsite_testing.events import Wire
from offsite_testing.images import encoded, image_folder, image_lines, image_parquet, picture
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    distill,
    new_parties,
    plug_in,
    tune,
)

CLASSES = ["benign", "malignant"]


def settings(events: list[Wire]) -> list[str]:
    """List the models whose accuracy was measured."""
    return [e["setting"] for e in events if e["event"] == "metric" and e["name"] == "accuracy"]


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """A lab with an emulator of a model without a head, and a hospital with images."""
    made = new_parties(tmp_path_factory.mktemp("images"), "vit", num_labels=0)
    lab, hospital = made.home(LAB), made.home(HOSPITAL)
    image_folder(lab, {"public": 8})
    image_folder(hospital / "train", dict.fromkeys(CLASSES, 12))
    held_out = [encoded(picture(900 + index)) for index in range(8)]
    columns = {"image": held_out, "label": CLASSES * 4}
    image_parquet(hospital / "validation.parquet", columns)
    image_folder(lab / "shared", dict.fromkeys(CLASSES, 4), start=5000)
    names = [(label, f"shared/{label}/{index:03}.png") for label in CLASSES for index in range(4)]
    lines = [{"image": name, "label": label} for label, name in names]
    image_lines(lab / "shared.jsonl", *lines)
    training = {"corpus": "public/", "steps": 2, "batchSize": 2}
    emulator = {"blocks": 2, "calibration": "public/"}
    made.run(EMULATOR, distill(evaluate=None, emulator=emulator, training=training))
    return made


def tune_on(train: str, validation: str = "validation.parquet") -> dict[str, object]:
    data = {"train": train, "validation": validation}
    # slow, since nothing can be learnt of what has no pattern, and the gate is there
    return tune(data=data, training={"steps": 4, "batchSize": 4, "learningRate": 1e-4})


def test_images_are_tuned_on_and_plugged_in(parties: Parties) -> None:
    tuned = parties.run(ADAPTER, tune_on("train/"))
    assert settings(tuned) == ["emulator_zero_shot", "emulator_tuned"]
    plugged = parties.run(PLUGGED, plug_in(evaluate="shared.jsonl"))
    assert settings(plugged) == ["full_zero_shot", "plug_in"]


@pytest.mark.parametrize("how", ["None", "NF4"])
def test_a_private_adapter_of_images_is_audited(how: str, parties: Parties) -> None:
    """With differential privacy, canaries of noise, and membership inference."""
    private = tune(
        data={"train": "train/", "validation": "validation.parquet"},
        adapter={"head": {"labels": CLASSES}},
        training={"steps": 4, "batchSize": 4, "accumulate": 2},
        base={"quantize": how},
        privacy={"noiseMultiplier": 1.0},
        release={"canaries": 40},
    )
    events = parties.run(f"adapter-private-{how.lower()}", private)
    (told,) = [event for event in events if event["event"] == "privacy"]
    assert told["unit"] == "row"
    figures = {e["setting"]: e["value"] for e in events if e["event"] == "metric"}
    assert figures["canary_epsilon"] <= told["epsilon"]
    assert 0 <= figures["membership_auc"] <= 1
    assert figures["inspection_crossed"] == 0


def text(folder: Path) -> str:
    (folder / "text.jsonl").write_text('{"text": "a"}')
    return "text.jsonl"


def a_class_less(folder: Path) -> str:
    image_folder(folder / "less", {"benign": 8})
    return "less/"


def damaged(folder: Path) -> str:
    root = image_folder(folder / "damaged", dict.fromkeys(CLASSES, 4))
    (root / "benign" / "001.png").write_bytes(encoded(picture(1))[:-60])
    return "damaged/"


BAD: dict[Callable[[Path], str], str] = {
    text: "text.jsonl holds text, but this model reads images",
    a_class_less: "validation.parquet has the label 'malignant', which less/ lacks",
    damaged: "damaged/benign/001.png is damaged or incomplete",
}


@pytest.mark.parametrize("made", BAD, ids=lambda made: made.__name__)
def test_bad_data_is_an_error_before_the_training(
    made: Callable[[Path], str], parties: Parties
) -> None:
    train = made(parties.home(HOSPITAL))
    with pytest.raises(DataError, match=BAD[made].replace("(", r"\(")):
        parties.run(f"bad-{made.__name__.replace('_', '-')}", tune_on(train))
