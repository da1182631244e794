"""What a pod that trains, or one that outlived its attempt, may leave for the steps with keys.

It may write whatever it likes below `work/<uid>`, and reaches nothing else: so its only way to the
keys of its party is a step that has them.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from offsite.bundle import ADAPTER as CHANGES
from offsite.bundle import MANIFEST
from offsite.errors import BundleError, InputError
from offsite.exchange.home import ring_path
from offsite.resources import Step
from offsite.steps import publishing, results
from offsite.task import Jobs
from offsite.wire import now
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    listing,
    new_parties,
    plug_in,
    seal,
)
from offsite_testing.pods import JOBS, Pods

pytestmark = pytest.mark.timeout(600)

UID = {EMULATOR: "uid-e2", ADAPTER: "uid-a2", PLUGGED: "uid-p2"}
OWNER = {EMULATOR: LAB, ADAPTER: HOSPITAL, PLUGGED: LAB}
SPECS = JOBS | {PLUGGED: plug_in()}
WEIGHTS = {EMULATOR: "model.safetensors", ADAPTER: CHANGES, PLUGGED: "model.safetensors"}
Attack = Callable[[Path, str, Path], object]
"""Attacks `work/<uid>`, given the file of the weights and the folder of the keys."""


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    """All three stages are done, and done once more but for their last step."""
    pods = Pods(new_parties(tmp_path_factory.mktemp("worked")))
    for name, spec in JOBS.items():
        pods.run_all(name, spec)
    for name, spec in SPECS.items():
        for step in ("Open", "Work"):
            pods.run(step, name, spec, uid=UID[name])
    return pods


@pytest.fixture
def pods(worked: Pods, tmp_path: Path) -> Iterator[Pods]:
    root = tmp_path / "copy"
    shutil.copytree(worked.parties.root, root, ignore=lambda *_: ["scratch"])
    yield Pods(Parties(root))
    shutil.rmtree(root)


def work_of(pods: Pods, name: str) -> Path:
    return pods.private(OWNER[name]) / "work" / UID[name]


def keys_of(pods: Pods, name: str) -> Path:
    return ring_path(pods.parties.home(OWNER[name]) / "home")


def run(pods: Pods, step: Step, name: str, **over: Any) -> None:
    sends = step == "Publish" and name != PLUGGED
    given = {"uid": UID[name], **({"sequence": 2} if sends else {})}
    pods.run(step, name, SPECS[name], **(given | over))


def publish(pods: Pods, name: str, **over: Any) -> None:
    run(pods, "Publish", name, **over)


def outside(pods: Pods) -> dict[str, str]:
    """What others may read: the exchange, and the models that were exported."""
    there = {"exchange": pods.parties.exchange, "models": pods.private(LAB) / "models"}
    return {f"{k}/{n}": d for k, each in there.items() for n, d in listing(each).items()}


def put(path: Path, content: bytes) -> None:
    """Write a file, and have the manifest name it if there is one."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    reseal(path.parent)


def reseal(result: Path, **over: Any) -> None:
    if (result / MANIFEST).exists():
        seal(result, **over)


