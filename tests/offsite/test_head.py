"""An adapter may bring a classification head: what is sent, and what its receiver refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from offsite.api import Head, JobSpec, Privacy, Resources, Tune
from offsite.bundle import (
    ADAPTER,
    MANIFEST,
    AdapterFacts,
    BlockRecord,
    EmulatorRecord,
    HeadRecord,
    NewHead,
    admit_adapter,
    check_adapter,
    check_whole,
    read_manifest,
    read_record,
    write_manifest,
)
from offsite.bundle.changes import Place
from offsite.bundle.record import OutsideTensor
from offsite.bundle.weights import stored
from offsite.errors import BundleError, DataError, InputError
from offsite.labels import MAX_LABELS
from offsite.steps.classes import check_head, classes_of
from offsite.steps.egress import head_facts
from offsite.wire import canonical

FEATURES = 6
CLASSES = ("normal", "tumour", "tench, Tinca tinca")
OWN = HeadRecord(module="classifier", features=FEATURES, labels=("cat", "dog"))
KEPT = {
    "head.weight": OutsideTensor(tensor="classifier.weight", shape=(2, FEATURES)),
    "head.bias": OutsideTensor(tensor="classifier.bias", shape=(2,)),
}
WEIGHT, BIAS = "head.weight.value", "head.bias.value"
LORA = {"blocks.0.mlp.weight.lora_A": (2, 6), "blocks.0.mlp.weight.lora_B": (4, 2)}
Tensors = dict[str, Any]


def record(head: HeadRecord | None = OWN, *, kept: bool = True) -> EmulatorRecord:
    block = BlockRecord(
        full=0, end=True, tensors={"mlp.weight": (4, 6)}, linears={"mlp.weight": (6, 4)}
    )
    return EmulatorRecord(
        bundle="emulator",
        digest=f"sha256:{'1' * 64}",
        recipient="hospital",
        architecture="ViTForImageClassification",
        model_digest=f"sha256:{'2' * 64}",
        blocks=(block,),
        outside=KEPT if kept else {},
        head=head,
    )


def values(classes: int = len(CLASSES)) -> Tensors:
    draw = np.random.default_rng(0)
    shapes = {**LORA, WEIGHT: (classes, FEATURES), BIAS: (classes,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def facts(**over: Any) -> dict[str, Any]:
    told = {"kind": "adapter", "method": "LoRA", "scope": "All", "rank": 2, "outside": ["head"]}
    return {**told, "answers": f"sha256:{'1' * 64}", "labels": list(CLASSES), **over}


def adapter(
    folder: Path, tensors: Tensors | None = None, told: dict[str, Any] | None = None
) -> Path:
    """Write an adapter bundle, whose facts nobody checked."""
    folder.mkdir()
    save_file(values() if tensors is None else tensors, folder / ADAPTER)
    write(folder, CLASSES)
    content = json.loads((folder / MANIFEST).read_bytes())
    content["facts"] = facts() if told is None else told
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def write(folder: Path, labels: tuple[str, ...]) -> None:
    parties = {"made_by": "hospital", "made_for": "lab", "architecture": "X", "dtype": "float32"}
    stated = AdapterFacts(
        method="LoRA",
        scope="All",
        rank=2,
        outside=("head",),
        answers=f"sha256:{'1' * 64}",
        labels=labels,
    )
    write_manifest(folder, name="adapter", **parties, facts=stated)


def refused(folder: Path, said: str, of: EmulatorRecord | None = None) -> None:
    with pytest.raises(BundleError, match=said):
        check_adapter(folder, of or record())


@pytest.mark.parametrize("kept", [True, False])
def test_an_adapter_may_bring_a_head(kept: bool, tmp_path: Path) -> None:
    """To a model with a head of other classes, and to one without a head."""
    folder, own = adapter(tmp_path / "adapter"), record(kept=kept)
    check_whole(folder)
    manifest = check_adapter(folder, own)
    admit_adapter(manifest, own)
    assert manifest.facts.wire()["labels"] == list(CLASSES)


def test_a_manifest_without_a_new_head_is_that_of_before(tmp_path: Path) -> None:
    tensors = {name: value for name, value in values().items() if name in LORA}
    told = facts(outside=[])
    del told["labels"]
    folder = adapter(tmp_path / "adapter", tensors, told)
    assert "labels" not in check_adapter(folder, record()).facts.wire()


def test_a_manifest_holds_the_largest_head(tmp_path: Path) -> None:
    names = [f"{number:04}".ljust(47, "猫") + "é" for number in range(MAX_LABELS)]
    folder = adapter(tmp_path / "adapter", values(MAX_LABELS))
    (folder / MANIFEST).unlink()
    write(folder, tuple(names))
    check_adapter(folder, record())


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "control character": ({"labels": ["a", "b\x1b[2J"]}, "cannot be shown"),
    "line end": ({"labels": ["a", "b\nstatus: approved"]}, "cannot be shown"),
    "reversed": ({"labels": ["a", "b\u202e"]}, "cannot be shown"),
    "surrogate": ({"labels": ["a", "\ud800"]}, "not a valid manifest"),
    "two forms": ({"labels": ["a", "e\u0301"]}, "NFC"),
    "long": ({"labels": ["a", "b" * 101]}, "at most 100"),
    "5,000": ({"labels": [str(number) for number in range(5000)]}, "are 5000; 2 to 4096"),
    "one": ({"labels": ["a"]}, "are 1; 2 to 4096"),
    "twice": ({"labels": ["a", "b", "a"]}, "twice"),
    "no text": ({"labels": ["a", 3]}, "labels"),
    "no list": ({"labels": "ab"}, "labels"),
    "a map": ({"labels": {"0": "a", "1": "b"}}, "labels"),
    "no head": ({"outside": []}, "which outside does not name"),
    "fewer": ({"labels": ["a", "b"]}, "must be"),
    "more": ({"labels": ["a", "b", "c", "d"]}, "must be"),
    "none": ({"labels": []}, "lacks 2 tensors, among them 'head.bias.change'"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused(what: str, tmp_path: Path) -> None:
    over, said = HOSTILE[what]
    refused(adapter(tmp_path / "adapter", told=facts(**over)), said)


def put(name: str, value: Any) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: np.asarray(value, np.float32)})


def number(value: float) -> Callable[[Tensors], object]:
    return lambda tensors: tensors[WEIGHT].__setitem__((0, 0), value)


WRONG: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "nan": (number(np.nan), "not finite"),
    "infinite": (number(-np.inf), "not finite"),
    "huge": (number(1e30), "above 10000"),
    "huge and negative": (number(-1e30), "above 10000"),
    "turned": (lambda t: t.update({WEIGHT: t[WEIGHT].T.copy()}), WEIGHT),
    "other features": (put(WEIGHT, np.ones((3, FEATURES + 1))), WEIGHT),
    "a bias that is a matrix": (put(BIAS, np.ones((3, 1))), BIAS),
    "half": (lambda t: t.update({WEIGHT: t[WEIGHT].astype(np.float16)}), "F16"),
    "no bias": (lambda t: t.pop(BIAS), "lacks 1 tensors"),
    "no weight": (lambda t: t.pop(WEIGHT), "lacks 1 tensors"),
    "change too": (put("head.weight.change", np.ones((2, FEATURES))), "1 tensors too many"),
    "change instead": (
        lambda t: t.update({"head.weight.change": t.pop(WEIGHT)}),
        "lacks 1 tensors",
    ),
    "another head": (put("tail.weight.value", np.ones((3, FEATURES))), "1 tensors too many"),
    "value of a block": (put("blocks.0.mlp.weight.value", np.ones((4, 6))), "too many"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_hostile_head_is_refused(what: str, tmp_path: Path) -> None:
    change, said = WRONG[what]
    tensors = values()
    change(tensors)
    refused(adapter(tmp_path / "adapter", tensors), said)


def test_values_without_labels_are_refused(tmp_path: Path) -> None:
    refused(adapter(tmp_path / "adapter", told=facts(labels=[], outside=[])), "2 tensors too many")


def test_a_model_without_a_head_takes_none_without_labels(tmp_path: Path) -> None:
    tensors = {name: value for name, value in values().items() if name in LORA}
    folder = adapter(tmp_path / "adapter", tensors, facts(labels=[]))
    refused(folder, "changes head outside the blocks; allowed is nothing", record(kept=False))


def test_a_model_of_text_takes_no_head(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter")
    refused(folder, "changes head outside the blocks", record(None, kept=False))
    assert record(None, kept=False).head is None


def test_the_owner_may_allow_fewer_classes(tmp_path: Path) -> None:
    strict = record(OWN.model_copy(update={"max_labels": 2}))
    refused(adapter(tmp_path / "adapter"), "a head of 3 classes; 2 are allowed", strict)


def test_a_head_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter")
    manifest, _ = read_manifest(folder)
    large = {
        name: entry.model_copy(update={"size": 1 << 30}) for name, entry in manifest.files.items()
    }
    with pytest.raises(BundleError, match="are allowed at most"):
        admit_adapter(manifest.model_copy(update={"files": large}), record())


def test_a_record_with_a_head_is_read_as_it_was_written() -> None:
    assert read_record(canonical(record().wire())) == record()
    older = record().wire()
    del older["head"]
    assert read_record(canonical(older)).head is None


def test_a_new_head_changes_no_other() -> None:
    classifier = {Place(None, "classifier.weight"), Place(None, "classifier.bias")}
    assert record().reach().keys() >= classifier
    assert not record().with_new_head().reach().keys() & classifier


def test_a_new_head_is_handed_on_as_it_was_sent(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter")
    sent = NewHead.of_adapter(folder / ADAPTER, CLASSES)
    (tmp_path / "head").write_bytes(sent.content)
    read = NewHead.read(tmp_path / "head")
    assert read.labels == CLASSES
    assert np.array_equal(read.values["weight"], values()[WEIGHT])
    for name, tensor in stored(folder / ADAPTER):
        if name in (WEIGHT, BIAS):
            assert read.is_in(tensor, name.split(".")[1])


def job(head: Head | None = None, *, private: bool = False) -> Tune:
    content = {"bundle": "emulator", "data": {"train": "a.jsonl", "validation": "b.jsonl"}}
    tune = Tune.model_validate(content)
    privacy = Privacy(epsilon=8.0) if private else None
    adapter = tune.adapter.model_copy(update={"head": head})
    return tune.model_copy(update={"adapter": adapter, "privacy": privacy})


BARE = OWN.model_copy(update={"labels": ()})
CHOICES: dict[str, tuple[HeadRecord | None, Tune, set[str], tuple[str, ...]]] = {
    "text": (None, job(), {"x"}, ()),
    "the model's own classes": (OWN, job(), {"dog", "cat"}, ()),
    "some of the model's own": (OWN, job(), {"dog"}, ()),
    "one more": (OWN, job(), {"dog", "cat", "ant"}, ("ant", "cat", "dog")),
    "others": (OWN, job(), {"b", "a"}, ("a", "b")),
    "no head": (BARE, job(), {"dog", "cat"}, ("cat", "dog")),
    "named": (OWN, job(Head(labels=["z", "a"])), {"dog"}, ("z", "a")),
    "named, the model's own": (OWN, job(Head(labels=["cat", "dog"])), {"dog"}, ()),
    "named, in another order": (OWN, job(Head(labels=["dog", "cat"])), {"dog"}, ("dog", "cat")),
    "private": (OWN, job(private=True), {"dog", "a label of one patient"}, ()),
    "private, named": (BARE, job(Head(labels=["a", "b"]), private=True), {"a"}, ("a", "b")),
}


@pytest.mark.parametrize("what", CHOICES)
def test_which_head_an_adapter_has(what: str) -> None:
    head, asked, labels, wanted = CHOICES[what]
    assert classes_of(head, asked, labels) == wanted


@pytest.mark.parametrize("labels", [set(), {"a"}])
def test_labels_that_make_no_head_are_refused(labels: set[str]) -> None:
    with pytest.raises(DataError, match=r"tune\.data\.train: the labels, .* 2 to 4096 are allowed"):
        classes_of(BARE, job(), labels)


def spec(tune: Tune, workers: int = 1, sharding: str = "DDP") -> JobSpec:
    resources = Resources.model_validate({"workers": workers, "sharding": sharding})
    return JobSpec(stage="Tune", peer="lab", tune=tune, resources=resources)


NAMED = Head(labels=["a", "b", "c"])
REFUSED: dict[str, tuple[HeadRecord | None, JobSpec, str]] = {
    "a model of text": (
        None,
        spec(job(NAMED)),
        r"has no classification head; remove tune\.adapter",
    ),
    "too many classes": (
        OWN.model_copy(update={"max_labels": 2}),
        spec(job(NAMED)),
        "names 3 classes, but the peer accepts at most 2; name fewer",
    ),
    "private, and no head": (BARE, spec(job(private=True)), r"name all classes .*head\.labels"),
    "FSDP": (OWN, spec(job(), 2, "FSDP"), r"set spec\.resources\.sharding to DDP"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_have_such_a_head_is_refused_before_data_is_read(what: str) -> None:
    head, asked, said = REFUSED[what]
    assert asked.tune is not None
    with pytest.raises(InputError, match=said):
        check_head(record(head), asked, asked.tune)


ACCEPTED: tuple[tuple[HeadRecord | None, JobSpec], ...] = (
    (None, spec(job(), 2, "FSDP")),
    (OWN, spec(job(), 1, "FSDP")),
    (OWN, spec(job(private=True))),
    (BARE, spec(job(NAMED, private=True))),
    (BARE, spec(job(), 2)),
)


@pytest.mark.parametrize("case", range(len(ACCEPTED)))
def test_what_can_have_such_a_head_is_accepted(case: int) -> None:
    head, asked = ACCEPTED[case]
    assert asked.tune is not None
    check_head(record(head), asked, asked.tune)


def test_an_approver_sees_the_names_of_the_classes() -> None:
    assert list(head_facts([])) == []
    shown = {fact.name: fact.value for fact in head_facts(CLASSES)}
    assert shown == {
        "head": "new, with 3 classes",
        "head.labels": '"normal", "tumour", "tench, Tinca tinca"',
    }


def test_a_report_stays_small_whatever_the_classes() -> None:
    names = [f"{number:04}{'x' * 44}" for number in range(MAX_LABELS)]
    *_, shown = head_facts(names)
    assert shown.value.startswith('"0000xxx')
    assert shown.value.endswith(" and 4020 more")
    assert len(shown.value) < 4100
