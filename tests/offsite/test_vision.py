"""Vision models: their heads, their checkpoints, and bundles that anybody opens."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedModel

from offsite.bundle import EmulatorFacts, check_emulator, strip_companions, write_manifest
from offsite.bundle.manifest import Manifest
from offsite.emulator.layer_drop import drop_layers
from offsite.errors import BundleError, ModelError
from offsite.families import PROCESSOR_KEYS, family_of, image_processor_problems
from offsite.layers import Loaded, blocks, family, final_hidden, head_of, load, pooled, quiet, save
from offsite_testing.core import DROPPED, cases_where, loaded, logits, same_bytes, snapshot
from offsite_testing.models import companion, save_tiny
from offsite_testing.tiny import VISION, sent_config, some_inputs, tiny_config, tiny_model

each_case = cases_where(lambda model: family(model).modality == "images")
each_family = pytest.mark.parametrize("name", VISION)


def bundle(model: PreTrainedModel, folder: Path) -> Path:
    """Write an emulator of a model as a bundle."""
    own = loaded(model)
    save(Loaded(drop_layers(model, DROPPED), own.modality, own.dtype), folder)
    strip_companions(folder)
    sign(folder, family(model).architecture)
    return folder


def sign(folder: Path, architecture: str) -> None:
    """Write the manifest of what is in a folder."""
    facts = EmulatorFacts(bottom=1, top=1, healed=False, distilled_steps=0)
    parties = {"made_by": "a" * 16, "made_for": "b" * 16}
    write_manifest(
        folder, name="emulator", **parties, architecture=architecture, dtype="float32", facts=facts
    )


@each_case
def test_the_head_reads_what_transformers_gives_it(name: str, over: dict[str, Any]) -> None:
    model = tiny_model(name, **over)
    inputs = some_inputs(model)
    with torch.no_grad():
        mask = inputs.get("pixel_attention_mask")
        found = head_of(model)(pooled(model, final_hidden(model, inputs), mask))
    assert torch.equal(found, logits(model, inputs))


@each_case
def test_a_bundle_opens_with_plain_transformers(
    name: str, over: dict[str, Any], tmp_path: Path
) -> None:
    model = tiny_model(name, **over)
    emulator = drop_layers(model, DROPPED)
    folder = bundle(model, tmp_path)
    assert isinstance(check_emulator(folder), Manifest)
    plain = AutoModelForImageClassification
    with quiet():
        if model.config.num_labels or family(model).pooling != "all":
            opened: Any = plain.from_pretrained(folder).eval()
            assert type(head_of(opened)) is type(head_of(model))
        else:  # transformers 5.23 cannot open a SigLIP without a head, but gives it one
            opened = plain.from_pretrained(folder, num_labels=2).eval()
            opened.classifier = nn.Identity()
    assert torch.equal(logits(opened, some_inputs(model)), logits(emulator, some_inputs(model)))


_TEXT_TOWER = {
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 1,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@each_family
def test_a_checkpoint_of_the_bare_model_loads_without_a_head(name: str, tmp_path: Path) -> None:
    row = family_of({"model_type": name})
    kind = row.architecture.replace("ForImageClassification", "Model")
    config = tiny_config(name, **({"text_config": _TEXT_TOWER} if row.config_under else {}))
    torch.manual_seed(0)
    bare: PreTrainedModel = getattr(transformers, kind)(config).eval()
    with quiet():
        bare.save_pretrained(tmp_path)
        companion(tiny_model(name)).save_pretrained(tmp_path)
    opened = load(tmp_path).model
    base = opened.get_submodule(family(opened).base)
    assert isinstance(head_of(opened), nn.Identity)
    assert opened.config.id2label == {}
    assert opened.config.architectures == [family(opened).architecture]
    within = f"{family(opened).base}."
    own = {name.removeprefix(within): value for name, value in bare.state_dict().items()}
    for tensor, value in snapshot(base).items():
        assert same_bytes(value, own[tensor])


@each_family
def test_a_head_that_its_file_lacks_is_told(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, name, num_labels=0)
    edit(tmp_path / "config.json", lambda c: c.update(id2label={"0": "cat", "1": "dog"}))
    with pytest.raises(ModelError, match="lacks 2 tensors: classifier"):
        load(tmp_path)


@each_family
def test_a_saved_model_has_the_names_of_its_file(name: str, tmp_path: Path) -> None:
    """Whoever reads the checkpoint with an older transformers reads the plugged-in model, too."""
    (tmp_path / "model").mkdir()
    save_tiny(tmp_path / "model", name)
    own = load(tmp_path / "model")
    save(own, tmp_path / "made")
    assert names(tmp_path / "made") == names(tmp_path / "model")


def names(folder: Path) -> set[str]:
    return set(load_file(folder / "model.safetensors"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


_PROCESSOR = "preprocessor_config.json"
HOSTILE: tuple[tuple[str, Callable[[dict[str, Any]], object], str], ...] = (
    (_PROCESSOR, lambda c: c.update(auto_map={}), "auto_map: is not allowed"),
    (
        "preprocessor_config.json",
        lambda c: c.update(size={"height": 20, "width": 24}),
        "size: must give",
    ),
    (
        "preprocessor_config.json",
        lambda c: c.update(size={"shortest_edge": 20}),
        "size: needs height",
    ),
    (_PROCESSOR, lambda c: c.pop("do_resize"), "do_resize: is missing"),
    ("config.json", lambda c: c.pop("id2label"), "id2label: is missing"),
    ("config.json", lambda c: c.update(id2label={"1": "a"}), "id2label: must have the keys"),
    ("config.json", lambda c: c.update(id2label={"0": "a\n", "1": "b"}), "id2label: each must be"),
    ("config.json", lambda c: c.update(id2label={"0": "a", "1": "b"}), "classifier"),
    ("config.json", lambda c: c.update(num_channels=4), "num_channels: must be 3"),
    ("config.json", lambda c: c.update(patch_size=21), "patch_size: 21 is larger"),
    ("config.json", lambda c: c.update(image_size=24), "size: must give 24 by 24"),
    ("config.json", lambda c: c.update(intermediate_size=49), "but must be"),
    ("config.json", lambda c: c.update(image_size=[20, 20]), "image_size: must be"),
)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An emulator bundle of a ViT."""
    return bundle(tiny_model("vit"), tmp_path_factory.mktemp("sent"))


