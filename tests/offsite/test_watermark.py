"""The marks of emulators: what they change, what finds them again, and what does not."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from offsite.bundle import BlockRecord, EmulatorRecord
from offsite.bundle.selection import Selection
from offsite.bundle.tracing import Candidate, Traced, trace
from offsite.bundle.watermark import Watermark, add_watermark, direction
from offsite.errors import ModelError
from offsite.families import family_of
from offsite_testing.models import save_tiny
from offsite_testing.parties import LAB, ring_of
from offsite_testing.tiny import FAMILIES_UNDER_TEST

KEPT = (0, 1, 3, 5)
"""The blocks of the full model that the emulators here hold."""
STRENGTH = 0.01
"""More than usual: a tiny model has too few weights for a fainter mark to survive changes."""
WIDE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 6}


def record(model: Path, recipient: str) -> EmulatorRecord:
    """Describe an emulator of a model, as its owner does."""
    config = json.loads((model / "config.json").read_bytes())
    row = family_of(config)
    blocks = tuple(
        BlockRecord(
            full=i,
            end=i in (KEPT[0], KEPT[-1]),
            tensors=row.block_tensors(config),
            linears=row.linear_sizes(config),
        )
        for i in KEPT
    )
    return EmulatorRecord(
        bundle="emulator",
        digest="sha256:" + "1" * 64,
        recipient=recipient,
        architecture=row.architecture,
        model_digest="sha256:" + "0" * 64,
        blocks=blocks,
        watermark=Watermark(
            key=ring_of(LAB).newest("sign").id, unmarked="sha256:" + "2" * 64, strength=STRENGTH
        ),
    )


def candidate(model: Path, recipient: str) -> Candidate:
    made = record(model, recipient)
    assert made.watermark is not None
    secret = made.watermark.secret(ring_of(LAB), recipient)
    assert secret is not None
    return Candidate(made, secret)


def emulator(model: Path, folder: Path) -> Path:
    """Drop two of six blocks."""
    row = family_of(config := json.loads((model / "config.json").read_bytes()))
    tensors, kept = load_file(model / "model.safetensors"), dict[str, Tensor]()
    for name, tensor in tensors.items():
        split = row.block_of(row.current_name(name))  # transformers stores a ViT's older names
        if split is None:
            kept[name] = tensor
        elif split[0] in KEPT:
            kept[row.tensor_name(KEPT.index(split[0]), split[1])] = tensor
    folder.mkdir()
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(row.resized(config, KEPT)))
    return folder


def marked(plain: Path, folder: Path, by: Candidate, strength: float = STRENGTH) -> Path:
    shutil.copytree(plain, folder)
    add_watermark(plain, folder, by.secret, strength, KEPT)
    return folder


def changed(folder: Path, target: Path, change: Callable[[str, Tensor], Tensor]) -> Path:
    """Write a model with other weights, and nothing else."""
    target.mkdir()
    tensors = load_file(folder / "model.safetensors")
    made = {name: change(name, tensor).contiguous() for name, tensor in tensors.items()}
    save_file(made, target / "model.safetensors")
    return target


class Sent:
    """A model, its emulator, and the marked copies that two recipients got."""

    def __init__(self, root: Path, model_type: str = "llama", **over: Any) -> None:
        self.model = root / "model"
        save_tiny(self.model, model_type, **over)
        self.plain = emulator(self.model, root / "plain")
        self.candidates = [candidate(self.model, each) for each in ("hospital", "clinic", "bank")]
        self.hospital = marked(self.plain, root / "hospital", self.candidates[0])
        self.clinic = marked(self.plain, root / "clinic", self.candidates[1])

    def named(self, folder: Path, model: bool = True) -> list[str]:
        return [each.record.recipient for each in self.trace(folder, model) if each.is_named]

    def trace(self, folder: Path, model: bool = True) -> Sequence[Traced]:
        return trace(folder, self.candidates, self.model if model else None)[1]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    return Sent(tmp_path_factory.mktemp("sent"), dtype=torch.bfloat16, **WIDE)


@pytest.mark.parametrize("model_type", sorted(FAMILIES_UNDER_TEST))
def test_mark_changes_matrices_of_blocks_alone_and_is_found(
    model_type: str, tmp_path: Path
) -> None:
    sent = Sent(tmp_path, model_type)
    row = family_of(json.loads((sent.plain / "config.json").read_bytes()))
    before = load_file(sent.plain / "model.safetensors")
    for name, after in load_file(sent.hospital / "model.safetensors").items():
        change = (after - before[name]).norm() / before[name].norm()
        if row.block_of(row.current_name(name)) and after.dim() == 2:
            assert change == pytest.approx(STRENGTH, rel=0.2)
        else:
            assert torch.equal(after, before[name])
    assert sent.named(sent.hospital) == ["hospital"]
    assert sent.named(sent.plain) == []
    # whoever has other keys finds nothing
    strangers = [Candidate(each.record, bytes(32)) for each in sent.candidates]
    assert not any(each.is_named for each in trace(sent.hospital, strangers, sent.model)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_same_secret_gives_same_bytes_and_another_one_others(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    sent = Sent(tmp_path, dtype=dtype)
    again = marked(sent.plain, tmp_path / "again", sent.candidates[0])
    files = [f / "model.safetensors" for f in (again, sent.hospital, sent.clinic, sent.plain)]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert digests[0] == digests[1]
    assert len({*digests}) == 3
    assert len({file.stat().st_size for file in files}) == 1


def test_direction_is_fixed_forever() -> None:
    # marks of emulators that were sent have to be found by later versions
    values = direction(bytes(range(32)), 3, "mlp.up_proj.weight", range(3), 5)
    assert values.tolist() == [[1, 1, 0, 0, 0], [1, -1, 0, 2, 0], [-1, 0, -1, 0, 0]]
    many = direction(bytes(32), 0, "a", range(400), 500).astype(float)
    assert abs(many.mean()) < 0.01
    assert many.var() == pytest.approx(1, abs=0.01)
    for place in ((1, "a"), (0, "b")):
        assert abs((many * direction(bytes(32), *place, range(400), 500)).mean()) < 0.01


def test_zeros_and_what_is_too_large_stay(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", dtype=torch.float16)

    def spoiled(name: str, value: Tensor) -> Tensor:
        if "up_proj" in name:
            value[0], value[1] = 0, 65504
        return value

    plain = emulator(tmp_path / "model", tmp_path / "plain")
    shutil.copy(plain / "config.json", tmp_path)
    odd = changed(plain, tmp_path / "odd", spoiled)
    shutil.move(tmp_path / "config.json", odd)
    by = candidate(tmp_path / "model", "hospital")
    for name, after in load_file(
        marked(odd, tmp_path / "marked", by) / "model.safetensors"
    ).items():
        if "up_proj" in name:
            assert torch.isfinite(after).all()
            assert not after[0].any()


def _rounded(bits: int) -> Callable[[str, Tensor], Tensor]:
    def change(_: str, value: Tensor) -> Tensor:
        wide, most = value.float(), 2 ** (bits - 1) - 1
        step = wide.abs().amax(-1, keepdim=True).clamp(min=1e-9) / most
        return torch.round(wide / step).mul(step)

    return change


def _pruned(_: str, value: Tensor) -> Tensor:
    wide = value.float()
    return torch.where(wide.abs() < wide.abs().median(), 0, wide)


def _low_rank(_: str, value: Tensor) -> Tensor:
    """Merge a LoRA whose change is a tenth of the matrix."""
    wide = value.float()
    if wide.dim() < 2:
        return wide
    a, b = torch.randn(4, wide.shape[1]), torch.randn(wide.shape[0], 4)
    merged: Tensor = wide + b @ a * (0.1 * wide.norm() / (b @ a).norm())
    return merged


def _scaled(_: str, value: Tensor) -> Tensor:
    wide = value.float()
    if wide.dim() < 2:
        return wide
    return wide * torch.rand(len(wide), 1).add(0.5) * torch.rand(wide.shape[1]).add(0.5)


def _noisy(_: str, value: Tensor) -> Tensor:
    wide = value.float()
    return wide + 0.1 * wide.std() * torch.randn(wide.shape)


def _outliers(_: str, value: Tensor) -> Tensor:
    wide = value.float().clone()
    wide.view(-1)[0] = 1e4
    return wide


COPIES: dict[str, Callable[[str, Tensor], Tensor]] = {
    "float64": lambda _, value: value.double(),
    "float16": lambda _, value: value.half(),
    "float8 E4M3": lambda _, value: value.to(torch.float8_e4m3fn),
    "float8 E5M2": lambda _, value: value.to(torch.float8_e5m2),
    "8 bits and back": _rounded(8),
    "4 bits and back": _rounded(4),
    "half of it pruned": _pruned,
    "a LoRA merged": _low_rank,
    "noise of a tenth": lambda _, value: (
        value.float() + 0.1 * value.float().std() * torch.randn(value.shape)
    ),
    "rows and columns scaled": _scaled,
    "outliers": _outliers,
    "transposed": lambda _, value: value.T if value.dim() == 2 else value,
}


@pytest.mark.parametrize("kind", COPIES)
def test_changed_copy_is_traced(kind: str, sent: Sent, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert sent.named(changed(sent.hospital, tmp_path / "copy", COPIES[kind])) == ["hospital"]
    assert sent.named(changed(sent.plain, tmp_path / "plain", COPIES[kind])) == []


def test_renamed_tensors_and_some_blocks_are_enough(sent: Sent, tmp_path: Path) -> None:
    tensors = load_file(sent.hospital / "model.safetensors")
    some = {
        f"x{i}": value for i, (name, value) in enumerate(tensors.items()) if "layers.2." in name
    }
    (tmp_path / "some").mkdir()
    save_file(some, tmp_path / "some" / "anything.safetensors")
    assert sent.named(tmp_path / "some") == ["hospital"]


def test_both_who_average_their_emulators_are_named(sent: Sent, tmp_path: Path) -> None:
    other = load_file(sent.clinic / "model.safetensors")

    def mean(name: str, value: Tensor) -> Tensor:
        return (value.float() + other[name].float()) / 2

    found = sent.trace(changed(sent.hospital, tmp_path / "mean", mean))
    assert {each.record.recipient for each in found if each.is_named} == {"hospital", "clinic"}
    assert [each.share for each in found[:2]] == pytest.approx([0.5, 0.5], abs=0.1)


@pytest.mark.parametrize("kind", [None, "8 bits and back", "half of it pruned", "noise of a tenth"])
def test_vision_emulator_is_traced(kind: str | None, tmp_path: Path) -> None:
    """DINOv2, also with a head of new classes, and two emulators averaged."""
    wide = {"hidden_size": 64, "mlp_ratio": 3, "num_labels": 0}
    sent = Sent(tmp_path, "dinov2", dtype=torch.bfloat16, **wide)
    torch.manual_seed(0)
    change = COPIES[kind] if kind else lambda _, value: value
    found = changed(sent.hospital, tmp_path / "copy", change)
    tensors = load_file(found / "model.safetensors")
    save_file({**tensors, "classifier.weight": torch.randn(5, 128)}, found / "model.safetensors")
    assert sent.named(found) == ["hospital"]
    other = load_file(sent.clinic / "model.safetensors")
    mean = changed(
        found, tmp_path / "mean", lambda name, value: (value + other.get(name, value)) / 2
    )
    assert {*sent.named(mean)} == {"hospital", "clinic"}


@pytest.mark.parametrize("choice", ["outlier", "median", "largest", "any"])
def test_three_who_choose_among_their_values_are_named(
    choice: str, sent: Sent, tmp_path: Path
) -> None:
    bank = marked(sent.plain, tmp_path / "bank", sent.candidates[2])
    folders = (sent.hospital, sent.clinic, bank)
    every = [load_file(folder / "model.safetensors") for folder in folders]
    torch.manual_seed(0)

    def chosen(name: str, _: Tensor) -> Tensor:
        values = torch.stack([each[name].float() for each in every])
        if choice == "median":
            return values.median(0).values
        if choice == "largest":
            return values.amax(0)
        place = torch.randint(3, values.shape[1:])
        if choice == "outlier":
            place = (values - values.mean(0)).abs().argmax(0)
        return values.gather(0, place[None])[0]

    found = changed(sent.hospital, tmp_path / "found", chosen)
    assert {*sent.named(found)} == {"hospital", "clinic", "bank"}


def test_fine_tuned_emulator_is_traced(tmp_path: Path) -> None:
    sent = Sent(tmp_path, **WIDE)
    model = AutoModelForCausalLM.from_pretrained(sent.hospital, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    tokens = torch.randint(288, (4, 24))
    for _ in range(30):
        loss = model(input_ids=tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    nn.Module.half(model)
    model.save_pretrained(tmp_path / "tuned")
    assert sent.named(tmp_path / "tuned") == ["hospital"]


def test_without_the_full_model_names_are_needed(sent: Sent, tmp_path: Path) -> None:
    assert sent.named(sent.hospital, model=False) in ([], ["hospital"])
    strong = marked(sent.plain, tmp_path / "strong", sent.candidates[0], strength=0.1)
    assert sent.named(strong, model=False) == ["hospital"]
    (strong / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json"):
        sent.named(strong, model=False)


def test_part_of_a_matrix_is_traced(tmp_path: Path) -> None:
    """An emulator of narrower blocks: its record says which rows and columns are in it."""
    save_tiny(tmp_path / "model", **WIDE)
    rows = tuple(range(0, 160, 2))
    parts = {
        "mlp.gate_proj.weight": Selection(rows=rows),
        "mlp.up_proj.weight": Selection(rows=rows),
        "mlp.down_proj.weight": Selection(columns=rows),
    }

    def narrow(name: str, value: Tensor) -> Tensor:
        part = next((part for key, part in parts.items() if name.endswith(key)), Selection())
        value = value[list(part.rows)] if part.rows else value
        return value[:, list(part.columns)] if part.columns else value

    whole = emulator(tmp_path / "model", tmp_path / "whole")
    plain = changed(whole, tmp_path / "plain", narrow)
    config = json.loads((whole / "config.json").read_bytes())
    (plain / "config.json").write_text(json.dumps({**config, "intermediate_size": len(rows)}))
    candidates = []
    for each in ("hospital", "clinic"):
        made = record(tmp_path / "model", each)
        blocks = tuple(
            block.model_copy(
                update={
                    "index": parts,
                    "tensors": {
                        name: parts.get(name, Selection()).shape(shape)
                        for name, shape in block.tensors.items()
                    },
                }
            )
            for block in made.blocks
        )
        candidates.append(
            Candidate(made.model_copy(update={"blocks": blocks}), each.encode().ljust(32))
        )
    found = marked(plain, tmp_path / "found", candidates[1])
    _, traced = trace(found, candidates, tmp_path / "model")
    assert [each.record.recipient for each in traced if each.is_named] == ["clinic"]
    assert traced[0].matrices == 7 * len(KEPT)


def test_false_alarms_are_rarer_than_the_bound(sent: Sent) -> None:
    """The statistic under the null hypothesis, over many secrets that marked nothing."""
    some = record(sent.model, "nobody")
    strangers = [Candidate(some, hashlib.sha256(f"{i}".encode()).digest()) for i in range(400)]
    _, traced = trace(sent.hospital, strangers, sent.model)
    values = np.array([each.deviations for each in traced])
    assert abs(values.mean()) < 4 / math.sqrt(len(values))
    assert values.std() == pytest.approx(1, abs=0.15)
    for bound in (1.0, 2.0, 3.0):
        assert (values > bound).mean() <= math.exp(-(bound**2) / 2)
    assert not any(each.is_named for each in traced)


def test_folder_without_weights_is_refused(sent: Sent, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="safetensors"):
        sent.named(tmp_path)
