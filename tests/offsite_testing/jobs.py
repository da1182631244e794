"""The examples, and jobs that are wrong in one thing, with what is said of it."""

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted({*EXAMPLES.rglob("*.yaml")} - {EXAMPLES / "sweep.yaml"})
ABSENT = object()
LONG = "a" * 1019 + ".jsonl"
_LABEL = "must be a DNS label: lower-case letters, digits and hyphens, 63 at most"
_PATH = "must be a path (relative to the job file), file:///path, s3://bucket/path"
_FOLDER = "must be a folder: a path (relative to the job file), file:///path, s3://bucket/path"
_PRIVATE: dict[str, Any] = {
    "bundle": "a",
    "data": {"train": "a.jsonl", "validation": "b.txt"},
    "privacy": {"epsilon": 8},
}
_QUANTIZED: dict[str, Any] = {
    "bundle": "a",
    "data": {"train": "a.jsonl", "validation": "b.txt"},
    "base": {"quantize": "NF4"},
}
_PARTS = "accumulate is the number of parts of a batch: set it to batchSize, or less"
_DISTILLED: dict[str, Any] = {"model": "m", "emulator": {"blocks": 1}}


class Bad(NamedTuple):
    """One change to an example that makes it wrong."""

    example: str
    path: str
    value: Any
    message: str
    """What is said of it."""
    server: str | None = None
    """What the API server says, where it has words of its own."""

    @property
    def id(self) -> str:
        """Name the case."""
        return f"{self.path}={str(self.value)[:20] if self.value is not ABSENT else 'absent'}"

    def job(self) -> dict[str, Any]:
        """Make the job."""
        job = deepcopy(read(EXAMPLES / f"{self.example}.yaml"))
        *way, last = self.path.split(".")
        section = job
        for name in way:
            section = section.setdefault(name, {})
        section.pop(last, None)
        if self.value is not ABSENT:
            section[last] = self.value
        return job


def read(path: Path) -> dict[str, Any]:
    """Read a manifest, as YAML 1.2 has it."""
    content: dict[str, Any] = YAML(typ="safe").load(path)
    return content


def _unknown(path: str) -> Bad:
    return Bad("tune", path, 8, "unknown field; remove it", f'unknown field "{path}"')


def _tasks(names: list[str], problem: str, server: str | None = None) -> Bad:
    tasks = {"tasks": names, "path": "tasks/"}
    return Bad("distill", "spec.distill.lmEval", tasks, problem, server)


def _range(example: str, path: str, value: float, limit: str) -> Bad:
    return Bad(example, path, value, f"must be {limit}", f"should be {limit}")


