"""What the Dockerfiles promise, and when an image is another one."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.images import IMAGES, MINIO, OPERATOR, RUNTIME, Image, inputs, reference

ROOT = Path(__file__).parent.parent
README = ROOT / "images" / "README.md"
DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile"))


def named(path: Path) -> str:
    """Name a Dockerfile in a test's id."""
    return str(path.relative_to(ROOT).parent)


@pytest.fixture
def checkout(tmp_path: Path) -> Image:
    """Give the operator's image of a copy of what it is built from."""
    for path in inputs(OPERATOR):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return replace(OPERATOR, root=tmp_path)


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_dockerfile_names_no_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    images = re.findall(r"^(?:FROM |ARG \w+=)(\S+)", text, re.MULTILINE)
    hosts = [name for name in images if re.match(r"[^/]*[.:][^/]*/|localhost/", name)]
    assert images
    assert hosts == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_dockerfile_ends_as_a_user_with_a_number(path: Path) -> None:
    users = re.findall(r"^USER (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["10001:10001"]


def test_every_dockerfile_is_an_image() -> None:
    assert {image.dockerfile for image in IMAGES} == {
        str(path.relative_to(ROOT)) for path in DOCKERFILES
    }


def test_readme_builds_every_dockerfile() -> None:
    built = re.findall(r"^docker build -f (\S+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert built
    assert {ROOT / name for name in built} == set(DOCKERFILES)


@pytest.mark.parametrize(
    ("documented", "there"),
    [
        (r"--build-arg (\w+)=", r"^ARG (\w+)=\S+$"),
        (r"--build-context (\w+)=", r"^FROM \S+ AS (\w+)$"),
        (r"--secret id=([\w.]+)", r"--mount=type=secret,id=([\w.]+)"),
    ],
    ids=["arguments", "stages", "secrets"],
)
def test_readme_names_what_a_builder_may_be_given(documented: str, there: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCKERFILES]
    taken = {name for text in texts for name in re.findall(there, text, re.MULTILINE)}
    assert set(re.findall(documented, README.read_text(encoding="utf-8"))) == taken


@pytest.mark.parametrize("path", DOCKERFILES, ids=named)
def test_every_argument_has_a_default_and_names_the_base(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    arguments = re.findall(r"^ARG (.+)$", text, re.MULTILINE)
    assert arguments
    assert all(re.fullmatch(r"\w+=\S+", argument) for argument in arguments)
    named_bases = set(re.findall(r"^FROM \$\{(\w+)\}", text, re.MULTILINE))
    assert named_bases == {argument.partition("=")[0] for argument in arguments}


def test_images_are_built_from_the_locks_and_the_code() -> None:
    found = {str(path.relative_to(ROOT)) for path in inputs(RUNTIME)}
    assert {"requirements/uv.txt", "requirements/runtime.txt", "offsite/training/train.py"} <= found
    assert not {name for name in found if name.startswith(("cli/", "tests/", "operator/"))}


def test_reference_is_that_of_the_content(checkout: Image) -> None:
    (checkout.root / "offsite/__pycache__").mkdir()
    (checkout.root / "offsite/__pycache__/errors.pyc").touch()
    (checkout.root / "offsite/errors.py").touch()
    assert reference(checkout) == reference(OPERATOR)


@pytest.mark.parametrize(
    "name", ["offsite/errors.py", "requirements/operator.txt", "images/operator/Dockerfile"]
)
def test_reference_changes_with_each_input(checkout: Image, name: str) -> None:
    with (checkout.root / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert reference(checkout) != reference(OPERATOR)


def test_reference_changes_with_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"one")
    image = replace(MINIO, program=lambda: program)
    before = reference(image)
    program.write_bytes(b"two")
    assert reference(image) != before
