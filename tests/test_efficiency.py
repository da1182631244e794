"""`make bench-efficiency` and `make gpu-folder` work, shown with a tiny model on the CPU."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from efficiency.cases import CASES
from efficiency.measuring import measure
from efficiency.models import config_of, write_emulator
from efficiency.results import TITLES, summarized
from efficiency.shapes import SHAPES
from gpu.needs import Needs
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parent.parent
TINY = ("--device", "cpu", "--shapes", "tiny", "--cases", "offsite_lora_ends", "--batches", "1")
BRIEF = ("--rounds", "1", "--steps", "1", "--warmup", "1")


def row(case: str, number: int, **over: Any) -> dict[str, Any]:
    figures = {"tokens_per_second": 100.0, "step_seconds": 1.0, "peak_mib": 900.0}
    place = {"shape": "tiny", "batch": 1, "case": case, "round": number}
    return {**place, **figures, "libraries_mib": 100.0, **over}


# transformers 5.23 warns of what peft 0.21 asks it
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_every_case_of_the_table_trains(tmp_path: Path) -> None:
    assert CASES.keys() == TITLES.keys()
    emulator = tmp_path / "tiny"
    write_emulator(SHAPES["tiny"], emulator)
    sizes = {"batches": [1], "steps": 1, "warmup": 1, "rank": 2}
    for case in CASES:
        asked = argparse.Namespace(shape="tiny", emulator=emulator, case=case, **sizes)
        (found,) = measure(asked)
        assert float(found["tokens_per_second"]) > 0


@pytest.mark.parametrize("name", ["gpt2-medium", "gpt2-xl", "opt-350m", "opt-1.3b", "llama-7b"])
def test_a_shape_has_as_many_parameters_as_its_model(name: str) -> None:
    published = {"gpt2-medium": 355, "gpt2-xl": 1558, "opt-350m": 331, "opt-1.3b": 1316}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(SHAPES[name]))
    millions = sum(each.numel() for each in model.parameters()) / 1e6
    assert millions == pytest.approx(published.get(name, 6738), rel=0.002)


def test_ratios_are_medians_of_those_within_each_round() -> None:
    full = [
        row("full_fine_tuning", n, tokens_per_second=rate) for n, rate in enumerate((10, 20, 40))
    ]
    ours = [
        row("offsite_blocks", n, tokens_per_second=rate, peak_mib=300.0)
        for n, rate in enumerate((60, 160, 280))
    ]
    found = {each["case"]: each for each in summarized([*full, *ours])}["offsite_blocks"]
    assert found["times_full"] == 7
    assert found["less_than_full"] == 3
    assert found["less_without_libraries_than_full"] == 4
    assert found["times_lora"] is None


def test_a_case_that_failed_is_reported_as_such() -> None:
    failed = {"shape": "tiny", "batch": 8, "case": "full_fine_tuning", "round": 0}
    rows = [failed | {"failed": "out of memory"}, row("offsite_blocks", 0, batch=8)]
    full, ours = summarized(rows)
    assert full["failed"] == "out of memory"
    assert ours["times_full"] is None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare the folder for a GPU machine."""
    folder = tmp_path_factory.mktemp("prepared") / "gpu"
    run("-m", "gpu.folder", str(folder), folder=ROOT)
    return folder


def run(*arguments: str, folder: Path) -> str:
    """Run Python in a folder with `bench`; return its output."""
    environment = {**os.environ, "PYTHONPATH": "bench"}
    command = [sys.executable, *arguments]
    output = subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    )
    return output.stdout.decode()


def test_the_command_tests_and_measures_in_the_prepared_folder(prepared: Path) -> None:
    write_emulator(SHAPES["tiny"], prepared / "emulators/tiny")  # which saves a process
    table = run("-m", "gpu", "--tests", "is_named", *TINY, *BRIEF, folder=prepared)
    found = json.loads((prepared / "gpu.json").read_bytes())
    assert found["complete"]
    assert [each["outcome"] for each in found["tests"]] == ["passed"]
    assert [each["case"] for each in found["efficiency"]["summary"]] == ["offsite_lora_ends"]
    assert "OT + LoRA in the ends" in table


def test_a_machine_that_lacks_a_package_is_told_which(prepared: Path) -> None:
    needs = Needs.read(prepared)
    needs.check()
    versions = {**needs.versions, "no-such": "1.2", "nor-this": "3.4"}
    requires = {**needs.requires, "no-such": ["nor-this", "torch"], "nor-this": []}
    lacking = Needs([*needs.needed, "no-such"], (), versions, requires, {})
    with pytest.raises(SystemExit, match=r"no-such==1\.2 nor-this==3\.4"):
        lacking.check()