def link(path: Path, to: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def hard_link(path: Path, to: Path) -> None:
    path.unlink(missing_ok=True)
    os.link(to, path)
    reseal(path.parent)


def folder_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere", target_is_directory=True)


def tensors(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = load_file(path)
    change(found)
    with safe_open(path, "numpy") as old:
        save_file(found, path, metadata=old.metadata())
    reseal(path.parent)


def surplus(found: dict[str, Any]) -> None:
    found["ring"] = np.zeros(3, np.float32)


def wider(found: dict[str, Any]) -> None:
    name = max(found)
    found[name] = np.zeros((3, *found[name].shape), found[name].dtype)


def said(path: Path, **over: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | over))
    reseal(path.parent)


ATTACKS: dict[str, Attack] = {
    "a link to the keys": lambda work, file, keys: link(work / "result" / file, keys),
    "a link beside the rest": lambda work, file, keys: link(work / "result/more.json", keys),
    "a link that is the listing": lambda work, file, keys: link(work / "result/config.json", keys),
    "a folder that is a link": lambda work, file, keys: folder_link(work / "result"),
    "a pipe": lambda work, file, keys: pipe(work / "result" / file),
    "a pipe beside the rest": lambda work, file, keys: pipe(work / "result/more.json"),
    "a hard link to the keys": lambda work, file, keys: hard_link(work / "result" / file, keys),
    "a folder in it": lambda work, file, keys: (work / "result/more.json").mkdir(),
    "a note that is a link": lambda work, file, keys: link(work / "notes/attempt", keys),
    "notes behind a link": lambda work, file, keys: folder_link(work / "notes"),
    "a tensor more": lambda work, file, keys: tensors(work / "result" / file, surplus),
    "a tensor of another shape": lambda work, file, keys: tensors(work / "result" / file, wider),
    "what is no tensor": lambda work, file, keys: put(work / "result" / file, keys.read_bytes()),
    "nothing": lambda work, file, keys: shutil.rmtree(work / "result"),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_result_is_neither_sealed_nor_exported(
    pods: Pods, attack: str, name: str
) -> None:
    before, keys = outside(pods), keys_of(pods, name)
    secret = keys.read_bytes()
    ATTACKS[attack](work_of(pods, name), WEIGHTS[name], keys)
    with pytest.raises(InputError):
        publish(pods, name)
    assert outside(pods) == before
    assert keys.read_bytes() == secret


@pytest.mark.parametrize("name", SPECS)
def test_a_result_without_end_is_not_copied(pods: Pods, name: str) -> None:
    os.truncate(work_of(pods, name) / "result" / WEIGHTS[name], 1 << 31)
    with pytest.raises(InputError, match="is larger than the"):
        publish(pods, name)


SAYS: dict[str, tuple[str, Attack]] = {
    "made for another": (ADAPTER, lambda work, *_: reseal(work / "result", madeFor="clinic")),
    "made by another": (EMULATOR, lambda work, *_: reseal(work / "result", madeBy="clinic")),
    "of another name": (EMULATOR, lambda work, *_: reseal(work / "result", name="other")),
    "an answer to another": (ADAPTER, lambda work, *_: facts(work, answers="sha256:" + "1" * 64)),
    "of another architecture": (
        ADAPTER,
        lambda work, *_: reseal(work / "result", architecture="GPT2LMHeadModel"),
    ),
    "of another dtype": (ADAPTER, lambda work, *_: reseal(work / "result", dtype="bfloat16")),
    "of another rank": (ADAPTER, lambda work, *_: facts(work, rank=8)),
    "of other ends": (EMULATOR, lambda work, *_: facts(work, bottom=2)),
    "never trained": (EMULATOR, lambda work, *_: facts(work, distilledSteps=0)),
    "of other blocks": (EMULATOR, lambda work, *_: blocks(work, [0, 2, 1, 3])),
    "of its ends alone": (EMULATOR, lambda work, *_: blocks(work, [0, 1, 2, 4])),
    "of fewer ends": (EMULATOR, lambda work, *_: ends(work, 3)),
    "of an end more": (EMULATOR, lambda work, *_: ends(work, 0, 1, 3)),
    "of no blocks": (EMULATOR, lambda work, *_: blocks(work, [])),
    "notes of another kind": (EMULATOR, lambda work, *_: put(work / "notes/record.json", b"{")),
    "an adapter beside it": (
        PLUGGED,
        lambda work, *_: put(work / "result/adapter_config.json", b"{}"),
    ),
}


def facts(work: Path, **over: Any) -> None:
    told = json.loads((work / "result" / MANIFEST).read_bytes())["facts"]
    reseal(work / "result", facts=told | over)


def config(work: Path, **over: Any) -> None:
    said(work / "result/config.json", **over)


def blocks(work: Path, full: list[int]) -> None:
    made = [{"full": each, "end": place in (0, 3)} for place, each in enumerate(full)]
    said(work / "notes/record.json", blocks=made)


def ends(work: Path, *places: int) -> None:
    """Say of other blocks than the job's that they were sent as they are."""
    path = work / "notes/record.json"
    told = json.loads(path.read_bytes())["blocks"]
    made = [each | {"end": place in places} for place, each in enumerate(told)]
    said(path, blocks=made)


@pytest.mark.parametrize("what", SAYS)
def test_a_manifest_is_compared_with_its_job(pods: Pods, what: str) -> None:
    name, attack = SAYS[what]
    before = outside(pods)
    attack(work_of(pods, name), WEIGHTS[name], keys_of(pods, name))
    with pytest.raises(InputError):
        publish(pods, name)
    assert outside(pods) == before


def test_what_the_training_notes_of_an_emulator_changes_nothing_but_its_blocks(pods: Pods) -> None:
    note = work_of(pods, EMULATOR) / "notes/record.json"
    blocks = json.loads(note.read_bytes())["blocks"]
    said(
        note,
        recipient="clinic",
        bundle="other",
        modelDigest="sha256:" + "0" * 64,
        maxRank=1000,
        allowed=[["Blocks", "All"]],
        grant={"maxUses": 10**6, "expires": None},
        blocks=[{**block, "tensors": {}, "linears": {}} for block in blocks],
        outside={"head.weight": {"tensor": "lm_head.weight", "shape": [1, 1]}},
    )
    (first,) = (pods.private(LAB) / "records").iterdir()
    publish(pods, EMULATOR)
    (second,) = (p for p in (pods.private(LAB) / "records").iterdir() if p != first)
    one, other = (json.loads(path.read_bytes()) for path in (first, second))
    # each has an envelope, and an entry in the ledger, of its own
    assert one | {key: other[key] for key in ("digest", "entry")} == other


def test_a_manifest_of_an_earlier_image_is_sent(pods: Pods) -> None:
    """What trains may be an image of an earlier version."""
    path = work_of(pods, EMULATOR) / "result/manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["facts"]["parameters"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="is not what the job requests"):
        publish(pods, EMULATOR)
    path.write_text(json.dumps({**manifest, "format": 1}))
    publish(pods, EMULATOR)


def test_a_part_of_a_tensor_that_the_method_does_not_make_is_refused(pods: Pods) -> None:
    """What is said to be a part is not compared with the model's tensor, so it has to be one."""
    note = work_of(pods, EMULATOR) / "notes/record.json"
    blocks = json.loads(note.read_bytes())["blocks"]
    blocks[1]["index"] = {"mlp.up_proj.weight": {"rows": [1, 0], "columns": None}}
    said(note, blocks=blocks)
    with pytest.raises(BundleError, match="LayerDrop"):
        publish(pods, EMULATOR)


def test_what_was_checked_is_what_is_sealed(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod that trained still runs, and changes the result between the check and its use."""
    work, keys = work_of(pods, ADAPTER), keys_of(pods, ADAPTER)
    made = (work / "result" / CHANGES).read_bytes()
    check = results.check_answer

    def swapped(*arguments: Any) -> str:
        found = check(*arguments)
        link(work / "result" / CHANGES, keys)
        return found

    monkeypatch.setattr(publishing, "check_answer", swapped)
    publish(pods, ADAPTER)
    assert (pods.parties.opened(ADAPTER) / CHANGES).read_bytes() == made


def test_companion_files_come_from_the_original_model(pods: Pods) -> None:
    model = pods.parties.home(LAB) / "model"
    (model / "LICENSE").write_text("the owner's own")
    result, keys = work_of(pods, PLUGGED) / "result", keys_of(pods, PLUGGED)
    put(result / "LICENSE", keys.read_bytes())
    put(result / "tokenizer.json", b"{}")
    put(result / "modeling_evil.py", b"import os")
    publish(pods, PLUGGED)
    exported = pods.private(LAB) / "models" / PLUGGED
    assert (exported / "LICENSE").read_text() == "the owner's own"
    assert (exported / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()
    assert not (exported / "modeling_evil.py").exists()


def test_the_config_comes_from_the_original_model(pods: Pods) -> None:
    """It says what the weights compute as much as they do."""
    over = {"rms_norm_eps": 0.5, "num_hidden_layers": 3, "auto_map": {"AutoModel": "evil.Model"}}
    config(work_of(pods, PLUGGED), **over)
    publish(pods, PLUGGED)
    exported = pods.private(LAB) / "models" / PLUGGED
    own = pods.parties.home(LAB) / "model/config.json"
    assert (exported / "config.json").read_bytes() == own.read_bytes()


def scaled(name: str, factor: float) -> Attack:
    def change(found: dict[str, Any]) -> None:
        found[name] = (found[name] * factor).astype(found[name].dtype)

    return lambda work, file, keys: tensors(work / "result" / file, change)


PLUGS: dict[str, tuple[str, Attack]] = {
    "a weight of the adapter's": (
        r"adapter adapter changes mlp.down_proj.weight of block 0 by .* \(maxChange\)",
        scaled("model.layers.0.mlp.down_proj.weight", 1e4),
    ),
    "a norm": (
        "input_layernorm.weight is not that of the model",
        scaled("model.layers.0.input_layernorm.weight", 1.5),
    ),
    "the token table": (
        "embed_tokens.weight is not that of the model",
        scaled("model.embed_tokens.weight", 1.5),
    ),
    "a block that the peer never had": (
        "layers.2.mlp.down_proj.weight is not that of the model",
        scaled("model.layers.2.mlp.down_proj.weight", 1.5),
    ),
}


@pytest.mark.parametrize("what", PLUGS)
def test_what_else_was_changed_in_a_model_is_not_exported(pods: Pods, what: str) -> None:
    """Whoever chose the image of the step that plugs in has no say in what is signed."""
    said, attack = PLUGS[what]
    before = outside(pods)
    attack(work_of(pods, PLUGGED), WEIGHTS[PLUGGED], keys_of(pods, PLUGGED))
    with pytest.raises(InputError, match=said):
        publish(pods, PLUGGED)
    assert outside(pods) == before


def test_a_model_that_is_another_one_by_then_is_compared_with_nothing(pods: Pods) -> None:
    model = pods.parties.home(LAB) / "model/model.safetensors"
    tensors(model, lambda found: found["model.norm.weight"].fill(2))
    with pytest.raises(InputError, match=r"model has changed since .* began"):
        publish(pods, PLUGGED)


def test_a_link_beside_a_model_on_a_claim_leads_nowhere_out_of_it(pods: Pods) -> None:
    """Whoever may write to the claim of a model has no keys either."""
    claims = pods.parties.root / "claims"
    shutil.copytree(pods.parties.home(LAB) / "model", claims / "own/model")
    (claims / "own/blobs").mkdir()
    (claims / "own/blobs/licence").write_text("free")
    (claims / "own/model/LICENSE").symlink_to("../blobs/licence")
    section = {"model": "pvc://own/model", "adapter": ADAPTER}
    spec = {"stage": "PlugIn", "peer": HOSPITAL, "plugIn": section}
    steps: tuple[Step, ...] = ("Open", "Work", "Publish")
    for step in steps:
        pods.run(step, PLUGGED, spec, uid="claimed")
    assert (pods.private(LAB) / "models" / PLUGGED / "LICENSE").read_text() == "free"
    shutil.rmtree(pods.private(LAB) / "models")
    for step in steps[:2]:
        pods.run(step, PLUGGED, spec, uid="again")
    link(claims / "own/model/LICENSE", keys_of(pods, PLUGGED))
    with pytest.raises(InputError, match="LICENSE links out of"):
        pods.run("Publish", PLUGGED, spec, uid="again")
    assert not (pods.private(LAB) / "models").exists()


def test_what_the_training_did_to_what_was_opened_changes_no_check(pods: Pods) -> None:
    work = work_of(pods, ADAPTER)
    said(work / "opened/config.json", hidden_size=8192)
    shutil.rmtree(work / "given")
    publish(pods, ADAPTER)
    assert pods.parties.envelope(ADAPTER).header.sequence == 2


FOLDERS = ("opened", "given", "notes", "result", ".opened.partial", "checkpoint-0123456789ab")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", [ADAPTER, PLUGGED])
def test_who_hands_on_writes_and_deletes_behind_no_link(pods: Pods, name: str, folder: str) -> None:
    """It is what an earlier attempt left: the first step comes again, or the last one tidies up."""
    private, work = pods.private(OWNER[name]), work_of(pods, name)
    victim = private / "records"
    victim.mkdir(exist_ok=True)
    (victim / "precious.json").write_text("{}")
    before = listing(victim)
    shutil.rmtree(work / folder, ignore_errors=True)
    (work / folder).symlink_to(victim, target_is_directory=True)
    for step in ("Open", "Work", "Publish"):
        with suppress(InputError):
            run(pods, step, name)
        assert listing(victim) == before


def test_what_is_swept_is_no_folder_behind_a_link(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, victim = pods.private(HOSPITAL), pods.private(HOSPITAL) / "records"
    victim.mkdir(exist_ok=True)
    (victim / "precious.json").write_text("{}")
    (private / "work/gone/notes").mkdir(parents=True)
    (private / "work/gone/result").symlink_to(victim, target_is_directory=True)
    (private / "work/gone/notes/attempt").symlink_to(victim / "precious.json")
    monkeypatch.setattr("offsite.steps.handover._LEFT", -timedelta(hours=1))
    publish(pods, ADAPTER, jobs=Jobs(uids=(UID[ADAPTER],), listed=now()))
    assert not (private / "work/gone").is_symlink()
    assert not (private / "work/gone").exists()
    assert (victim / "precious.json").read_text() == "{}"
