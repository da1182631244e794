"""The images hold what their pods need, run confined, and are built anew only where changed."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cluster.access import KUBECONFIG
from cluster.buildah import buildah, call, folder, lock, names
from cluster.cgroups import PREFIX, ROOT
from cluster.container import layers, run
from cluster.images import (
    CHANGED,
    IMAGES,
    MINIO,
    OPERATOR,
    RUNTIME,
    Image,
    build,
    discard,
    inputs,
    load,
    sweep,
)
from cluster.layout import layout
from cluster.lifecycle import remove_dead
from cluster.node import all_nodes
from cluster.processes import wait_for
from cluster.stock import give, place, restock, running_containerd

ANOTHER = bool(os.environ.get(KUBECONFIG))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("beside"),
    pytest.mark.skipif(ANOTHER, reason=f"of this machine; {KUBECONFIG} is set"),
]

IMPORTABLE = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
WRITABLE = """
import os
for folder in "/", "/opt/offsite", "/home", "/var/tmp", "/tmp":
    if os.access(folder, os.W_OK):
        print(os.getuid(), folder)
"""
WORK = {
    "build": """
import sys
from dataclasses import replace
from pathlib import Path
from cluster.images import CHANGED, OPERATOR, build
build(replace(OPERATOR, name=f"operator{CHANGED}", root=Path(sys.argv[1])))
""",
    "container": """
import sys
from cluster.container import run
from cluster.images import OPERATOR, build
run(build(OPERATOR), "sh", "-c", sys.argv[2])
""",
}
TESTS = Path(__file__).parents[1]
MOUNTED = f"{folder()}/storage/overlay/"
HEAD = """
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=known
ray start --head --num-cpus 1 > /tmp/head.log 2>&1 || cat /tmp/head.log
for path in 52365/api/local_raylet_healthz 8265/api/gcs_healthz; do
    wget --timeout 10 --tries 3 --quiet --output-document - http://127.0.0.1:$path && echo
