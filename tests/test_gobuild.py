"""Programs of Go modules are found before they are built, and built once."""

import shutil
from pathlib import Path

import pytest

from cluster import binaries
from offsite_testing import gobuild, minio_server
from offsite_testing.gobuild import GoProgram, find, kept

PAUSE = GoProgram("pause")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def on_path(folder: Path, name: str, version: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {version}\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return program


def test_a_variable_names_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE_KUBE_ROUTER", "/opt/any")
    assert find(GoProgram("kube-router")) == Path("/opt/any")


def test_the_right_version_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = on_path(tmp_path / "bin", "helm", "v4.9.9+built", monkeypatch)
    assert find(GoProgram("helm", version=("version",), expected=r"^v4\.")) == program


@pytest.mark.parametrize("told", ["Kubernetes v1.34.9", "Kubernetes v1.34.9 >&2"])
def test_a_component_of_the_right_version_on_the_path_is_taken(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = on_path(tmp_path / "bin", "kubelet", told, monkeypatch)
    assert binaries.component("kubelet") == program
    monkeypatch.setenv("OFFSITE_KUBE", "/opt/kube")
    assert binaries.component("kubelet") == Path("/opt/kube")


def test_a_component_of_another_version_is_built(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path / "bin", "kubelet", "Kubernetes v1.33.4", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(RuntimeError, match="the tests need kube, and Go to build it"):
        binaries.component("kubelet")


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ("minio version RELEASE.2025-09-07T16-13-09Z (commit-id=07c3a429)", True),
        ("minio version DEVELOPMENT.GOGET (commit-id=DEVELOPMENT.GOGET)", True),
        ("minio version RELEASE.2025-04-22T22-12-26Z", False),
    ],
)
def test_a_server_that_writes_on_condition_is_taken(
    told: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path / "bin", "minio", f"'{told}'", monkeypatch)
    found = gobuild.on_path("minio", ("--version",), minio_server.VERSIONS)
    assert (found is not None) == taken


@pytest.mark.parametrize("version", [(), ("version",)], ids=["never asked", "another version"])
def test_what_is_not_asked_for_is_built(
    version: tuple[str, ...],
    tmp_path: Path,
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_path(tmp_path / "bin", "pause", "v3.1", monkeypatch)
    if shutil.which("go") is None:
        pytest.skip("needs Go")
    found = find(GoProgram("pause", version=version, expected=r"^v4\."))
    assert found.is_relative_to(empty_cache)
    assert found.stat().st_mode & 0o111


def test_without_go_the_remedy_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"install Go 1\.25.*OFFSITE_PAUSE"):
        find(PAUSE)
    assert not [path for path in empty_cache.rglob("pause*") if path.suffix != ".lock"]


def test_a_failed_build_shows_why(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("go") is None:
        pytest.skip("needs Go")
    monkeypatch.setattr(gobuild, "TOOLS", tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "go.mod").write_text("module broken\n", encoding="ascii")
    with pytest.raises(RuntimeError, match=r"(?s)broken could not be built.*no Go files"):
        find(GoProgram("broken"))


def test_what_was_made_is_made_once(empty_cache: Path) -> None:
    made: list[Path] = []

    def make(target: Path) -> None:
        made.append(target)
        target.mkdir()

    first, second = (kept(PAUSE, "folder", make) for _ in range(2))
    assert first == second
    assert first.is_dir()
    assert len(made) == 1


def test_a_change_of_the_folder_is_another_program(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept(PAUSE, "mark", Path.touch)
    monkeypatch.setattr(gobuild, "TOOLS", tmp_path / "tools")
    shutil.copytree(Path(__file__).parent / "tools" / "pause", tmp_path / "tools" / "pause")
    assert kept(PAUSE, "mark", Path.touch) == before
    (tmp_path / "tools" / "pause" / "go.sum").touch()
    assert kept(PAUSE, "mark", Path.touch) != before