@pytest.mark.parametrize(("file", "change", "said"), HOSTILE)
def test_a_bundle_with_a_wrong_value_is_refused(
    file: str, change: Callable[[dict[str, Any]], object], said: str, sent: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sent, tmp_path / "bundle"))
    edit(folder / file, change)
    with pytest.raises(BundleError, match=said):
        check_emulator(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "generation_config.json"])
def test_a_file_of_another_modality_is_refused(file: str, sent: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sent, tmp_path / "bundle"))
    (folder / "manifest.json").unlink()
    (folder / file).write_text("{}", encoding="utf-8")
    sign(folder, "ViTForImageClassification")
    with pytest.raises(BundleError, match=f"{file} does not belong to a ViTForImage"):
        check_emulator(folder)


def test_a_bundle_without_an_image_processor_is_refused(sent: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sent, tmp_path / "bundle"))
    for name in ("manifest.json", "preprocessor_config.json"):
        (folder / name).unlink()
    sign(folder, "ViTForImageClassification")
    with pytest.raises(BundleError, match="has no preprocessor_config"):
        check_emulator(folder)


SIDE = {"height": 20, "width": 20}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    **dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True),
    "size": SIDE,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"image_processor_type": "MyProcessor"}, "image_processor_type: must be one of"),
    ({"image_processor_type": "Siglip2ImageProcessor"}, "image_processor_type: is not"),
    ({"do_resize": False}, "do_resize: must be true"),
    ({"do_rescale": 1}, "do_rescale: must be true"),
    ({"do_pad": True}, "do_pad: must be false"),
    ({"size": {"height": 0, "width": 20}}, "size: must be"),
    ({"size": {"height": 4096, "width": 4096}}, "size: must be"),
    ({"size": {"longest_edge": 20}}, "size: must be"),
    ({"size": 20}, "size: must be"),
    ({"crop_size": {"shortest_edge": 20}}, "crop_size: must be"),
    ({"do_center_crop": True}, "size: needs"),
    ({"resample": 9}, "resample: must be"),
    ({"rescale_factor": 0}, "rescale_factor: must be"),
    ({"image_mean": [0.5] * 4}, "image_mean: must be"),
    ({"image_mean": 0.5}, "image_mean: must be"),
    ({"image_std": [0.5, 0.5, 0]}, "image_std: must be"),
    ({"image_std": [0.5, 0.5, float("nan")]}, "image_std: must be"),
    ({"patch_size": 10**9}, "patch_size: must be"),
    ({"device": "cuda"}, "device: is not allowed"),
    ({"processor_class": "Mine"}, "processor_class: is not allowed"),
)


@pytest.mark.parametrize(("over", "said"), WRONG)
def test_a_wrong_image_processor_is_told_with_its_key(over: dict[str, Any], said: str) -> None:
    row = family_of({"model_type": "vit"})
    assert image_processor_problems(PROCESSOR, row, sent_config(row)) == []
    found = image_processor_problems({**PROCESSOR, **over}, row, sent_config(row))
    assert found
    assert found[0].startswith(said), found


def test_an_image_is_cut_to_the_size_of_the_model() -> None:
    row = family_of({"model_type": "clip"})
    cut = {"size": {"shortest_edge": 24}, "crop_size": SIDE, "do_center_crop": True}
    assert image_processor_problems({**PROCESSOR, **cut}, row, sent_config(row)) == []


def test_a_model_that_interpolates_its_positions_reads_any_size() -> None:
    row = family_of({"model_type": "dinov2"})
    for side in ({"height": 28, "width": 12}, {"height": 4, "width": 4}):
        assert image_processor_problems({**PROCESSOR, "size": side}, row, sent_config(row)) == []
    small = {**PROCESSOR, "size": {"height": 3, "width": 20}}
    assert image_processor_problems(small, row, sent_config(row)) == [
        "size: 3 by 20 pixels are less than a patch of 4"
    ]


def test_what_an_image_processor_saves_passes(sent: Path) -> None:
    kept = json.loads((sent / "preprocessor_config.json").read_bytes())
    assert kept.keys() <= PROCESSOR_KEYS.keys()
    assert kept["image_processor_type"] == "ViTImageProcessor"
    assert len(blocks(load(sent).model)) == len(DROPPED.kept)
