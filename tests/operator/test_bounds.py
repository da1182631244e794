"""What a job's author may ask for."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from offsite.api import JobSpec
from offsite_operator.decide.policy import violation
from offsite_operator.settings import Bounds, Private, Settings
from offsite_testing.world import DISTILL, PLUG_IN, SETTINGS, TUNE, spec_of


def model(place: str) -> dict[str, Any]:
    return {"distill": DISTILL["distill"] | {"model": place}}


def tolerated(**toleration: str) -> dict[str, Any]:
    return {"runtime": {"tolerations": [toleration]}}


def tuned(**training: int) -> dict[str, Any]:
    return {"tune": TUNE["tune"] | {"training": training}}


def trained_on(place: str) -> dict[str, Any]:
    return {"tune": TUNE["tune"] | {"data": {"train": place, "validation": place}}}


def private(**privacy: Any) -> JobSpec:
    data = {"train": "s3://private/data/a.jsonl", "validation": "s3://private/data/b.jsonl"}
    section = {**TUNE["tune"], "data": data} | ({"privacy": privacy} if privacy else {})
    return spec_of(TUNE, tune=section)


def export(place: str) -> dict[str, Any]:
    return {"plugIn": PLUG_IN["plugIn"] | {"export": {"to": place}}}


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (TUNE, {}),
        (PLUG_IN, {}),
        (DISTILL, model("s3://private/models/deep/er")),
        (DISTILL, model("pvc://datasets/any/where")),
        (TUNE, trained_on("pvc://datasets/images/")),
        (TUNE, trained_on("s3://private/models/images/")),
        (PLUG_IN, export("s3://private/exports/mine")),
        (TUNE, {"runtime": {"image": "r/runtime:1"}}),
        (TUNE, tolerated(key="nvidia.com/gpu", operator="Exists")),
    ],
)
def test_what_is_allowed(content: dict[str, Any], changes: dict[str, Any]) -> None:
    assert violation(spec_of(content, **changes), SETTINGS) is None


@pytest.mark.parametrize(
    ("content", "changes", "said"),
    [
        (TUNE, {"peer": "rival"}, "spec.peer is 'rival'"),
        (TUNE, {"runtime": {"image": "r/runtime:2"}}, "spec.runtime.image"),
        (TUNE, {"runtime": {"priorityClassName": "high"}}, "bounds.priorityClasses"),
        (TUNE, tolerated(key="control-plane"), "spec.runtime.tolerations is 'control-plane'"),
        (TUNE, tolerated(operator="Exists"), "spec.runtime.tolerations is 'every taint'"),
        (DISTILL, model("s3://private/other"), "spec.distill.model"),
        (DISTILL, model("s3://private/models2/x"), "bounds.readPrefixes"),
        (DISTILL, model("s3://private/models/../hospital/records"), "models/../hospital"),
        (DISTILL, model("s3://private/models//x"), "models//x"),
        (DISTILL, model("pvc://secrets/x"), "bounds.claims"),
        (TUNE, trained_on("pvc://secrets/images/"), "bounds.claims"),
        (TUNE, trained_on("s3://private/models2/images/"), "bounds.readPrefixes"),
        (TUNE, trained_on("s3://private/models/../images/"), "models/../images"),
        (TUNE, trained_on("images/"), "which pods cannot access"),
        (DISTILL, model("/home/me/model"), "pvc://claim/path"),
        (DISTILL, model("file:///home/me/model"), "pvc://claim/path"),
        (TUNE, tuned(steps=7), "spec.tune.training.steps is 7"),
        (TUNE, tuned(batchSize=3), "at least 4 (minBatchSize)"),
        (PLUG_IN, export("s3://private/models/mine"), "bounds.exportPrefixes"),
        (PLUG_IN, export("pvc://datasets/mine"), "bounds.exportPrefixes"),
    ],
)
def test_what_is_not(content: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    found = violation(spec_of(content, **changes), SETTINGS)
    assert found is not None
    assert found[0] == "NotAllowed"
    assert said in found[1]


def test_no_location_holds_the_private_store() -> None:
    """What is read is mounted, or lent, as a whole."""
    on_claim = SETTINGS.model_copy(update={"private": Private(uri="pvc://datasets/org/offsite")})
    for place in ("pvc://datasets/org", "pvc://datasets/org/", "pvc://datasets/org/offsite"):
        found = violation(spec_of(DISTILL, **model(place)), on_claim)
        assert found is not None
        assert "the private store" in found[1]
    assert violation(spec_of(DISTILL, **model("pvc://datasets/org/offsite2")), on_claim) is None


def bounded(**bounds: Any) -> Settings:
    changed = SETTINGS.bounds.model_copy(update=bounds)
    return SETTINGS.model_copy(update={"bounds": changed})


@pytest.mark.parametrize(
    ("bounds", "asked", "too_much"),
    [
        ({"max_workers": 2}, {"resources": {"workers": 2}}, {"resources": {"workers": 3}}),
        (
            {"max_cpus_per_worker": 4},
            {"resources": {"cpusPerWorker": 4}},
            {"resources": {"cpusPerWorker": 5}},
        ),
        ({"max_gpus_per_worker": 0}, {}, {"resources": {"gpusPerWorker": 1}}),
        (
            {"max_memory_per_worker": "4Gi"},
            {"resources": {"memoryPerWorker": "4096Mi"}},
            {"resources": {"memoryPerWorker": "4.3G"}},
        ),
        ({"max_memory_per_worker": "8Gi"}, {}, {"resources": {"memoryPerWorker": "1Ti"}}),
        (
            {"max_active_deadline_seconds": 60},
            {"activeDeadlineSeconds": 60},
            {"activeDeadlineSeconds": 61},
        ),
    ],
)
def test_sizes_have_a_bound_where_there_is_one(
    bounds: dict[str, Any], asked: dict[str, Any], too_much: dict[str, Any]
) -> None:
    settings = bounded(**bounds)
    assert violation(spec_of(TUNE, **asked), settings) is None
    assert violation(spec_of(TUNE, **too_much), SETTINGS) is None
    found = violation(spec_of(TUNE, **too_much), settings)
    assert found is not None
    assert found[0] == "NotAllowed"
    (setting,) = Bounds.model_fields.keys() & bounds.keys()
    assert f"bounds.{to_camel(setting)} in the chart's values allows" in found[1]


@pytest.mark.parametrize(
    ("bounds", "enough", "said"),
    [
        ({"required": True}, {"epsilon": 100}, "spec.tune.privacy is missing"),
        ({"maxEpsilon": 8}, {"epsilon": 8}, "spec.tune.privacy: ε is 100, and"),
        ({"maxEpsilon": 8}, {"noiseMultiplier": 0.1}, "spec.tune.privacy is missing"),
        ({"maxDelta": 1e-5}, {"epsilon": 8, "delta": 1e-6}, "spec.tune.privacy is missing"),
        (
            {"unit": {"group": "patient"}},
            {"epsilon": 8, "unit": {"group": "patient"}},
            "spec.tune.privacy.unit is row",
        ),
    ],
)
def test_differential_privacy_has_a_floor(
    bounds: dict[str, Any], enough: dict[str, Any], said: str
) -> None:
    """`noiseMultiplier` has an ε that only the step that trains can compute."""
    known = SETTINGS.bounds.model_dump(by_alias=True, exclude_none=True)
    chosen = Bounds.model_validate(known | {"privacy": bounds})
    settings = SETTINGS.model_copy(update={"bounds": chosen})
    assert settings.bounds.limits.privacy == chosen.privacy
    assert violation(private(**enough), settings) is None
    assert violation(private(epsilon=100), SETTINGS) is None
    too_little = {"epsilon": 100} if "missing" not in said else {}
    found = violation(private(**too_little), settings)
    assert found is not None
    assert found[0] == "NotAllowed"
    assert said in found[1]


def test_a_bound_on_the_default_of_a_job_is_told_as_any_other() -> None:
    found = violation(spec_of(TUNE), bounded(max_memory_per_worker="1Gi"))
    assert found is not None
    assert found[1].startswith("spec.resources.memoryPerWorker is 4Gi; bounds.maxMemoryPerWorker")


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("topology.kubernetes.io/zone", True),
        ("nvidia.com/gpu.product", True),
        ("kubernetes.io/hostname", False),
        ("node-role.kubernetes.io/control-plane", False),
    ],
)
def test_a_job_selects_nodes_by_what_they_are_not_by_their_name(key: str, allowed: bool) -> None:
    spec = spec_of(TUNE, runtime={"nodeSelector": {key: "a"}})
    found = violation(spec, SETTINGS)
    assert (found is None) is allowed
    if found is not None:
        assert found[1].startswith(f"spec.runtime.nodeSelector is '{key}', which")
    assert violation(spec, bounded(node_selector_keys=("*",))) is None


def test_a_job_without_a_deadline_has_the_longest_that_is_allowed() -> None:
    assert SETTINGS.bounds.deadline_of(spec_of(TUNE)) is None
    settings = bounded(max_active_deadline_seconds=60)
    assert settings.bounds.deadline_of(spec_of(TUNE)) == 60
    assert settings.bounds.deadline_of(spec_of(TUNE, activeDeadlineSeconds=30)) == 30


@pytest.mark.parametrize("folder", ["records", "disclosed", "work", "checkpoints", "published"])
def test_what_is_offsites_own_can_never_be_allowed(folder: str) -> None:
    bounds = SETTINGS.bounds.model_copy(
        update={"read_prefixes": ("s3://private/",), "export_prefixes": ("s3://private/",)}
    )
    settings = SETTINGS.model_copy(update={"bounds": bounds})
    place = f"s3://private/hospital/{folder}/x"
    for content, changes in ((DISTILL, model(place)), (PLUG_IN, export(place))):
        found = violation(spec_of(content, **changes), settings)
        assert found is not None
        assert "reserved" in found[1]


def test_the_hub_is_reachable_only_if_the_chart_allows_it() -> None:
    spec = spec_of(DISTILL, **model("hf://org/model@main"))
    found = violation(spec, SETTINGS)
    assert found is not None
    assert found[0] == "EgressDisabled"
    assert violation(spec, SETTINGS.model_copy(update={"model_hub": True})) is None


def test_a_prefix_is_a_folder() -> None:
    known = SETTINGS.bounds.model_dump(by_alias=True)
    for field in ("readPrefixes", "exportPrefixes"):
        with pytest.raises(ValidationError, match=field):
            Bounds.model_validate(known | {field: ("s3://data*",)})


def test_a_star_stands_for_anything() -> None:
    bounds = SETTINGS.bounds.model_copy(update={"peers": ("*",), "images": ("r/mine-*",)})
    settings = SETTINGS.model_copy(update={"bounds": bounds})
    assert violation(spec_of(TUNE, peer="x", runtime={"image": "r/mine-2"}), settings) is None
    assert violation(spec_of(TUNE, runtime={"image": "r/min"}), settings) is not None


def test_what_an_administrator_allows_takes_the_place_of_others() -> None:
    wider = {"priority_classes": ("batch-*",), "tolerations": ("*",)}
    bounds = SETTINGS.bounds.model_copy(update=wider)
    settings = SETTINGS.model_copy(update={"bounds": bounds})
    asked: dict[str, Any] = {
        "priorityClassName": "batch-high",
        **tolerated(operator="Exists")["runtime"],
    }
    assert violation(spec_of(TUNE, runtime=asked), settings) is None
    named = {"runtime": {"priorityClassName": "system-node-critical"}}
    assert violation(spec_of(TUNE, **named), settings) is not None
