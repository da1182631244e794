"""An emulator that is made a block at a time is, byte for byte, that of a model in memory."""

from pathlib import Path

import pytest
import torch

from offsite.api import Ends, LayerDrop
from offsite.emulator import METHODS, heal
from offsite.layers import (
    Loaded,
    family,
    final_hidden,
    final_states,
    inference,
    is_lazy,
    load,
    open_lazily,
    save,
)
from offsite_testing.core import batch_for, silent
from offsite_testing.models import save_tiny

some_families = pytest.mark.parametrize("name", ["gpt2", "bloom", "llama", "siglip2", "beit"])


def opened(folder: Path, *, lazily: bool) -> Loaded:
    return open_lazily(folder, folder) if lazily else load(folder)


def emulator_of(loaded: Loaded) -> Loaded:
    """Drop layers, and heal the emulator if its family can be healed."""
    ends, asked = Ends(bottom=1, top=1), LayerDrop(method="LayerDrop", blocks=2)
    method, model = METHODS["LayerDrop"], loaded.model
    made = method.compress(model, ends, asked, method.choose(6, ends, asked, ()))
    if family(model).healed_by(model.config.to_dict()):
        heal(model, made, [batch_for(model, seed=seed) for seed in range(2)], silent())
    return Loaded(made.model, loaded.modality, loaded.dtype)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@some_families
def test_an_emulator_is_the_same(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", name, dtype=torch.bfloat16)
    before, made = contents(tmp_path / "model"), {}
    for lazily in (True, False):
        emulator = emulator_of(opened(tmp_path / "model", lazily=lazily))
        assert is_lazy(emulator.model) == lazily
        folder = tmp_path / f"lazily: {lazily}"
        folder.mkdir()
        digests = save(emulator, folder)
        with inference():
            hidden = final_hidden(emulator.model, batch_for(emulator.model, seed=9).inputs)
        made[lazily] = digests, contents(folder), hidden.tolist()
    assert made[True] == made[False]
    assert contents(tmp_path / "model") == before


@some_families
def test_what_the_head_reads_is_the_same(name: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, name)
    found = []
    for lazily in (True, False):
        model = opened(tmp_path, lazily=lazily).model
        batches = [batch_for(model, rows=rows, seed=rows).inputs for rows in (3, 2, 1)]
        with inference():
            states = final_states(model, batches, lambda: None)
            found.append([each.tolist() for each in states])
    assert found[0] == found[1]


def test_batches_that_are_too_large_together_pass_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny(tmp_path)
    model = open_lazily(tmp_path).model
    batches = [batch_for(model, seed=seed).inputs for seed in range(3)]
    passes = list[str]()
    with inference():
        together = [*final_states(model, batches, lambda: passes.append("together"))]
        # two blocks of hidden states are larger than a block
        monkeypatch.setattr("offsite.layers.streaming._LEAST", 0)
        large = [batch_for(model, rows=64, length=64, seed=seed).inputs for seed in range(2)]
        states = final_states(model, large, lambda: passes.append("apart"))
        next(states)
        assert passes.count("apart") == 6
        next(states)
    assert passes.count("together") == 3 * 6
    assert passes.count("apart") == 2 * 6
    assert len(together) == 3