done
wget --tries 1 --server-response --spider http://127.0.0.1:8265/api/jobs/ 2>&1 | grep -o "HTTP/.*"
ray job submit --address http://127.0.0.1:8265 -- python -c "print('trained')" 2>&1
"""


@pytest.fixture
def ctr(tmp_path: Path) -> Iterator[list[str]]:
    """Run a containerd that holds nothing; gives how its client is called."""
    with running_containerd(tmp_path / "root") as client:
        yield client
    shutil.rmtree(tmp_path / "root")


def changed_checkout(image: Image, folder: Path) -> Image:
    """Give an image of a copy of the checkout, in which a line of our code is another."""
    for path in inputs(image):
        copy = folder / path.relative_to(image.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    other = replace(image, name=f"{image.name}{CHANGED}", root=folder)
    change(other)
    return other


@contextmanager
def changed(image: Image, folder: Path) -> Iterator[Image]:
    """Give such an image, and keep nothing of it."""
    other = changed_checkout(image, folder)
    try:
        yield other
    finally:
        discard(other)


def change(image: Image) -> None:
    with (image.root / "offsite/errors.py").open("a", encoding="utf-8") as code:
        code.write("# changed\n")


def test_operator_holds_no_training_stack() -> None:
    wanted = ["offsite", "offsite_operator", "kopf", "tink"]
    unwanted = ["torch", "ray", "transformers", "pip", "uv"]
    found = run(build(OPERATOR), "python", "-c", IMPORTABLE, *wanted, *unwanted)
    assert found == f"{wanted}\n"


def test_runtime_imports_the_training_stack() -> None:
    code = "import torch, ray, offsite.stages; print(torch.ones(2).sum().item())"
    assert run(build(RUNTIME), "python", "-c", code) == "2.0\n"


def test_runtime_serves_a_job_as_the_head_of_a_cluster() -> None:
    said = run(build(RUNTIME), "sh", "-c", HEAD).splitlines()
    assert said[:3] == ["success", "success", "HTTP/1.1 401 Unauthorized"]
    assert "trained" in said


@pytest.mark.parametrize("image", [OPERATOR, RUNTIME], ids=lambda image: image.name)
def test_user_may_write_below_tmp_alone(image: Image) -> None:
    assert run(build(image), "python", "-c", WRITABLE) == "10001 /tmp\n"


@pytest.mark.parametrize("image", [OPERATOR, RUNTIME], ids=lambda image: image.name)
def test_our_code_is_compiled(image: Image) -> None:
    code = "import offsite.errors as e, os; print(os.path.exists(e.__cached__))"
    assert run(build(image), "python", "-c", code) == "True\n"


def test_minio_is_the_program_that_was_built_here() -> None:
    assert run(build(MINIO), "/usr/bin/minio", "--version").startswith("minio version")


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_nothing_is_built_where_nothing_changed(image: Image) -> None:
    build(image)
    before = buildah("images", "--all", "--format", "{{.ID}} {{.CreatedAtRaw}}")
    build(image)
    assert buildah("images", "--all", "--format", "{{.ID}} {{.CreatedAtRaw}}") == before


@pytest.mark.parametrize("image", [OPERATOR, RUNTIME], ids=lambda image: image.name)
def test_change_of_code_makes_the_upper_layers_anew(image: Image, tmp_path: Path) -> None:
    before = layers(build(image))
    with changed(image, tmp_path) as other:
        after = layers(build(other))
    copies = 2 if image is RUNTIME else 3  # each folder of ours, and the bytecode
    assert len(after) == len(before)
    assert [new == old for new, old in zip(after, before, strict=True)].count(False) <= copies
    assert after[:-copies] == before[:-copies]
    assert after != before


def test_containerd_takes_what_it_lacks(ctr: list[str], tmp_path: Path) -> None:
    def listed(kind: str) -> list[str]:
        return call(*ctr, "--namespace", "k8s.io", kind, "list", "--quiet").split()

    assert listed("image") == []
    name = load(OPERATOR, ctr)
    before = set(listed("content"))
    assert load(OPERATOR, ctr) == name
    assert listed("image") == [name]
    after = set(listed("content"))
    assert after <= before
    assert len(before - after) <= 1  # the index of the archive is collected soon
    with changed(OPERATOR, tmp_path / "checkout") as other:
        load(other, ctr)
        # manifest, configuration and three layers, when the index is gone
        wait_for(lambda: len(set(listed("content")) - before) == 5)
        change(other)
        newer = load(other, ctr)  # takes the place of the generation before, of that name alone
    assert sorted(listed("image")) == sorted([name, newer])


@pytest.fixture
def near() -> Iterator[Path]:
    """A folder on the disk of the images, which nobody sweeps meanwhile."""
    with lock(), TemporaryDirectory(dir=folder()) as made:
        yield Path(made)


def test_a_node_begins_with_what_is_in_stock_and_copies_no_layer(near: Path) -> None:
    name, root = build(OPERATOR), near / "root"
    restock([name])
    give(root)
    with running_containerd(root) as ctr:
        listed = call(*ctr, "--namespace", "k8s.io", "image", "check", "--quiet", f"name=={name}")
        assert listed.split() == [name], "it is there, with all its layers unpacked"
    for pattern, is_shared in (("*overlayfs/snapshots/**/python3*", True), ("*/meta.db", False)):
        found = (path for path in root.glob(pattern) if not path.is_symlink())
        given = next(path for path in found if path.is_file())
        assert given.samefile(place() / given.relative_to(root)) is is_shared


@pytest.mark.parametrize("work", ["build", "container"])
def test_killed_work_leaves_nothing(work: str, tmp_path: Path) -> None:
    """Kill a build, or a container that runs, in the middle of what it does."""
    before = groups()
    other = changed_checkout(OPERATOR, tmp_path)
    built = build(other)
    mark = f"sleep 6{secrets.randbelow(10**6):06}"
    with (tmp_path / other.dockerfile).open("a", encoding="utf-8") as file:
        file.write(f"RUN {mark}\n")
    command = [sys.executable, "-c", WORK[work], str(tmp_path), mark]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(TESTS)}) as doomed:
        wait_for(lambda: bool(running(mark)), seconds=120)
        doomed.kill()
    wait_for(lambda: not running(mark))
    with lock():
        assert sweep() == [built]
        remove_dead()  # as `make cluster-down`
        assert groups() <= before
        assert not list(folder().glob("tmp*"))  # another process may be at work later
    assert not layout(built).exists()
    assert not [name for name in names() if CHANGED in name]
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if MOUNTED in line]


def groups() -> set[Path]:
    """List the control groups that are of no node, in every hierarchy."""
    found = set(ROOT.glob(f"*/{PREFIX}*"))
    nodes = {node.group for node in all_nodes()}  # registered before they have any
    return {path for path in found if path.name not in nodes}


def running(command: str) -> list[str]:
    listed = subprocess.run(["pgrep", "--full", f"^{command}"], capture_output=True, text=True)
    return listed.stdout.split()
