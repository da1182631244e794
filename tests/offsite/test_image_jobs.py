"""Two parties tune a classifier of images, whose head belongs to the adapter."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageClassification

from offsite.bundle import AdapterFacts, read_manifest
from offsite.errors import BundleError, InputError
from offsite.layers import load
from offsite.stages import plug_in as plugging
from offsite.stages import tune as tune_stage
from offsite.stages import tuning
from offsite.stages.package import finish_adapter, finish_model
from offsite.steps.workspace import Workspace
from offsite_testing.events import Wire
from offsite_testing.images import image_folder, picture
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
from offsite_testing.pods import Pods

CLASSES = ("Größe, 猫", "tumour")
OWN = ("LABEL_0", "LABEL_2")


def coloured(root: Path, classes: tuple[str, ...], count: int, start: int) -> None:
    """Write images that their colour tells apart."""
    for hue, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.asarray(picture(start + 100 * hue + number)) // 2
            pixels[..., hue] += 100
            Image.fromarray(pixels).save(root / label / f"{number:03}.png")


def image_parties(
    root: Path, kind: str, classes: tuple[str, ...] = CLASSES, **model: Any
) -> Parties:
    """Give the lab a model of images and a corpus, the hospital labelled images."""
    parties = Parties(root)
    lab, hospital = parties.home(LAB), parties.home(HOSPITAL)
    lab.mkdir(parents=True)
    hospital.mkdir()
    introduce(lab, hospital)
    save_tiny(lab / "model", kind, **model)
    image_folder(lab / "corpus", {"any": 8})
    coloured(hospital / "train", classes, 8, start=5000)
    coloured(hospital / "validation", classes, 3, start=9000)
    coloured(lab / "shared", classes, 3, start=9000)
    parties.limit(HOSPITAL, TINY)
    return parties


def at(parties: Parties, party: str, name: str) -> str:
    """Name a folder of images by where it lies, as a pod needs it."""
    return f"{(parties.home(party) / name).as_uri()}/"


def emulator(parties: Parties) -> dict[str, Any]:
    spec = distill(None, emulator={"blocks": 2, "calibration": at(parties, LAB, "corpus")})
    del spec["distill"]["evaluate"]
    return spec


def adapter(parties: Parties, **over: Any) -> dict[str, Any]:
    data = {name: at(parties, HOSPITAL, name) for name in ("train", "validation")}
    return tune(4, data=data, **over)


def plugged_in(parties: Parties) -> dict[str, Any]:
    return plug_in(evaluate=at(parties, LAB, "shared"), accept={"maxRegression": 0.2})


def run_all(parties: Parties, **over: Any) -> tuple[list[Wire], list[Wire]]:
    """Run all three stages; give the events of the last two."""
    parties.run(EMULATOR, emulator(parties))
    tuned = parties.run(ADAPTER, adapter(parties, **over))
    return tuned, parties.run(PLUGGED, plugged_in(parties))


def facts_of(parties: Parties) -> AdapterFacts:
    facts = read_manifest(parties.opened(ADAPTER))[0].facts
    assert isinstance(facts, AdapterFacts)
    return facts


def metrics(events: list[Wire]) -> dict[str, Any]:
    return {each["setting"]: each["value"] for each in events if each["event"] == "metric"}


def configs(parties: Parties) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the configs of the full model and of the plugged-in one."""
    lab = parties.home(LAB)
    folders = (lab / "model", lab / "home/models" / PLUGGED)
    before, after = (json.loads((folder / "config.json").read_bytes()) for folder in folders)
    return before, after


def bare(folder: Path) -> None:
    """Save a model anew as its bare class, which has no head."""
    model: Any = AutoModel.from_pretrained(folder)
    model.save_pretrained(folder)


MODELS: dict[str, tuple[str, dict[str, Any], Callable[[Path], None], dict[str, Any]]] = {
    "bare": ("dinov2", {"num_labels": 3}, bare, {"method": "Blocks", "scope": "Ends"}),
    "other classes": (
        "clip",
        {"num_labels": 3},
        lambda _: None,
        {"scope": "Ends", "targets": "MLP"},
    ),
}


