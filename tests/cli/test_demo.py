"""The demo as a user runs it: the whole story, on a tiny model and on data of the user's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from offsite_testing.models import save_tiny

SETTINGS = {
    "full_zero_shot",
    "emulator_zero_shot",
    "emulator_tuned",
    "plug_in",
    "full_fine_tuned",
}


STAGES = {"distill", "tune", "plug-in"}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `offsite demo` in `folder`."""
    command = [sys.executable, "-m", "offsite_cli", "demo", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def labelled(path: Path) -> None:
    """Write questions whose answer is their last word."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"case {i} is {word}\nkind:", "completion": word, "choices": ["calm", "wild"]}
        for i in range(40)
        for word in ("calm", "wild")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_story_on_a_task_of_ones_own(tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", "llama", num_hidden_layers=12, max_position_embeddings=128)
    labelled(tmp_path / "task.jsonl")
    options = ("--model", "model", "--task", "task.jsonl", "--upper-bound", "-o", "json")
    done = demo(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    result = events[-1]
    assert result["event"] == "result"
    assert result["metric"] == "accuracy"
    assert set(result["settings"]) == SETTINGS
    assert all(0 <= value <= 1 for value in result["settings"].values())
    assert [event["event"] for event in events].count("done") == 3
    assert result["sizeBytes"]["adapter"] < result["sizeBytes"]["emulator"]
    assert result["sizeBytes"]["emulator"] < result["sizeBytes"]["model"]
    assert set(result["seconds"]) == set(result["peakMemoryBytes"]) == STAGES
    # each party's folder has what is its own, and nothing of the other's
    output = tmp_path / "demo-output"
    weights = list((output / "hospital").rglob("model*.safetensors"))
    assert [path.parent.name for path in weights] == ["opened"]
    assert not list((output / "lab").rglob("train.jsonl"))


def test_the_story_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused = demo(tmp_path)
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
    assert (tmp_path / "demo-output" / "thesis.txt").exists()


def test_data_and_task_exclude_each_other(tmp_path: Path) -> None:
    refused = demo(tmp_path, "--data", "a.jsonl", "--task", "b.jsonl")
    assert refused.returncode == 2
    assert "exclude each other" in refused.stderr
    assert "Traceback" not in refused.stderr
