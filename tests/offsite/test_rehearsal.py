"""A rehearsal gives what the exchange gives, does nothing twice, and goes on where it stopped."""

import json
from pathlib import Path
from typing import Any

import pytest

from offsite.api import Ends, LayerDrop, TuneTraining
from offsite.events import Event, Monitor
from offsite.rehearsal import Rehearsed, Setting, Splits
from offsite.rehearsal.rehearse import rehearse
from offsite.rows import DataFile
from offsite_testing.models import WORDS, save_tiny

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


class Lab:
    """A model owner with a tiny model and stand-in data."""

    def __init__(self, folder: Path, model_type: str = "llama", **over: Any) -> None:
        self.model, self.folder = folder / "model", folder / "kept"
        save_tiny(self.model, model_type, **over)
        self.data = splits(folder)
        self.phases: list[str] = []

    def look(self, event: Event) -> None:
        """Note what is being worked on."""
        phase = event.wire().get("phase")
        if phase and phase not in self.phases[-1:]:
            self.phases.append(phase)

    def rehearse(self, setting: Setting = SETTING, seed: int = 0, **over: Any) -> Rehearsed:
        """Rehearse one setting; `phases` says what had to be done."""
        self.phases.clear()
        monitor = Monitor(self.look)
        given = {"folder": self.folder, **over}
        return rehearse(self.model, setting, self.data, seed, monitor, **given)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def test_all_five_settings_are_measured_on_the_test_set(lab: Lab) -> None:
    found = lab.rehearse()
    assert list(found.models) == [
        *("full_zero_shot", "emulator_zero_shot", "emulator_tuned"),
        *("plug_in", "full_fine_tuned"),
    ]
    assert {each.metric for each in found.models.values()} == {"perplexity"}
    assert len({len(each.tensor) for each in found.models.values()}) == 1
    values = {name: each.value or 0 for name, each in found.models.items()}
    assert values["emulator_tuned"] < values["emulator_zero_shot"]
    assert values["full_fine_tuned"] < values["plug_in"] < values["full_zero_shot"]
    assert found.share is not None
    assert 0 < found.share.value < 1
    assert set(found.seconds) == {"distill", "tune", "plug_in", "fine_tune"}
    assert found.sizes.adapter < found.sizes.emulator
    assert 0.5 < found.relative_flops < 1