@pytest.mark.parametrize("what", MODELS)
def test_an_adapter_brings_a_head(what: str, tmp_path: Path) -> None:
    kind, model, change, form = MODELS[what]
    parties = image_parties(tmp_path, kind, **model)
    change(parties.home(LAB) / "model")
    tuned, plugged = run_all(parties, adapter=form)
    assert (facts_of(parties).labels, facts_of(parties).outside) == (CLASSES, ("head",))
    reports = [each["report"] for each in tuned if each["event"] == "egress"]
    shown = {fact["name"]: fact["value"] for fact in reports[0]["facts"]}
    assert shown["head"] == "new, with 2 classes"
    assert shown["head.labels"] == '"Größe, 猫", "tumour"'
    # the head starts from a probe, and what was measured before it knew nothing
    assert metrics(tuned)["validation_before"] == pytest.approx(math.log(2))
    assert metrics(tuned)["emulator_zero_shot"] > 0.8
    assert metrics(plugged)["full_zero_shot"] is not None
    before, after = configs(parties)
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert differing <= {"id2label", "label2id", "architectures"}
    assert after["id2label"] == {"0": "Größe, 猫", "1": "tumour"}
    folder = parties.home(LAB) / "home/models" / PLUGGED
    opened: Any = AutoModelForImageClassification.from_pretrained(folder)
    assert (opened.num_labels, opened.config.label2id["tumour"]) == (2, 1)
    ours = load(folder)  # type and form of what was written are those of a model of ours
    for name, value in opened.state_dict().items():
        assert torch.equal(value, ours.model.state_dict()[name])


def test_a_head_of_the_same_classes_is_kept(tmp_path: Path) -> None:
    parties = image_parties(tmp_path, "vit", OWN)
    _, plugged = run_all(parties)
    facts = facts_of(parties)
    assert (facts.labels, facts.outside) == ((), ("head",))
    before, after = configs(parties)
    assert before == after
    assert metrics(plugged)["largest_change"] > 0


def test_pods_hand_on_a_new_head(tmp_path: Path) -> None:
    """The last step holds no adapter, and no image of what trained."""
    pods = Pods(image_parties(tmp_path, "vit", num_labels=0))
    for name, spec in ((EMULATOR, emulator), (ADAPTER, adapter), (PLUGGED, plugged_in)):
        pods.run_all(name, spec(pods.parties))
    assert facts_of(pods.parties).labels == CLASSES
    made = pods.private(LAB) / "models" / PLUGGED
    config = json.loads((made / "config.json").read_bytes())
    assert config["id2label"] == {"0": "Größe, 猫", "1": "tumour"}
    assert load(made).model.config.num_labels == 2


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Two parties of which one sent the emulator of a model without a head."""
    parties = image_parties(tmp_path_factory.mktemp("sent"), "vit", num_labels=0)
    parties.run(EMULATOR, emulator(parties))
    return parties


def test_a_private_head_starts_from_zero_and_names_its_classes(
    sent: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed(*_: object) -> None:
        raise AssertionError("a probe is not private")

    monkeypatch.setattr(tuning, "fit_head", probed)
    private: Mapping[str, Any] = {"privacy": {"noiseMultiplier": 0.5}}
    with pytest.raises(InputError, match=r"name all classes .* tune\.adapter\.head\.labels"):
        sent.run("adapter-unnamed", adapter(sent, **private))
    labels = [*CLASSES, "neither"]
    sent.run("adapter-private", adapter(sent, **private, adapter={"head": {"labels": labels}}))
    facts = read_manifest(sent.opened("adapter-private"))[0].facts
    assert isinstance(facts, AdapterFacts)
    assert facts.labels == tuple(labels)


def test_an_adapter_of_other_classes_than_the_job_asks_for_is_not_sent(
    sent: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What trained is the author's own, and hides a message in the names of the classes."""

    def lying(space: Workspace, changes: Any, facts: AdapterFacts, *rest: Any) -> None:
        finish_adapter(
            space, changes, facts.model_copy(update={"labels": ("patient 7", "b")}), *rest
        )

    monkeypatch.setattr(tune_stage, "finish_adapter", lying)
    with pytest.raises(BundleError, match="is not what the job requests"):
        sent.run("adapter-lying", adapter(sent))


def test_only_the_adapter_names_the_classes_of_a_signed_model(
    sent: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plugs in is the author's own, and writes a config of its own."""
    sent.run(ADAPTER, adapter(sent))

    def lying(space: Workspace, *rest: Any) -> None:
        finish_model(space, *rest)
        path = space.result / "config.json"
        config = json.loads(path.read_bytes())
        config |= {"id2label": {"0": "x", "1": "y"}, "auto_map": {"AutoModel": "evil.py"}}
        path.write_text(json.dumps(config))

    monkeypatch.setattr(plugging, "finish_model", lying)
    sent.run(PLUGGED, plugged_in(sent))
    before, after = configs(sent)
    assert after["id2label"] == {"0": "Größe, 猫", "1": "tumour"}
    assert {key for key in {*before, *after} if before.get(key) != after.get(key)} == {
        "id2label",
        "label2id",
    }