BAD = (
    Bad("tune", "spec.tune", ABSENT, "stage Tune needs the section tune, and no other"),
    Bad("tune", "spec.distill", _DISTILLED, "stage Tune needs the section tune, and no other"),
    Bad("tune", "spec.stage", "Distill", "stage Distill needs the section distill, and no other"),
    Bad("tune", "spec.stage", "Tuning", "must be 'Distill', 'Tune' or 'PlugIn'", "Unsupported"),
    Bad("tune", "spec.peer", ABSENT, "required, but missing", "Required value"),
    Bad("tune", "spec.peer", "Lab", _LABEL),
    Bad("tune", "spec.peer", "a" * 64, "must have at most 63 characters", "Too long"),
    Bad("tune", "metadata.name", "a.b", _LABEL),
    _unknown("spec.privacy"),
    Bad("cluster/plug-in", "spec.resources.workers", 2, "engine Job has one worker"),
    _range("tune", "spec.resources.workers", 0, "greater than or equal to 1"),
    Bad("tune", "spec.resources.sharding", "TP", "must be 'DDP' or 'FSDP'", "Unsupported"),
    Bad(
        "tune",
        "spec.tune.training.augmentation",
        "Flip",
        "must be 'CropAndFlip', 'Crop' or 'None'",
        "Unsupported",
    ),
    Bad("tune", "spec.deterministic", 1, "must be true or false", "must be of type boolean"),
    _range("tune", "spec.seed", -1, "greater than or equal to 0"),
    _range("tune", "spec.seed", 2**31, "less than 2147483648"),
    Bad(
        "tune",
        "spec.seed",
        "1",
        "must be a whole number, without quotes",
        "must be of type integer",
    ),
    Bad("tune", "spec.tune.adapter", {"method": "Blocks"}, "method Blocks needs scope: Ends"),
    Bad(
        "tune",
        "spec.tune.adapter",
        {"method": "Blocks", "scope": "Ends", "rank": 8},
        "only method LoRA has a rank",
    ),
    Bad(
        "tune",
        "spec.tune.adapter",
        {"method": "Blocks", "scope": "Ends", "targets": "MLP"},
        "only method LoRA has targets",
    ),
    Bad(
        "tune",
        "spec.tune.adapter.targets",
        "Norms",
        "must be 'All', 'MLP' or 'Attention'",
        "Unsupported",
    ),
    _range("tune", "spec.tune.adapter.rank", 65, "less than or equal to 64"),
    Bad(
        "tune",
        "spec.tune.adapter.head",
        {"labels": ["a"]},
        "must have at least 2 items",
        "should have at least 2 items",
    ),
    Bad(
        "tune",
        "spec.tune.adapter.head.labels",
        ["a", "b", "a"],
        "name the class 'a' twice",
        "Duplicate value",
    ),
    Bad("tune", "spec.tune.adapter.head.labels", ["a", "b\u202e"], "must be printable characters"),
    Bad("tune", "spec.tune.adapter.head.labels", ["a", " b"], "must be printable characters"),
    Bad(
        "tune",
        "spec.tune.adapter.head.labels",
        ["a", "b" * 101],
        "must have at most 100 characters",
        "Too long",
    ),
    _range("tune", "spec.tune.training.learningRate", 0, "greater than 0"),
    *(
        Bad(stage, f"spec.{stage}.training", more | {"batchSize": 4, "accumulate": 5}, _PARTS)
        for stage, more in (("tune", {}), ("distill", {"corpus": "a.txt"}))
    ),
    _range("tune", "spec.tune.training.accumulate", 0, "greater than or equal to 1"),
    Bad(
        "tune",
        "spec.tune.base.quantize",
        "int4",
        "must be 'None', 'Int8' or 'NF4'",
        "Unsupported",
    ),
    Bad(
        "tune",
        "spec",
        {"stage": "Tune", "peer": "lab", "tune": _QUANTIZED, "resources": {"sharding": "FSDP"}},
        "FSDP shards no quantized block",
    ),
    Bad("tune", "spec.tune.privacy", {}, "set exactly one of epsilon and noiseMultiplier"),
    Bad(
        "tune",
        "spec.tune.privacy",
        {"epsilon": 8, "noiseMultiplier": 1},
        "set exactly one of epsilon and noiseMultiplier",
    ),
    _range("tune", "spec.tune.privacy.epsilon", 0, "greater than or equal to 0.01"),
    _range("tune", "spec.tune.privacy.noiseMultiplier", 0, "greater than or equal to 0.1"),
    _range("tune", "spec.tune.privacy.delta", 1, "less than 1"),
    Bad(
        "tune",
        "spec.tune.privacy.delta",
        0,
        "must be greater than or equal to 0.000000000000001",
        "should be greater than or equal to 1e-15",
    ),
    _range("tune", "spec.tune.release.maxAuc", 0, "greater than or equal to 0.5"),
    _range("distill", "spec.distill.release.maxCapability", 2, "less than or equal to 1"),
    Bad(
        "distill",
        "spec.distill",
        {"model": "m", "emulator": {"blocks": 2}, "release": {}},
        "release needs emulator.calibration or training.corpus",
    ),
    Bad("tune", "spec.tune.privacy.unit.group", "text", "must be a column other than"),
    Bad("tune", "spec.tune.privacy.unit.group", "a\nb", "must be the name of a column"),
    Bad(
        "tune",
        "spec.tune",
        _PRIVATE | {"data": {"train": "a.txt", "validation": "b.txt"}},
        "privacy needs data.train with rows",
    ),
    Bad(
        "tune",
        "spec.tune",
        _PRIVATE
        | {
            "data": {"train": "a/", "validation": "b/"},
            "privacy": {"epsilon": 8, "unit": {"group": "patient"}},
        },
        "privacy.unit needs data.train with a column",
    ),
    Bad(
        "tune",
        "spec",
        {"stage": "Tune", "peer": "lab", "tune": _PRIVATE, "resources": {"sharding": "FSDP"}},
        "tune.privacy needs a copy of the model in each worker",
    ),
    Bad("tune", "spec.tune.bundle", "a@sha256:12", "must be the name of a bundle, or name@sha256"),
    Bad("tune", "spec.tune.data.train", "ftp://host/file.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "hf://org/name.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "s3://bucket.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://claim.jsonl", _PATH),
    *(
        Bad("tune", "spec.tune.data.train", name, "and end in .jsonl or .ndjson (one")
        for name in ("a.csv", "s3://bucket/a.tsv", "pvc://claim/a.json", "blobs/0a1b", "a.jsonl.gz")
    ),
    Bad("tune", "spec.tune.data.train", "pvc://claim/../other.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://claim/../images/", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://claim/", _PATH),
    Bad("tune", "spec.tune.data.train", "ftp://host/images/", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://claim/a/./b.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://claim/a//b.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", "pvc://Claim/a.jsonl", _PATH),
    Bad("tune", "spec.tune.data.train", LONG, "must have at most 1024 char", "Too long"),
    Bad(
        "distill",
        "spec.distill",
        {"model": "m", "emulator": {"blocks": 1, "heal": True}},
        "emulator.heal: true needs emulator.calibration or training.corpus",
    ),
    Bad("distill", "spec.distill.model", "hf://name", "or hf://org/name@revision"),
    Bad("distill", "spec.distill.grant.expiresAfter", "3d", "must be a duration, such as 720h"),
    Bad(
        "distill",
        "spec.distill.emulator.method",
        "Prune",
        "must be 'LayerDrop'",
        "Unsupported",
    ),
    _range("distill", "spec.distill.emulator.blocks", 0, "greater than or equal to 1"),
    *(
        Bad("distill", "spec.distill.lmEval", {"tasks": ["piqa"], "path": path}, _FOLDER)
        for path in ("tasks", "hf://org/data/", "pvc://claim/../tasks/")
    ),
    _tasks([], "must have at least 1 item", "should have at least 1 items"),
    _tasks(["../piqa"], "must be the name of a task of lm-eval"),
    _tasks(["piqa", "piqa"], "names a task twice", "Duplicate value"),
    Bad("plug-in", "spec.plugIn.evaluate", ABSENT, "accept needs evaluate: the text to score"),
    Bad(
        "plug-in",
        "spec.plugIn.accept.maxRegression",
        ABSENT,
        "required, but missing",
        "Required value",
    ),
    _range("plug-in", "spec.plugIn.accept.maxRegression", -1, "greater than or equal to 0"),
    _range("plug-in", "spec.plugIn.alpha", 2.5, "less than or equal to 2"),
    _range("plug-in", "spec.plugIn.alphaFactors.attention", 1.5, "less than or equal to 1"),
    _range("plug-in", "spec.plugIn.alphaFactors.ends", -0.5, "greater than or equal to 0"),
    Bad(
        "plug-in",
        "spec.plugIn.alphaAuto",
        {"maxRegression": 0.1},
        "required, but missing",
        "Required value",
    ),
    Bad("plug-in", "spec.plugIn.alphaAuto", {"data": "own.csv"}, "and end in .jsonl or .ndjson"),
    Bad(
        "plug-in",
        "spec.plugIn.alphaAuto",
        {"data": "own.jsonl", "maxRegression": -1},
        "greater than or equal to 0",
    ),
    _range("plug-in", "spec.resources.gpusPerWorker", 65, "less than or equal to 64"),
    Bad("plug-in", "spec.resources.memoryPerWorker", "lots", "must be an amount of memory, such"),
    Bad("plug-in", "spec.runtime.image", "a b", "must be a container image"),
    Bad("plug-in", "spec.runtime.nodeSelector.zone", "b c", "must be the value of a label"),
    Bad("plug-in", "spec.runtime.queue", "a_b", _LABEL),
    Bad("plug-in", "spec.suspend", "yes", "must be true or false", "must be of type boolean"),
    _range("plug-in", "spec.retries", -1, "greater than or equal to 0"),
    _range("plug-in", "spec.activeDeadlineSeconds", 0, "greater than or equal to 1"),
)
