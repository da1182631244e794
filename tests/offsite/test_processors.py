"""How many processors a process may use, by its affinity and the quotas of its cgroups."""

import os
from pathlib import Path

import pytest

from offsite.layers import limit_threads
from offsite.process.processors import processors

AFFINE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the process may run on eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def written(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    (folder / "own").write_text(own)
    for name, content in files.items():
        path = folder / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / "fs", folder / "own"


CASES = {
    "no quota": ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
    "a quota": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    "part of a processor": ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
    "less than one": ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
    "more than there are": ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
    "of a group above": ("0::/pod/own\n", {"pod/cpu.max": "300000 100000\n"}, 3),
    "of the host's path": ("0::/../elsewhere\n", {"cpu.max": "300000 100000\n"}, 3),
    "version 1": (
        "4:memory:/a\n3:cpu,cpuacct:/a\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "400000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
        4,
    ),
    "version 1 without": (
        "1:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        8,
    ),
    "damaged": ("nonsense", {"cpu.max": "a b"}, 8),
}


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("case", CASES)
def test_a_quota_limits_the_processors(tmp_path: Path, case: str) -> None:
    own, files, expected = CASES[case]
    assert processors(*written(tmp_path, own, files)) == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert processors(tmp_path, tmp_path / "none") == AFFINE


def test_threads_are_never_more_than_were_set_before() -> None:
    import torch

    before = torch.get_num_threads()
    limit_threads()
    assert torch.get_num_threads() == min(before, processors())
