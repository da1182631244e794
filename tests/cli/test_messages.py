"""The messages that a new user meets first, word for word. Other tests look for what they name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offsite.errors import OffsiteError
from offsite_cli.app import app
from offsite_testing.parties import HOSPITAL, LAB, introduce

JOB = """\
apiVersion: offsite-tuning.dev/v1alpha1
kind: OffsiteJob
metadata: {name: emulator}
spec:
  stage: Distill
  peer: hospital
  distill:
    model: model
    emulator: {blocks: 2, calibration: corpus.txt}
"""


@pytest.fixture
def offsite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command of the lab, beside its job file; give the message of its failure."""
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFSITE_HOME", f"{LAB}/home")
    monkeypatch.setenv("OFFSITE_EXCHANGE", (tmp_path / "exchange").as_uri())
    Path("job.yaml").write_text(JOB, encoding="utf-8")
    Path("corpus.txt").write_text("text", encoding="utf-8")

    def run(*arguments: str) -> str:
        failure = CliRunner().invoke(app, arguments).exception
        assert isinstance(failure, OffsiteError), repr(failure)
        assert failure.exit_code in (2, 4)
        return str(failure)

    return run


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "blocks: 2",
            "blocks: '2'",
            "spec.distill.emulator.blocks: must be a whole number, without quotes (it is '2')",
        ),
        (
            "model: model",
            "ends: 4\n    model: model",
            "spec.distill.ends: must be an object with the fields bottom, top, such as "
            "{bottom: …, top: …} (it is 4)",
        ),
        ("peer: hospital", "pear: hospital", "spec.pear: unknown field; did you mean peer?"),
        (
            "{blocks: 2,",
            "{heal: yes, blocks: 2,",
            "spec.distill.emulator.heal: must be true or false (it is 'yes')",
        ),
        ("hospital", "3", "spec.peer: must be text, in quotes (it is 3)"),
        ("hospital", "2026-01-01", "spec.peer: must be text, in quotes (it is 2026-01-01)"),
        ("peer: hospital", "peer:", "spec.peer: must be text (it is null)"),
        (
            "model: model",
            "model: true",
            "spec.distill.model: must be text, in quotes (it is true)",
        ),
        (
            "  peer: hospital",
            "  peer: hospital\n  resources: {workers: 2}\n  runtime: {engine: Job}",
            "spec.resources.workers: engine Job has one worker; set resources.workers to 1, or "
            "runtime.engine to RayJob",
        ),
        ("  stage:", "\tstage:", "it is not YAML: line 5: indent with spaces, not tabs"),
        (
            "model: model",
            "model: pvc://models/m",
            "spec.distill.model: pvc://models/m is a volume of a cluster; name a path, file:// or "
            "s3:// to run here, or run the job on the cluster: offsite submit -f FILE",
        ),
    ],
)
def test_a_wrong_job_file(
    offsite: Callable[..., str], wrong: str, right: str, message: str
) -> None:
    Path("job.yaml").write_text(JOB.replace(wrong, right), encoding="utf-8")
    head, *problems = offsite("run", "job.yaml").splitlines()
    assert head == "job.yaml is not a valid job:"
    assert message in [problem.strip() for problem in problems]


def test_what_does_not_exist(offsite: Callable[..., str], tmp_path: Path) -> None:
    assert offsite("run", "jib.yaml") == "there is no job file jib.yaml"
    assert offsite("submit", "-f", "jib.yaml") == "there is no job file jib.yaml"
    assert offsite("keys", "export", "a/lab.pub") == (
        "there is no folder a; create it, or name another path"
    )
    assert offsite("bundles", "disclosed", "--home", "a") == (
        f"there is no folder {tmp_path}/a; set --home or --private to another one"
    )
    assert offsite("bundles", "disclosed", "--private", "file:///a") == (
        "there is no folder /a; set --private to another one"
    )
    assert not Path("a").exists()
    assert offsite("peers", "add", "clinic.pub") == "there is no file clinic.pub"
    assert offsite("run", "job.yaml") == (
        f"there is no folder {tmp_path}/model; write a model of the hub as hf://ORG/NAME@REVISION"
    )
    Path("corpus.txt").unlink()
    assert offsite("run", "job.yaml") == (
        f"there is no data file corpus.txt (that is {tmp_path}/corpus.txt)"
    )
    assert offsite("list", "--kubeconfig", "none") == (
        "there is no kubeconfig none; set --kubeconfig or KUBECONFIG to an existing file"
    )


def test_a_folder_that_is_no_model(offsite: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    empty = (
        f"{folder} is not a model: it needs config.json, a tokenizer and *.safetensors; check the "
        "location"
    )
    assert offsite("run", "job.yaml") == empty
    (folder / "config.json").write_text("{}")
    assert offsite("run", "job.yaml") == empty
    for name in ("pytorch_model-00001-of-00002.bin", "model.Q4_K_M.gguf"):
        (folder / name).touch()
        assert offsite("run", "job.yaml") == (
            f"{folder} has its weights as {name} only, which offsite does not read; load the model "
            "with transformers, and write it with save_pretrained, as safetensors"
        )
        (folder / name).unlink()
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text('{"quantization_config": {"load_in_8bit": true}}')
    assert offsite("run", "job.yaml") == (
        f"{folder}/config.json: quantization_config is not supported; use the unquantized weights"
    )


def test_a_wrong_party(offsite: Callable[..., str]) -> None:
    for peer, message in {
        "lab": "spec.peer is lab, which is you; name the other party",
        "clinic": "the keys of clinic are not pinned; get the public file from clinic, compare its "
        "fingerprint, and run: offsite peers add FILE",
    }.items():
        Path("job.yaml").write_text(JOB.replace("hospital", peer), encoding="utf-8")
        assert offsite("run", "job.yaml") == message


def test_a_wrong_exchange(offsite: Callable[..., str], tmp_path: Path) -> None:
    for address in ("s3:/bucket", "http://bucket", "file://folder", "ftp://[bucket", "//["):
        assert offsite("run", "job.yaml", "--exchange", address) == (
            f"{address!r} is not a valid exchange address; use file:///path/of/a/folder or "
            "s3://bucket"
        )
    home = (tmp_path / LAB / "home").as_uri()
    assert offsite("run", "job.yaml", "--exchange", home) == (
        f"the exchange ({home}) and your home folder ({home}) are the same place; choose another "
        "place for the exchange"
    )


def test_a_wrong_kubeconfig(offsite: Callable[..., str]) -> None:
    assert offsite("list", "--kubeconfig", "corpus.txt") == (
        "corpus.txt is not a kubeconfig; set --kubeconfig or KUBECONFIG"
    )
