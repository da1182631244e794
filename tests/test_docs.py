"""The documentation: it has every public name, and `make docs` fails at what is missing or dead."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import offsite
from test_layout import ROOT, tracked_files

GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))
CODE = ("cli", "charts", "docs", "examples", "images", "offsite", "operator", "tests")

needs_mkdocs = pytest.mark.skipif(find_spec("mkdocs") is None, reason="`make docs` installs mkdocs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the site is made from, a git checkout as well."""
    for path in tracked_files():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def build(root: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)


def append(page: str, text: str) -> Callable[[Path], object]:
    """Make something that writes to the end of a page, which may be new."""

    def write(root: Path) -> None:
        with (root / page).open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")

    return write


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "dead link": (append("docs/jobs.md", "[dead](no-such-page.md)"), "no-such-page.md"),
    "dead link to code": (append("docs/style.md", "[dead](../offsite/gone.py)"), "gone.py"),
    "dead anchor": (append("README.md", "[dead](docs/jobs.md#no-such-section)"), "no-such-section"),
    "missing page": (lambda root: (root / "docs/tutorial.md").unlink(), "docs/tutorial.md"),
    "unlisted page": (append("docs/unlisted.md", "# Unlisted"), "docs/unlisted.md"),
}


@needs_mkdocs
def test_every_fault_of_a_page_fails_the_build(copy: Path) -> None:
    for make, _ in FAULTS.values():
        make(copy)
    done = build(copy)
    assert done.returncode != 0
    assert [fault for fault, (_, named) in FAULTS.items() if named not in done.stderr] == []


@needs_mkdocs
def test_a_name_that_is_not_there_fails_the_build(copy: Path) -> None:
    append("docs/reference/python.md", "::: offsite.no_such_name")(copy)
    done = build(copy)
    assert done.returncode != 0
    assert "no_such_name" in done.stderr


@needs_mkdocs
def test_site_loads_nothing_from_elsewhere(copy: Path) -> None:
    done = build(copy)
    assert done.returncode == 0, done.stderr
    pages = list((copy / "build/docs").rglob("*.html"))
    assert len(pages) > 40
    loaded = re.compile(r"<(?:script|img|link|iframe)[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    assert [str(page) for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: offsite\.(\w+)$", page, re.MULTILINE))
    covered = {"Metric", "OffsiteError", "__version__", "events"}  # they are in their modules
    assert named == set(offsite.__all__) - covered


def test_every_decision_is_listed_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    lines = []
    for number, path in enumerate(sorted(folder.glob("[0-9]*.md")), 1):
        title = path.read_text(encoding="utf-8").partition("\n")[0]
        assert title.startswith(f"# {number}. ")
        lines.append(f"| {number} | [{title.partition('. ')[2]}]({path.name}) |")
    assert [line for line in lines if line not in listed] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_name_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"\b(?:{'|'.join(CODE)})/[\w./-]*\w(?![\w.<-])", text))
    assert len(named) > 3
    assert {name for name in named if not (ROOT / name).exists()} == set()


FENCE = re.compile(r"^```python\n# ([\w/]+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def interface(body: list[ast.stmt]) -> dict[str, str]:
    """Write the public attributes and functions of a class or module, by name, without prose."""
    found: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.AnnAssign):
            found[ast.unparse(node.target)] = ast.unparse(node)
        elif isinstance(node, ast.FunctionDef):
            node.body = [ast.Expr(ast.Constant(...))]
            found[node.name] = ast.unparse(node)
    return {name: text for name, text in found.items() if not name.startswith("_")}


def classes(code: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(code).body if isinstance(node, ast.ClassDef)}


def calls(code: str) -> set[str]:
    """Write the calls in some code."""
    return {ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_show_the_interfaces_as_they_are(page: Path) -> None:
    shown = FENCE.findall(page.read_text(encoding="utf-8"))
    assert shown
    for path, code in shown:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert calls(code) <= calls(source), path
        real = classes(source)
        for name, node in classes(code).items():
            there = interface(real[name].body)
            if not any(isinstance(each, ast.FunctionDef) for each in node.body):  # its fields alone
                there = {key: text for key, text in there.items() if not text.endswith("...")}
            assert interface(node.body) == there, f"{path}: {name}"
            assert ast.dump(ast.Tuple(node.bases)) == ast.dump(ast.Tuple(real[name].bases))


def test_the_threat_model_names_tests_that_exist() -> None:
    page = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert len(named) > 30
    assert missing == []
