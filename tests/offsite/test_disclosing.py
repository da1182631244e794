"""Emulators of one model, sent one after another: what all of them disclose together."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from offsite.api import Limits
from offsite.config import load_job
from offsite.emulator.layer_drop import Layout, drop_layers
from offsite.errors import BundleError, DisclosureError, InputError, StorageError
from offsite.events import Monitor
from offsite.exchange.home import peers_of, ring_path
from offsite.resources import Step
from offsite.sealing import load_ring
from offsite.sealing.ringfile import save_ring
from offsite.stages.pod import run_work
from offsite.stages.run import run_job
from offsite.steps.disclosing import refuse_lost
from offsite.steps.disclosures import Disclosures
from offsite.steps.pod import Pod
from offsite.steps.run import run_open, run_publish
from offsite.store import FolderStore
from offsite.store.artifact_store import FolderArtifactStore
from offsite.task import new_task
from offsite.wire import canonical
from offsite_testing.events import Wire, recording
from offsite_testing.parties import (
    ADAPTER,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    new_parties,
    plug_in,
    ring_of,
    seal,
    tune,
)
from offsite_testing.tiny import tiny_model

DEPTH = 12
CLINIC = "clinic"


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    """A lab that owns a model of twelve blocks, and knows two peers."""
    parties = new_parties(tmp_path / "parties", num_hidden_layers=DEPTH)
    public = canonical(ring_of(CLINIC).public().wire())
    peers_of(parties.home(LAB) / "home").add(public, CLINIC)
    return parties


def distill(
    keep: int, bottom: int = 1, top: int = 1, peer: str = HOSPITAL, model: str = "model"
) -> dict[str, Any]:
    """Write the spec of an emulator that holds its blocks as they are."""
    ends, emulator = {"bottom": bottom, "top": top}, {"blocks": keep, "heal": False}
    section = {"model": model, "ends": ends, "emulator": emulator}
    return {"stage": "Distill", "peer": peer, "distill": section}


def run(parties: Parties, name: str, spec: Mapping[str, Any], **over: Any) -> None:
    job = load_job(parties.write(name, spec))
    party = replace(parties.party(LAB), **over)
    run_job(job, party, parties.mailbox(LAB), Monitor(lambda event: None))


def records(parties: Parties, kept: str = "home") -> list[dict[str, Any]]:
    folder = parties.home(LAB) / kept / "records"
    return [json.loads(path.read_bytes()) for path in folder.glob("*.json")]


def sent(parties: Parties, kept: str = "home") -> set[int]:
    """Collect the blocks that were sent, as the records say."""
    return {b["full"] for record in records(parties, kept) for b in record["blocks"]}


def the_even_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let blocks be chosen as if nothing was sent before, and nobody look at what was."""
    uniform = Layout.uniform
    monkeypatch.setattr(
        "offsite.emulator.layer_drop.Layout.uniform", lambda *given: uniform(*given[:4])
    )
    monkeypatch.setattr("offsite.stages.distill.check_blocks", lambda *given: None)


def test_a_second_emulator_holds_what_the_first_one_disclosed(parties: Parties) -> None:
    for keep in (5, 6, 7):
        run(parties, f"emulator-{keep}", distill(keep, peer=CLINIC if keep == 6 else HOSPITAL))
    assert len(sent(parties)) == 7 + 2
    entries = sorted((parties.home(LAB) / "home/disclosed").iterdir())
    assert [path.name for path in entries] == ["000001.json", "000002.json", "000003.json"]


