"""A rehearsal gives what the exchange gives, does nothing twice, and goes on where it stopped."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offsite.api import Adapter, DistillTraining, Ends, LayerDrop, Limits, TuneTraining
from offsite.errors import InputError, InterruptedStage, OffsiteError
from offsite.events import Event, Monitor, Progress
from offsite.rehearsal import Rehearsed, Setting, Splits
from offsite.rehearsal.keeping import Kept
from offsite.rehearsal.rehearse import delete_emulators, rehearse
from offsite.rows import DataFile
from offsite_testing.events import Wire
from offsite_testing.images import image_folder
from offsite_testing.models import WORDS, save_tiny
from offsite_testing.parties import ADAPTER, EMULATOR, HOSPITAL, LAB, PLUGGED, new_parties

SETTING = Setting(
    ends=Ends(bottom=1, top=1),
    emulator=LayerDrop(blocks=2),
    tuning=TuneTraining(steps=12, batch_size=4, block_size=16, learning_rate=1e-2),
    full_learning_rate=1e-2,
)


def splits(folder: Path) -> Splits:
    """Write a little text, the same words in another order in each row."""
    words = WORDS.split()
    for name, rows, stride in (("train", 12, 5), ("validation", 3, 7), ("test", 6, 3)):
        lines = [" ".join(words[(i + stride * j) % 16] for j in range(24)) for i in range(rows)]
        content = "".join(json.dumps({"text": line}) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(content, encoding="utf-8")
    (folder / "corpus.txt").write_text(f"{WORDS}. " * 20, encoding="utf-8")
    train, validation, test = (folder / f"{n}.jsonl" for n in ("train", "validation", "test"))
    corpus = DataFile(folder / "corpus.txt")
    return Splits(DataFile(train), DataFile(validation), DataFile(test), corpus)


class Owner:
    """A model owner with a tiny model and stand-in data."""

    def __init__(self, folder: Path) -> None:
        self.model, self.folder = folder / "model", folder / "kept"
        save_tiny(self.model)
        self.data = splits(folder)
        self.trained: dict[str, int] = {}
        """The first step of each phase that was reported."""

    def rehearse(self, setting: Setting = SETTING, seed: int = 0, **over: Any) -> Rehearsed:
        """Rehearse one setting; `trained` says what had to be done."""
        self.trained.clear()
        given = {"folder": self.folder, "monitor": Monitor(self.look), **over}
        return rehearse(self.model, setting, self.data, seed, **given)

    def look(self, event: Event) -> None:
        """Note what is being worked on."""
        if isinstance(event, Progress):
            self.trained.setdefault(event.phase or "", event.step or 0)


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """An owner who rehearsed one setting."""
    found = Owner(tmp_path_factory.mktemp("owner"))
    found.rehearse()
    return found


def values(found: Rehearsed) -> dict[str, float | None]:
    return {name: each.value for name, each in found.models.items()}


def test_all_five_settings_are_measured_on_the_test_set(owner: Owner) -> None:
    found = owner.rehearse()
    measured = {name: each.value or 0 for name, each in found.models.items()}
    assert measured["emulator_tuned"] < measured["emulator_zero_shot"]
    assert measured["full_fine_tuned"] < measured["plug_in"] < measured["full_zero_shot"]
    assert {each.metric for each in found.models.values()} == {"perplexity"}
    assert len({len(each.tensor) for each in found.models.values()}) == 1
    assert found.share is not None
    low, high = found.share.interval or (0, 0)
    assert 0 < low < found.share.value < high < 1
    assert set(found.gains) == set(found.models) - {"full_zero_shot"}
    assert set(found.seconds) == {"distill", "tune", "plug_in", "fine_tune"}


def test_flops_are_those_of_the_blocks_and_the_head(owner: Owner) -> None:
    from offsite.layers import blocks, load

    model = load(owner.model).model
    (block, *_), head = blocks(model), model.get_output_embeddings().weight.numel()
    each = sum(p.numel() for p in block.parameters() if p.dim() == 2)
    expected = (4 * each + head) / (6 * each + head)
    assert owner.rehearse().relative_flops == pytest.approx(expected, rel=0.05)


def test_nothing_is_done_twice(owner: Owner) -> None:
    before = owner.rehearse()
    assert owner.trained == {}
    delete_emulators(owner.folder)
    assert owner.rehearse() == before
    assert owner.trained == {}
    # what seeds have in common is not done for each of them
    owner.rehearse(seed=1, upper_bound=False)
    assert owner.trained.keys() >= {"heal", "tune", "evaluate plug_in"}
    assert not owner.trained.keys() & {"evaluate full_zero_shot", "evaluate emulator_zero_shot"}
    found = owner.rehearse(seed=1)
    assert set(owner.trained) == {"full fine-tuning", "validate", "evaluate full_fine_tuned"}
    assert values(found) != values(before)
    # another setting is tuned anew, but the full model's figures stay
    owner.rehearse(SETTING.model_copy(update={"alpha": 0.5}))
    assert owner.trained.keys() >= {"tune"}
    assert not owner.trained.keys() & {"heal", "full fine-tuning", "evaluate full_zero_shot"}


def test_an_interrupted_rehearsal_goes_on_to_the_same_figures(owner: Owner, tmp_path: Path) -> None:
    stop = threading.Event()

    def look(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "tune":
            stop.set()

    with pytest.raises(InterruptedStage):
        owner.rehearse(folder=tmp_path / "kept", monitor=Monitor(look, stop))
    assert list((tmp_path / "kept").rglob("checkpoint.safetensors"))
    found = owner.rehearse(folder=tmp_path / "kept")
    assert owner.trained["tune"] > 1
    assert not owner.trained.keys() & {"heal", "evaluate full_zero_shot"}
    assert values(found) == values(owner.rehearse())
    assert not list((tmp_path / "kept").rglob("checkpoint.safetensors"))


def figures(events: list[Wire]) -> dict[str, float]:
    return {each["setting"]: each["value"] for each in events if each["event"] == "metric"}


def size(events: list[Wire]) -> int:
    return int(next(each["sizeBytes"] for each in events if each["event"] == "artifact"))


def test_a_rehearsal_gives_what_the_exchange_gives(owner: Owner, tmp_path: Path) -> None:
    """But for the watermark, which only the step that seals an emulator adds."""
    parties, data = new_parties(tmp_path), owner.data
    parties.limit(LAB, Limits(watermark=False))
    parties.limit(HOSPITAL, Limits(min_examples=1, min_batch_size=1, min_improvement=-1))
    place = {name: f"file://{getattr(data, name).path}" for name in ("train", "validation", "test")}
    corpus = f"file://{data.corpus.path}" if data.corpus else ""
    training = DistillTraining(corpus=corpus, steps=4, batch_size=2, block_size=16)
    setting = SETTING.model_copy(update={"distillation": training, "alpha": 0.5})
    found = owner.rehearse(setting, seed=3)
    distill = {
        "model": owner.model.as_uri(),
        "ends": setting.ends.wire(),
        "emulator": {"blocks": 2},
        "training": training.wire(),
        "evaluate": place["test"],
    }
    tune = {
        "bundle": EMULATOR,
        "data": {name: place[name] for name in ("train", "validation")},
        "training": setting.tuning.model_dump(by_alias=True, exclude_none=True),
        "evaluate": place["test"],
    }
    plug_in = {
        "model": owner.model.as_uri(),
        "adapter": ADAPTER,
        "alpha": 0.5,
        "evaluate": place["test"],
    }
    sent = parties.run(EMULATOR, {"stage": "Distill", "peer": HOSPITAL, "distill": distill})
    tuned = parties.run(ADAPTER, {"stage": "Tune", "peer": LAB, "seed": 3, "tune": tune})
    plugged = parties.run(PLUGGED, {"stage": "PlugIn", "peer": HOSPITAL, "plugIn": plug_in})
    exchanged = figures(sent) | figures(tuned) | figures(plugged)
    assert {name: exchanged.get(name) for name in values(found)} == {
        **values(found),
        "full_fine_tuned": None,
    }
    assert (found.sizes.emulator, found.sizes.adapter) == (size(sent), size(tuned))


def test_images_get_a_new_head_from_a_linear_probe(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", "vit", num_labels=0)
    named = {}
    for name, count in (("train", 6), ("validation", 3), ("test", 3), ("corpus", 3)):
        image_folder(tmp_path / name, {"cat": count, "dog": count})
        named[name] = DataFile(tmp_path / name, f"{tmp_path / name}/")
    setting = SETTING.model_copy(update={"tuning": TuneTraining(steps=8, batch_size=4)})
    quiet = Monitor(lambda event: None)
    found = rehearse(tmp_path / "model", setting, Splits(**named), 0, quiet, folder=tmp_path / "k")
    assert {each.metric for each in found.models.values()} == {"accuracy"}
    assert {each.tensor.shape for each in found.models.values()} == {(6, 2)}
    assert all(0 <= (each.value or 0) <= 1 for each in found.models.values())


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    with Kept(folder).open():
        yield


def test_a_folder_has_one_user(owner: Owner, tmp_path: Path) -> None:
    with (
        busy(tmp_path / "kept"),
        pytest.raises(OffsiteError, match=r"another process rehearses in .*kept"),
    ):
        owner.rehearse(folder=tmp_path / "kept")


def test_a_damaged_result_is_told(owner: Owner, tmp_path: Path) -> None:
    # a copy, since the folder is shared by the tests
    kept = tmp_path / "kept"
    for path in owner.folder.rglob("*.json"):
        copy = kept / path.relative_to(owner.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"is damaged, .*; delete it to measure again"):
        owner.rehearse(folder=kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distillation": DistillTraining(corpus="any.txt", steps=2)}, "needs a corpus"),
        ({"emulator": LayerDrop(blocks=2, heal=True)}, "needs a corpus"),
        ({"emulator": LayerDrop(blocks=5)}, "emulator.blocks is 5"),
        ({"adapter": Adapter(rank=64)}, "tune.adapter.rank is 64"),
    ],
)
def test_a_setting_that_cannot_be_is_told_before_any_work(
    owner: Owner, change: dict[str, Any], said: str
) -> None:
    owner.data = replace(whole := owner.data, corpus=None)
    try:
        with pytest.raises(InputError, match=said):
            owner.rehearse(SETTING.model_copy(update=change))
    finally:
        owner.data = whole
    assert owner.trained == {}
