"""Traces that a trap leaves in an adapter's matrices."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from offsite.release.traces import traces_in, traces_of
from offsite_testing.audited import honest, trapped


def test_traces_are_those_of_the_worst_matrix(tmp_path: Path) -> None:
    tensors = {
        "blocks.0.fc1.weight.lora_A": np.zeros((8, 32), np.float32),
        "blocks.0.fc1.weight.lora_B": trapped(live=16),
        "blocks.0.fc2.weight.lora_B": honest(),
        "blocks.0.norm.weight.change": np.zeros(8, np.float32),
    }
    tensors["blocks.0.fc2.weight.lora_B"][3] *= 1000
    save_file(tensors, tmp_path / "adapter.safetensors")
    found = traces_in(tmp_path / "adapter.safetensors")
    assert found == traces_of(tensors.items())
    # beside a row a thousand times as large, all others are silent
    assert found.silent_rows == pytest.approx(63 / 64)
    assert found.silent_rows_in == "blocks.0.fc2.weight.lora_B"
    del tensors["blocks.0.fc2.weight.lora_B"]
    assert traces_of(tensors.items()).silent_rows == 0.75


def test_noise_does_not_hide_silent_rows_nor_does_a_transpose() -> None:
    noisy = trapped(live=16) + 1e-6 * honest()
    assert traces_of([("blocks.0.fc1.weight.lora_B", noisy)]).silent_rows == 0.75
    whole = np.ascontiguousarray(trapped(live=16).T)
    assert traces_of([("blocks.0.fc2.weight.change", whole)]).silent_rows == 0.75
