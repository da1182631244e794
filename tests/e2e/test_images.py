"""The images hold what their pods need, run confined, and are built anew only where changed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.access import KUBECONFIG
from cluster.buildah import buildah, call
from cluster.container import layers, run
from cluster.images import (
    IMAGES,
    MINIO,
    OPERATOR,
    RUNTIME,
    Image,
    build,
    discard,
    inputs,
    load,
)

ANOTHER = bool(os.environ.get(KUBECONFIG))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(ANOTHER, reason=f"of this machine; {KUBECONFIG} is set"),
]

IMPORTABLE = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
WRITABLE = """
import os
for folder in "/", "/opt/offsite", "/home", "/var/tmp", "/tmp":
    if os.access(folder, os.W_OK):
        print(os.getuid(), folder)
"""
HEAD = """
ray start --head --num-cpus 1 > /tmp/head.log 2>&1 || cat /tmp/head.log
for path in 52365/api/local_raylet_healthz 8265/api/gcs_healthz; do
    wget --timeout 10 --tries 3 --quiet --output-document - http://127.0.0.1:$path && echo
done
ray job submit --address http://127.0.0.1:8265 -- python -c "print('trained')" 2>&1
"""


@pytest.fixture
def ctr(tmp_path: Path) -> Iterator[list[str]]:
    """Run a containerd that holds nothing, and give the call of its client."""
    socket = tmp_path / "socket"
    settings = tmp_path / "config.toml"
    settings.write_text(
        f'version = 2\nroot = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n',
        encoding="utf-8",
    )
    command = ["containerd", "--config", str(settings), "--log-level", "error"]
    with subprocess.Popen(command) as running:
        try:
            client = ["ctr", "--address", str(socket)]
            call(*client, "--connect-timeout", "30s", "version")
            yield client
        finally:
            running.terminate()
            running.wait(30)
            shutil.rmtree(tmp_path / "root")


@contextmanager
def changed(image: Image, folder: Path) -> Iterator[Image]:
    """Give an image of a copy of the checkout, in which a line of our code is another."""
    for path in inputs(image):
        copy = folder / path.relative_to(image.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    with (folder / "offsite/errors.py").open("a", encoding="utf-8") as code:
        code.write("# changed\n")
    other = replace(image, name=f"{image.name}-changed", root=folder)
    try:
        yield other
    finally:
        discard(other)


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
    assert said[:2] == ["success", "success"]
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
    assert set(listed("content")) == before
    with changed(OPERATOR, tmp_path / "checkout") as other:
        other_name = load(other, ctr)
    assert sorted(listed("image")) == sorted([name, other_name])
    assert len(set(listed("content")) - before) == 5  # manifest, configuration and three layers