@pytest.mark.parametrize("other", [HOSPITAL, CLINIC])
def test_emulators_that_add_up_are_refused_for_any_recipient(
    parties: Parties, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the step that trains chooses is not asked: the step that sends looks again."""
    the_even_spread(monkeypatch)
    run(parties, "emulator-5", distill(5))
    with pytest.raises(DisclosureError, match=r"of 10 middle blocks would be disclosed"):
        run(parties, "emulator-8", distill(8, peer=other))
    assert len(records(parties)) == 1
    assert not list((parties.exchange / LAB / other).glob("emulator-8/*/*"))
    monkeypatch.undo()
    # nothing is left that would be sent when it is run again
    run(parties, "emulator-8", distill(8, peer=other))
    assert len(sent(parties)) == 8 + 2


def test_ends_that_add_up_are_refused_before_anything_is_made(parties: Parties) -> None:
    run(parties, "emulator-a", distill(4, bottom=5, top=1))
    with pytest.raises(DisclosureError, match=r"ends.top: .* 10 of 12 blocks would be disclosed"):
        run(parties, "emulator-b", distill(4, bottom=1, top=5, peer=CLINIC))
    run(parties, "emulator-c", distill(4, bottom=5, top=1, peer=CLINIC))


def reconfigured(copy: Path, **over: Any) -> None:
    config = json.loads((copy / "config.json").read_bytes())
    (copy / "config.json").write_text(json.dumps({**config, **over}))


def reblocked(copy: Path, order: list[int], moved: float = 0.0) -> None:
    """Put blocks of a model together anew; the last one can be moved away from what it was."""
    path, prefix = copy / "model.safetensors", "model.layers."
    tensors = load_file(path)
    made = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
    for place, full in enumerate(order):
        for name in (n for n in tensors if n.startswith(f"{prefix}{full}.")):
            own = name.removeprefix(f"{prefix}{full}.")
            change = moved if place == len(order) - 1 else 0
            made[f"{prefix}{place}.{own}"] = tensors[name] + change
    save_file(made, path, {"format": "pt"})
    reconfigured(copy, num_hidden_layers=len(order))


def cast(copy: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32)
    nn.Module.to(model, torch.bfloat16)
    (copy / "model.safetensors").unlink()
    model.save_pretrained(copy, max_shard_size="30KB")


def tuned(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    torch.manual_seed(0)
    for name in (n for n, t in tensors.items() if t.dim() > 1):
        tensors[name] += 0.3 * tensors[name].std() * torch.randn_like(tensors[name])
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})


CHANGES: dict[str, Callable[[Path], None]] = {
    "another name": lambda copy: None,
    "another config": lambda copy: reconfigured(copy, rms_norm_eps=2e-6),
    "float32 is bfloat16": cast,
    "every matrix is tuned": tuned,
    "one more block": lambda copy: reblocked(copy, [*range(DEPTH), DEPTH - 1], moved=1.0),
    "one block less": lambda copy: reblocked(copy, [n for n in range(DEPTH) if n != DEPTH // 2]),
}


def copied(parties: Parties, how: str) -> str:
    """Copy the model, and change the copy; gives where to."""
    copy = parties.home(LAB) / "copy"
    shutil.copytree(parties.home(LAB) / "model", copy)
    CHANGES[how](copy)
    return "copy"


@pytest.mark.parametrize(
    ("how", "keep"), [(how, 7 if how == "one block less" else 8) for how in CHANGES]
)
def test_a_copy_is_the_same_model(
    parties: Parties, how: str, keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_even_spread(monkeypatch)
    run(parties, "emulator-a", distill(6))
    with pytest.raises(DisclosureError, match=r"middle blocks would be disclosed"):
        run(parties, "emulator-b", distill(keep, model=copied(parties, how)))


@pytest.mark.parametrize("chain", [(torch.float16,), (torch.float16, torch.bfloat16)])
def test_two_casts_of_one_master_are_one_model(
    parties: Parties, chain: tuple[torch.dtype, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is a cast of the other."""
    home = parties.home(LAB)
    master = load_file(home / "model/model.safetensors")
    for name, chosen in (("brain", (torch.bfloat16,)), ("half", chain)):
        shutil.copytree(home / "model", home / name)
        values = {n: reduce(torch.Tensor.to, chosen, t) for n, t in master.items()}
        save_file(values, home / name / "model.safetensors", {"format": "pt"})
    the_even_spread(monkeypatch)
    run(parties, "emulator-a", distill(5, model="brain"))
    with pytest.raises(DisclosureError, match=r"of 10 middle blocks would be disclosed"):
        run(parties, "emulator-b", distill(8, peer=CLINIC, model="half"))
    monkeypatch.undo()
    run(parties, "emulator-b", distill(8, peer=CLINIC, model="half"))
    assert len(sent(parties)) == 8 + 2


def test_a_model_that_has_nothing_to_do_with_it_is_another_one(parties: Parties) -> None:
    run(parties, "emulator-a", distill(8))
    home = parties.home(LAB)
    shutil.copytree(home / "model", home / "another")
    made = tiny_model("llama", seed=7, vocab_size=288, num_hidden_layers=DEPTH)
    made.save_pretrained(home / "another")
    spec = distill(4, bottom=5, top=1)
    with pytest.raises(DisclosureError, match="would be disclosed"):
        run(parties, "emulator-b", spec)
    spec["distill"]["model"] = "another"
    run(parties, "emulator-b", spec)


def test_a_model_that_a_peer_tuned_is_the_one_that_it_was_made_from(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares no block with what was sent, but has those that were not as they are."""
    run(parties, "emulator-a", distill(6))
    parties.run(ADAPTER, tune(steps=8, bundle="emulator-a"))
    parties.run(PLUGGED, plug_in())
    shutil.copytree(parties.home(LAB) / "home/models" / PLUGGED, parties.home(LAB) / "tuned")
    the_even_spread(monkeypatch)
    with pytest.raises(DisclosureError, match=r"10 of 10 middle blocks would be disclosed"):
        run(parties, "emulator-b", distill(8, model="tuned"))
    assert len(sent(parties)) == 6 + 2


def test_a_trained_block_counts_as_the_one_that_it_was_made_from(parties: Parties) -> None:
    spec = distill(5)
    size = {"batchSize": 2, "blockSize": 16}
    spec["distill"]["training"] = {"corpus": "corpus.txt", "steps": 2, **size}
    run(parties, "emulator-a", spec)
    run(parties, "emulator-b", distill(6))
    assert len(sent(parties)) == 6 + 2


def test_what_earlier_versions_sent_counts(parties: Parties) -> None:
    run(parties, "emulator-a", distill(5))
    before, home = sent(parties), parties.home(LAB) / "home"
    shutil.rmtree(home / "disclosed")
    [record] = (home / "records").glob("*.json")
    content = json.loads(record.read_bytes())
    del content["entry"]
    record.write_bytes(canonical(content))
    run(parties, "emulator-b", distill(6))
    assert len(sent(parties)) == len(before) + 1


def test_a_home_that_has_forgotten_what_it_sent_sends_nothing_more(parties: Parties) -> None:
    """A backup from before, or a new private store: the exchange has what was sent."""
    run(parties, "emulator-a", distill(5))
    home = parties.home(LAB) / "home"
    for name in ("disclosed", "records", "published"):
        shutil.rmtree(home / name)
    with pytest.raises(InputError, match=r"emulator-a was sent to hospital .* restore the private"):
        run(parties, "emulator-b", distill(5, peer=CLINIC))


def test_what_a_revoked_key_signed_is_not_forgotten(parties: Parties) -> None:
    run(parties, "emulator-a", distill(5))
    home = parties.home(LAB) / "home"
    ring = load_ring(ring_path(home), None)
    [old] = (entry for entry in ring.entries if entry.purpose == "sign")
    save_ring(ring.rotated(timedelta(hours=1)).revoked(old.id), ring_path(home))
    for name in ("disclosed", "records"):
        shutil.rmtree(home / name)
    ledger = Disclosures(FolderArtifactStore(home))
    with pytest.raises(InputError, match=r"emulator-a was sent to hospital .* restore the private"):
        refuse_lost(parties.mailbox(LAB), ledger, Monitor(lambda event: None))


def test_forged_objects_of_a_store_do_not_block_a_job(parties: Parties) -> None:
    folder = parties.exchange / LAB / HOSPITAL / "emulator-a/1"
    folder.mkdir(parents=True)
    content = b"{}"
    (folder / f"envelope-{sha256(content).hexdigest()}").write_bytes(content)
    ledger, events = Disclosures(FolderArtifactStore(parties.home(LAB) / "home")), list[Wire]()
    refuse_lost(parties.mailbox(LAB), ledger, Monitor(recording(events)))
    [event] = events
    assert "1 envelopes below" in str(event)
    assert "emulator-a" in str(event) or "cannot read the envelope" in str(event)


def test_a_missing_entry_blocks_further_emulators(parties: Parties) -> None:
    run(parties, "emulator-a", distill(5))
    (parties.home(LAB) / "home/disclosed/000001.json").unlink()
    with pytest.raises(InputError, match=r"lacks the entry of emulator-a"):
        run(parties, "emulator-b", distill(5))


def test_what_was_entered_and_not_sent_is_sent_without_another_entry(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = FolderStore.put

    def refuse(store: FolderStore, key: str, content: bytes) -> None:
        if "envelope-" in key:
            raise StorageError("the store is away")
        put(store, key, content)

    monkeypatch.setattr(FolderStore, "put", refuse)
    with pytest.raises(StorageError):
        run(parties, "emulator-a", distill(5))
    monkeypatch.undo()
    run(parties, "emulator-a", distill(5))
    entries = list((parties.home(LAB) / "home/disclosed").iterdir())
    assert len(entries) == 1
    assert len({record["entry"] for record in records(parties)}) == 1


@dataclass
class Pods:
    """The lab's steps, each in a pod of its own, on a private store that they share."""

    parties: Parties
    limits: Limits = field(default_factory=Limits)
    events: list[Wire] = field(default_factory=list)

    @property
    def private(self) -> Path:
        return self.parties.home(LAB) / "private"

    def run(self, step: Step, name: str, spec: Mapping[str, Any], **over: Any) -> None:
        keys, peer = step != "Work", spec["peer"]
        located = json.loads(json.dumps(spec))
        model = self.parties.home(LAB) / located["distill"]["model"]
        located["distill"]["model"] = model.as_uri()
        given = {
            "uid": name,
            "party": LAB,
            "peer_id": peer,
            "private": self.private.as_uri(),
            "job": load_job(self.parties.write(name, located)),
            "limits": self.limits,
        }
        if keys:
            given["public"] = canonical(ring_of(peer).public().wire()).decode()
            given["exchange"] = self.parties.exchange.as_uri()
        if step == "Publish":
            given["sequence"] = 1
        scratch = self.parties.root / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        environ = {"OFFSITE_SCRATCH": str(scratch)}
        if keys:
            environ["OFFSITE_RING"] = str(ring_path(self.parties.home(LAB) / "home"))
        steps: dict[str, Any] = {"Open": run_open, "Work": run_work, "Publish": run_publish}
        task = new_task(step=step, **{**given, **over})
        steps[step](Pod(task, environ), Monitor(recording(self.events)))

    def run_all(self, name: str, spec: Mapping[str, Any]) -> None:
        for step in ("Open", "Work", "Publish"):
            self.run(step, name, spec)


@pytest.fixture
def pods(parties: Parties) -> Pods:
    return Pods(parties)


def test_pods_bound_what_all_jobs_disclose(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    for keep in (5, 6, 7):
        pods.run_all(f"emulator-{keep}", distill(keep, peer=CLINIC if keep == 6 else HOSPITAL))
    assert len(sent(pods.parties, "private")) == 7 + 2
    the_even_spread(monkeypatch)
    pods.run("Open", "emulator-8", distill(8))
    pods.run("Work", "emulator-8", distill(8))
    with pytest.raises(DisclosureError, match=r"10 middle blocks would be disclosed"):
        pods.run("Publish", "emulator-8", distill(8))
    assert not list((pods.private / "work").glob("emulator-8/result"))
    monkeypatch.undo()
    pods.run_all("emulator-8", distill(8))
    assert len(sent(pods.parties, "private")) == 8 + 2


def test_a_job_holds_to_the_blocks_that_it_chose_first(pods: Pods) -> None:
    """Another attempt goes on from a checkpoint, which is of those blocks."""
    pods.run("Open", "emulator-5", distill(5))
    given = pods.private / "work/emulator-5/given/disclosed.json"
    before = given.read_bytes()
    pods.run_all("emulator-6", distill(6))
    pods.run("Open", "emulator-5", distill(5))
    assert given.read_bytes() == before


def test_the_image_that_trains_learns_nothing_of_peers(pods: Pods) -> None:
    pods.run_all("emulator-5", distill(5, peer=CLINIC))
    pods.run("Open", "emulator-6", distill(6))
    given = (pods.private / "work/emulator-6/given/disclosed.json").read_text()
    assert CLINIC not in given
    assert "emulator-5" not in given


def forge(pods: Pods, name: str, blocks: list[int]) -> None:
    """Say that a result is made of other blocks, as an image can that an author chose."""
    note = pods.private / "work" / name / "notes/record.json"
    content = json.loads(note.read_bytes())
    for told, full in zip(content["blocks"], blocks, strict=True):
        told["full"] = full
    note.write_bytes(canonical(content))


def test_blocks_that_are_not_those_of_the_record_are_found_out(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods.run_all("emulator-5", distill(5))
    [first] = records(pods.parties, "private")
    the_even_spread(monkeypatch)
    monkeypatch.setattr(
        "offsite.emulator.layer_drop.Layout.uniform",
        lambda *given: Layout(1, 1, (0, 2, 4, 5, 7, 9, 11)),
    )
    for step in ("Open", "Work"):
        pods.run(step, "another", distill(5))
    forge(pods, "another", [block["full"] for block in first["blocks"]])
    with pytest.raises(BundleError, match=r"of block . is not that of block . of .* image"):
        pods.run("Publish", "another", distill(5))
    forge(pods, "another", [0, 1, 2, 3, 4, 5, 11])
    with pytest.raises(BundleError, match=r"of block . is not that of block . of"):
        pods.run("Publish", "another", distill(5))
    for wrong in ([1, 2, 4, 5, 7, 9, 11], [0, 2, 2, 5, 7, 9, 11], [0, 2, 4, 5, 7, 9, 12]):
        forge(pods, "another", wrong)
        with pytest.raises(BundleError, match="the blocks of the emulator"):
            pods.run("Publish", "another", distill(5))
    forge(pods, "another", [0, 2, 4, 5, 7, 9, 11])
    with pytest.raises(DisclosureError, match=r"9 of 10 middle blocks would be disclosed"):
        pods.run("Publish", "another", distill(5))


def test_more_blocks_than_the_job_asks_for_are_not_sent(pods: Pods) -> None:
    for step in ("Open", "Work"):
        pods.run(step, "another", distill(5))
    with pytest.raises(BundleError, match="the blocks of the emulator"):
        pods.run("Publish", "another", distill(4))


def test_a_tensor_that_was_tampered_with_is_found_out(pods: Pods) -> None:
    for step in ("Open", "Work"):
        pods.run(step, "another", distill(5))
    folder = pods.private / "work/another/result"
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.3.mlp.up_proj.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    seal(folder)
    with pytest.raises(BundleError, match=r"mlp.up_proj.weight of block 3 is not that of block"):
        pods.run("Publish", "another", distill(5))


def test_a_dropped_block_in_the_token_table_is_found_out(pods: Pods) -> None:
    for step in ("Open", "Work"):
        pods.run(step, "another", distill(5))
    folder = pods.private / "work/another/result"
    tensors = load_file(folder / "model.safetensors")
    full = load_file(pods.parties.home(LAB) / "model/model.safetensors")
    hidden = full["model.layers.3.mlp.gate_proj.weight"]
    tensors["model.embed_tokens.weight"][: len(hidden)] = hidden
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    seal(folder)
    with pytest.raises(BundleError, match=r"embed_tokens.weight is not that of the model"):
        pods.run("Publish", "another", distill(5))


def test_a_trained_block_that_is_another_one_is_found_out(
    parties: Parties, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What training changes cannot be compared; a block that was dropped is known again."""
    spec = distill(5)
    size = {"batchSize": 2, "blockSize": 16, "learningRate": 1e-30}
    spec["distill"]["training"] = {"corpus": "corpus.txt", "steps": 1, **size}
    other = Layout(1, 1, (0, 1, 2, 4, 5, 7, 11))
    monkeypatch.setattr(
        "offsite.emulator.layer_drop.drop_layers", lambda model, layout: drop_layers(model, other)
    )
    with pytest.raises(BundleError, match=r"holds a matrix of block . of the model, and is said"):
        run(parties, "emulator-a", spec)
