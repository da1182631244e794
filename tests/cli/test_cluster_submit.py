"""Flags become the job that a file would have been; what differs is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML
from typer.testing import CliRunner

from offsite.api import JobSpec
from offsite.config import load_job
from offsite.errors import InputError, SpecError
from offsite_cli.app import app
from offsite_cli.cluster.submit.documents import read_documents, spec_differences
from offsite_cli.options import parse_duration

EXAMPLES = Path(__file__).parents[2] / "examples"

FLAGS = {
    "distill": (
        "coding-emulator --peer hospital --model hf://HuggingFaceTB/SmolLM2-135M-Instruct@main"
        " --bottom 2 --top 2 --blocks 18 --heal --calibration data/documentation.jsonl"
        " --corpus data/documentation.jsonl --steps 2000 --learning-rate 1e-4 --batch-size 16"
        " --block-size 512 --evaluate data/shared.jsonl"
    ),
    "tune": (
        "coding-adapter --peer lab --seed 1 --bundle coding-emulator"
        " --train data/private-train.jsonl --validation data/private-validation.jsonl"
        " --method LoRA --scope All --rank 16 --epochs 3 --steps 600 --learning-rate 1e-3"
        " --batch-size 8 --block-size 512 --evaluate data/shared.jsonl"
    ),
    "plug-in": (
        "coding-model --peer hospital --model hf://HuggingFaceTB/SmolLM2-135M-Instruct@main"
        " --adapter coding-adapter --alpha 0.7 --evaluate data/shared.jsonl"
        " --max-regression 0.05 --export models/smollm2-coding"
    ),
}


def submitted(*arguments: str) -> str:
    """Run `offsite submit --dry-run`; give what it printed."""
    done = CliRunner().invoke(app, ["submit", *arguments, "--dry-run"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("stage", FLAGS)
def test_flags_make_the_job_of_the_example(stage: str, tmp_path: Path) -> None:
    printed = tmp_path / "job.yaml"
    printed.write_text(submitted(stage, *FLAGS[stage].split()), encoding="utf-8")
    assert load_job(printed) == load_job(EXAMPLES / f"{stage}.yaml")


def test_flags_choose_what_is_trained_and_its_scale(tmp_path: Path) -> None:
    printed = tmp_path / "job.yaml"
    printed.write_text(submitted("tune", *FLAGS["tune"].split(), "--targets", "MLP"))
    job = load_job(printed).spec.tune
    assert job is not None
    assert job.adapter.targets == "MLP"
    scale = (
        " --alpha-attention 0.4 --alpha-mlp 0.9 --alpha-ends 0.8 --alpha-middle 0.5"
        " --auto-alpha data/own.jsonl --auto-alpha-regression 0.2"
    )
    printed.write_text(submitted("plug-in", *(FLAGS["plug-in"] + scale).split()))
    plugged = load_job(printed).spec.plug_in
    assert plugged is not None
    factors = {"attention": 0.4, "mlp": 0.9, "ends": 0.8, "middle": 0.5}
    assert plugged.alpha_factors.wire() == factors
    assert plugged.alpha_auto is not None
    assert plugged.alpha_auto.max_regression == 0.2


def test_a_folder_of_images_stands_for_both_data_sets(tmp_path: Path) -> None:
    printed = tmp_path / "job.yaml"
    flags = "tissue-adapter --peer lab --seed 1 --bundle tissue-emulator --epochs 3 --batch-size 16"
    for folder in ("data/tissue", "data/tissue/"):
        text = submitted("tune", *flags.split(), "--images", folder)
        printed.write_text(text, encoding="utf-8")
        assert load_job(printed) == load_job(EXAMPLES / "tune-images.yaml")
    both = ["submit", "tune", *flags.split(), "--images", "a", "--train", "b/", "--dry-run"]
    done = CliRunner().invoke(app, both)
    assert isinstance(done.exception, InputError)
    assert "--images stands for --train and --validation" in str(done.exception)


def test_flags_for_the_cluster_have_their_places(tmp_path: Path) -> None:
    printed = tmp_path / "job.yaml"
    extra = (
        "--workers 2 --sharding FSDP --gpus 1 --cpus 8 --memory 64Gi --engine RayJob"
        " --image registry.example/runtime:1 --queue fast --priority-class high"
        " --node-selector disk=ssd --node-selector a/b=c --backoff-limit 4 --deadline 2h --ttl 60"
    )
    text = submitted("tune", *FLAGS["tune"].split(), *extra.split())
    printed.write_text(text, encoding="utf-8")
    spec = load_job(printed).spec.model_dump(mode="json", by_alias=True)
    wanted: dict[str, Any] = {
        "workers": 2,
        "sharding": "FSDP",
        "gpusPerWorker": 1,
        "cpusPerWorker": 8,
        "memoryPerWorker": "64Gi",
    }
    assert spec["resources"] == wanted
    assert spec["runtime"]["nodeSelector"] == {"disk": "ssd", "a/b": "c"}
    assert spec["runtime"]["priorityClassName"] == "high"
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (4, 7200)
    assert spec["ttlSecondsAfterFinished"] == 60


FOR_EVERY_STAGE = (
    " --seed 1 --deterministic --backoff-limit 4 --deadline 2h --ttl 60 --workers 2"
    " --sharding FSDP --gpus 1 --cpus 8 --memory 64Gi --engine RayJob"
    " --image registry.example/runtime:1 --queue fast"
    " --priority-class high --node-selector disk=ssd"
)
THE_REST = {
    "distill": (
        " --expires-after 720h --max-uses 1 --lm-weight 2 --kd-weight 3 --gradient-checkpointing"
        " --accumulate 2"
        " --max-capability 0.5 --recovery-steps 100"
        " --lm-eval-task piqa --lm-eval-path s3://lab/tasks/"
    ),
    "tune": (
        " --gradient-checkpointing --canaries 100 --max-auc 0.6 --max-tpr-at-1-percent-fpr 0.05"
        " --max-empirical-epsilon 2 --label normal --label tumour --augmentation Crop"
        " --targets MLP --accumulate 2 --quantize None"
        " --lm-eval-task quiz --lm-eval-path pvc://data/tasks/"
    ),
    "plug-in": (
        " --lm-eval-task piqa --lm-eval-task quiz --lm-eval-path tasks/ --alpha-attention 0.4"
        " --alpha-mlp 0.9 --alpha-ends 0.8 --alpha-middle 0.7 --auto-alpha s3://lab/text.jsonl"
        " --auto-alpha-regression 0.5"
    ),
}
PRIVACY = (
    " --epsilon 8 --delta 1e-5 --max-grad-norm 0.5 --group patient",
    " --noise-multiplier 0.7",
)
"""Each alone; not with sharding."""
IN_A_FILE_ALONE = {"runtime.tolerations", "suspend", "cancel", "retries", "distill.emulator.method"}
"""A list of objects; what has commands of its own; what has one value."""


def fields_of(spec: type[BaseModel], above: str = "") -> Iterator[str]:
    """Name the fields of a section and of those in it, as a file does."""
    for field in spec.model_fields.values():
        name, kinds = f"{above}{field.alias}", [field.annotation, *get_args(field.annotation)]
        models = (each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel))
        inner = None if get_origin(field.annotation) is list else next(models, None)
        yield from fields_of(inner, f"{name}.") if inner else [name]


def given_in(spec: dict[str, Any], fields: set[str]) -> Iterator[str]:
    """Name those of the fields that a spec has."""
    for field in fields:
        found: Any = spec
        for name in field.split("."):
            found = (found or {}).get(name)
        if found is not None:
            yield field


def test_every_field_has_a_flag() -> None:
    fields, given = set(fields_of(JobSpec)), set[str]()
    every = [(stage, f"{FOR_EVERY_STAGE}{THE_REST[stage]}") for stage in FLAGS]
    for stage, more in [*every, *(("tune", flags) for flags in PRIVACY)]:
        flags = f"{FLAGS[stage]}{more}"
        content = YAML(typ="safe").load(submitted(stage, *flags.split()))
        given |= set(given_in(content["spec"], fields))
    assert fields - given == IN_A_FILE_ALONE


def test_what_was_not_given_is_not_sent() -> None:
    text = submitted("plug-in", "m", "--peer", "p", "--model", "s3://bucket/m", "--adapter", "a")
    assert "null" not in text
    assert "runtime" not in text
    assert "export" not in text


def test_several_files_are_several_jobs(tmp_path: Path) -> None:
    both = "---\n".join((EXAMPLES / f"{stage}.yaml").read_text() for stage in ("distill", "tune"))
    (tmp_path / "both.yaml").write_text(both, encoding="utf-8")
    files = ["-f", str(tmp_path / "both.yaml"), "-f", str(EXAMPLES / "plug-in.yaml")]
    printed = submitted(*files)
    (tmp_path / "printed.yaml").write_text(printed, encoding="utf-8")
    names = [each.job.metadata.name for each in read_documents([tmp_path / "printed.yaml"])]
    assert names == ["coding-emulator", "coding-adapter", "coding-model"]


def test_a_path_of_this_machine_is_for_run_alone() -> None:
    arguments = ["submit", "tune", *FLAGS["tune"].split()]
    told = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False).stderr
    assert told.count("offsite: only for `offsite run`: spec.tune.") == 3
    with pytest.raises(SpecError, match="not a valid job for a cluster") as refused:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert refused.value.problems[0] == (
        "spec.tune.data.train is 'data/private-train.jsonl', which pods cannot access; use "
        "s3://bucket/path of the private store, or pvc://claim/path"
    )


def test_a_dry_run_prints_what_is_asked_for() -> None:
    files = ["-f", str(EXAMPLES / "tune.yaml"), "-f", str(EXAMPLES / "distill.yaml")]
    kind = "offsitejob.offsite-tuning.dev"
    assert submitted(*files, "-o", "name") == f"{kind}/coding-adapter\n{kind}/coding-emulator\n"
    assert json.loads(submitted(*files[:2], "-o", "json"))["kind"] == "OffsiteJob"
    head, row = submitted(*files[:2], "-o", "table").splitlines()
    assert head.split() == ["NAME", "STAGE", "STATE", "PROGRESS", "PEER", "AGE"]
    assert row.split() == ["coding-adapter", "Tune", "Pending", "-", "lab", "<unknown>"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["tune"], "NAME, --peer, --bundle, --train, --validation"),
        (["tune", "x", "-f", str(EXAMPLES / "tune.yaml")], "-f"),
        (["tune", "--rank", "3", "-f", str(EXAMPLES / "tune.yaml")], "-f"),
        (["tune", "-f", str(EXAMPLES / "distill.yaml")], "stage Distill, not Tune"),
        ([], "-f FILE"),
        (["-f", "/nowhere.yaml"], "/nowhere.yaml"),
        (["-n", "x", "tune"], "offsite submit tune"),
        (["distill", *FLAGS["distill"].split(), "--node-selector", "x"], "KEY=VALUE"),
        (["distill", *FLAGS["distill"].split(), "--blocks", "0"], "spec.distill.emulator.blocks"),
    ],
)
def test_a_wrong_submission_names_what_is_wrong(arguments: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        CliRunner().invoke(app, ["submit", *arguments], catch_exceptions=False)


def test_a_file_beside_flags_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, ["submit", "tune", "x", "-f", "job.yaml"], catch_exceptions=False)
    assert str(refused.value) == (
        "a job file (-f) cannot be combined with a name or flags of a job; leave them out, or edit "
        "the file"
    )


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "{}", "a: 2026-99-99"])
def test_a_file_that_is_no_job_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"job\.yaml"):
        read_documents([path])


def test_only_fields_that_differ_are_told() -> None:
    spec: dict[str, Any] = load_job(EXAMPLES / "tune.yaml").spec.model_dump(
        mode="json", by_alias=True
    )
    assert spec_differences(spec, {**spec, "suspend": True, "retries": 2, "cancel": True}) == []
    adapter = {"method": "LoRA", "scope": "All", "targets": "All"}
    other = {**spec, "tune": {**spec["tune"], "adapter": adapter}}
    assert spec_differences(spec, other) == ["tune.adapter.rank: not set in the cluster, 16 here"]
    assert spec_differences({"alpha": 1.0, "grant": {}}, {"alpha": 1}) == []


def test_a_job_for_another_namespace_is_refused(tmp_path: Path) -> None:
    content = (
        (EXAMPLES / "tune.yaml")
        .read_text()
        .replace("name: coding-adapter", "name: coding-adapter\n  namespace: lab")
    )
    path = tmp_path / "job.yaml"
    path.write_text(content, encoding="utf-8")
    (document,) = read_documents([path])
    document.check_namespace("lab")
    with pytest.raises(InputError, match="--namespace lab"):
        document.check_namespace("hospital")


def test_spans() -> None:
    assert [parse_duration(text) for text in ("30", "1.5s", "2m", "1h")] == [30, 1.5, 120, 3600]
    for text in ("", "-1", "1d", "s"):
        with pytest.raises(typer.BadParameter):
            parse_duration(text)
