"""All stages in one process: their events, their results, and what each party needs."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from offsite.api import Limits
from offsite.bundle import ADAPTER as ADAPTER_FILE
from offsite.bundle import AdapterFacts, check_adapter, check_emulator
from offsite.config import load_job, parse_job
from offsite.errors import (
    BundleError,
    DataError,
    DiskFullError,
    InputError,
    InterruptedStage,
    ModelError,
    SpecError,
)
from offsite.events import Event, Monitor, Progress
from offsite.exchange import FailedJob, send_notice
from offsite.inspection import SIGNS
from offsite.modality.text.examples import TextExample, pair
from offsite.rows import DataFile
from offsite.sealing import Notice, open_notice
from offsite.stages.evaluation import Reported
from offsite.stages.judging import check_accepted
from offsite.stages.run import run_job
from offsite.steps.inputs import inputs_of
from offsite.steps.party import POLICY
from offsite.steps.places import data_digest, model_digest
from offsite.steps.workspace import workspace
from offsite.store import FolderStore, disk_errors
from offsite.training.evaluate import mean_loss
from offsite_testing.events import Wire, recording
from offsite_testing.jobs import FILES
from offsite_testing.models import tiny_tokenizer
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HEAD,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    distill,
    introduce,
    listing,
    new_parties,
    plug_in,
    tune,
)

TUNED = [f"inspection_{sign}" for sign in (*SIGNS, "crossed")]
TUNED += ["log", "emulator_zero_shot", "emulator_tuned"]
TUNED += ["validation_before", "validation_after", "silent_rows", "row_ratio"]
"""The figures of every adapter are reported before it is published; the log names the emulator."""
JUDGED = ["log"] * 4 + ["largest_change", "median_change"]
"""Log and metrics of an adapter: a line for each block that it changes, and two figures."""
EXAMPLES = [path for path in FILES if path.parent.name == "examples"]
"""The jobs of a laptop."""


def kinds(events: list[Wire]) -> list[str]:
    """Name the events after the first that are no progress, in order."""
    assert events[0]["event"] == "started"
    return [
        str(event.get("setting", event["event"]))
        for event in events[1:]
        if event["event"] != "progress"
    ]


def phases(events: list[Wire]) -> set[str]:
    """List the phases that reported progress."""
    return {event["phase"] for event in events if event["event"] == "progress"}


def metrics(events: list[Wire]) -> dict[str, Wire]:
    """Find the metrics by what was measured."""
    return {event["setting"]: event for event in events if event["event"] == "metric"}


def artifact(events: list[Wire]) -> Wire:
    """Find the one artifact."""
    (found,) = [event for event in events if event["event"] == "artifact"]
    return found


def test_two_sides_need_nothing_of_each_other(tmp_path: Path) -> None:
    parties = new_parties(tmp_path / "here")
    lab, hospital = parties.home(LAB), parties.home(HOSPITAL)
    away = tmp_path / "away"
    away.mkdir()

    told = parties.run(EMULATOR, distill())
    assert kinds(told) == ["full_zero_shot", "emulator_zero_shot", "egress", "artifact", "done"]
    assert phases(told) >= {"heal", "distill"}
    assert {event["name"] for event in metrics(told).values()} == {"perplexity"}
    shared = data_digest(DataFile(lab / "shared.jsonl"))
    assert {event["text"] for event in metrics(told).values()} == {shared}
    opened, digest = parties.opened(EMULATOR), parties.envelope(EMULATOR).digest
    manifest, found = check_emulator(opened), artifact(told)
    assert (found["name"], found["digest"]) == (EMULATOR, digest)
    assert found["uri"] == parties.published(EMULATOR).as_uri()
    assert found["sizeBytes"] == manifest.size
    assert json.loads((opened / "config.json").read_text())["num_hidden_layers"] == 4

    # the whole of the lab is gone, not its model alone
    lab.rename(away / LAB)
    told = parties.run(ADAPTER, tune())
    assert kinds(told) == [*TUNED, "egress", "artifact", "done"]
    figures = metrics(told)
    assert figures["emulator_tuned"]["value"] < figures["emulator_zero_shot"]["value"]
    (away / LAB).rename(lab)

    hospital.rename(away / HOSPITAL)
    told = parties.run(PLUGGED, plug_in())
    assert kinds(told) == ["full_zero_shot", *JUDGED, "plug_in", "artifact", "done"]
    assert metrics(told)["full_zero_shot"]["value"] != metrics(told)["plug_in"]["value"]
    plugged = lab / "home/models" / PLUGGED
    assert artifact(told)["digest"] == model_digest(plugged)
    assert AutoModelForCausalLM.from_pretrained(plugged).config.num_hidden_layers == 6
    assert not [name for name in listing(tmp_path) if "partial" in name or "lock" in name]


def test_adapter_names_what_it_answers(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    answer = artifact(parties.run(ADAPTER, tune(adapter={"rank": 3})))
    digest, opened = parties.envelope(EMULATOR).digest, parties.opened(ADAPTER)
    manifest = check_adapter(opened, parties.party(LAB).record(digest))
    assert parties.envelope(ADAPTER).header.parent == digest
    assert isinstance(manifest.facts, AdapterFacts)
    assert (manifest.facts.answers, manifest.facts.rank) == (digest, 3)
    assert manifest.size == answer["sizeBytes"]
    with safe_open(opened / "adapter.safetensors", "numpy") as file:
        assert {name.rpartition(".")[2] for name in file.keys()} == {"lora_A", "lora_B"}  # noqa: SIM118


def test_adapter_in_the_mlps_goes_all_the_way(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    told = parties.run(ADAPTER, tune(adapter={"targets": "MLP"}))
    facts = check_adapter(
        parties.opened(ADAPTER), parties.party(LAB).record(parties.envelope(EMULATOR).digest)
    ).facts
    assert facts.wire()["targets"] == "MLP"
    (report,) = [event["report"] for event in told if event["event"] == "egress"]
    assert {"name": "targets", "value": "MLP"} in report["facts"]
    assert all(".mlp." in each["name"] for each in report["tensors"])
    told = parties.run(PLUGGED, plug_in())
    assert kinds(told)[-2:] == ["artifact", "done"]


def test_same_seed_gives_same_bytes(tmp_path: Path) -> None:
    first, second, other = (new_parties(tmp_path / name) for name in ("first", "second", "other"))
    first.run_all()
    second.run_all()
    for name in (EMULATOR, ADAPTER, PLUGGED):
        assert first.digest(name) == second.digest(name)
    other.run(EMULATOR, {**distill(), "seed": 1})
    assert other.digest(EMULATOR) != first.digest(EMULATOR)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Two parties that ran all three jobs. What a test changes, it changes in a copy."""
    parties = new_parties(tmp_path_factory.mktemp("finished"))
    parties.run_all()
    return parties


def copy_of(parties: Parties, root: Path) -> Parties:
    """Copy everything that two parties have."""
    shutil.copytree(parties.root, root)
    return Parties(root)


JOBS = ((EMULATOR, distill()), (ADAPTER, tune()), (PLUGGED, plug_in()))


@pytest.mark.parametrize(("name", "spec"), JOBS)
def test_finished_job_is_done_at_once(finished: Parties, name: str, spec: dict[str, Any]) -> None:
    before = listing(finished.root)
    told = finished.run(name, spec)
    assert [event["event"] for event in told] == ["started", "artifact", "done"]
    assert listing(finished.root) == before


def row(**columns: object) -> str:
    return json.dumps(columns) + "\n"


def damage_checkpoint(parties: Parties) -> None:
    """Leave what an attempt before might have left, in the folder of this very job."""
    job, stop = load_job(parties.write(ADAPTER, tune())), threading.Event()

    def at_once(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "tune":
            stop.set()

    party, mailbox = parties.party(HOSPITAL), parties.mailbox(HOSPITAL)
    with pytest.raises(InterruptedStage):
        run_job(job, party, mailbox, Monitor(at_once, stop))
    (found,) = parties.home(HOSPITAL).glob("home/work/*/checkpoint/*.safetensors")
    found.write_bytes(b"junk")


def short_floor(parties: Parties) -> None:
    (parties.home(HOSPITAL) / "home" / POLICY).write_text(
        '{"minExamples": 25, "minSteps": 1, "minBatchSize": 1}'
    )


def text_of(content: str) -> Callable[[Parties], None]:
    def change(parties: Parties) -> None:
        (parties.home(HOSPITAL) / "private.jsonl").write_text(content)

    return change


FORMS = [text_of(row(text="a secret", name="Kovacs")), text_of("")]
UNLIKE: dict[str, tuple[type[Exception], Callable[[Parties], None]]] = {
    "a floor": (DataError, short_floor),
    "a checkpoint": (InputError, damage_checkpoint),
}


def test_after_private_data_were_read_every_failure_is_told_alike(
    finished: Parties, tmp_path: Path
) -> None:
    """A lab could have made its emulator so that the reason answers a question about the data."""
    told, said = set(), set()
    for number, (kind, change) in enumerate(UNLIKE.values()):
        parties = copy_of(finished, tmp_path / f"copy-{number}")
        shutil.rmtree(parties.published(ADAPTER))
        shutil.rmtree(parties.home(HOSPITAL) / "home/published")
        change(parties)
        with pytest.raises(kind) as failed:
            parties.run(ADAPTER, tune())
        said.add(str(failed.value))
        notice = parties.mailbox(LAB).inbox.notice(HOSPITAL, ADAPTER)
        assert notice is not None
        content = open_notice(notice, parties.mailbox(LAB).ring).content
        told.add((content, len((parties.published(ADAPTER) / "notice").read_bytes())))
    assert len(said) == len(UNLIKE)
    ((content, _),) = told
    assert json.loads(content) == {"message": "", "reason": "StageFailed", "stage": "Tune"}


@pytest.mark.parametrize("change", FORMS)
def test_of_the_form_of_private_data_the_peer_learns_nothing(
    finished: Parties, tmp_path: Path, change: Callable[[Parties], None]
) -> None:
    """It is checked before anything of the peer is opened."""
    parties = copy_of(finished, tmp_path / "copy")
    shutil.rmtree(parties.published(ADAPTER))
    shutil.rmtree(parties.home(HOSPITAL) / "home/published")
    change(parties)
    with pytest.raises(DataError):
        parties.run(ADAPTER, tune())
    assert parties.mailbox(LAB).inbox.notice(HOSPITAL, ADAPTER) is None


def test_a_bundle_that_is_refused_is_told_by_its_reason(finished: Parties, tmp_path: Path) -> None:
    """What was found before private data were read depends on what the peer sent alone."""
    parties = copy_of(finished, tmp_path / "copy")
    parties.resend(EMULATOR, lambda folder: (folder / "code.py").write_text("1"))
    with pytest.raises(BundleError):
        parties.run("another", tune())
    notice = parties.mailbox(LAB).inbox.notice(HOSPITAL, "another")
    assert notice is not None
    assert open_notice(notice, parties.mailbox(LAB).ring).reason == "BundleError"


def test_a_model_that_is_made_at_last_takes_a_notice_back(
    finished: Parties, tmp_path: Path
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    told = FailedJob(HOSPITAL, PLUGGED, "job", Notice.of("PlugIn", "ModelError", ""))
    send_notice(parties.mailbox(LAB), told)
    assert parties.mailbox(HOSPITAL).inbox.notice(LAB, PLUGGED) is not None
    shutil.rmtree(parties.home(LAB) / "home/models")
    parties.run(PLUGGED, plug_in())
    assert parties.mailbox(HOSPITAL).inbox.notice(LAB, PLUGGED) is None


def test_name_of_another_model_is_refused(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    parties.write(PLUGGED, {**plug_in(), "seed": 5})
    before = listing(parties.root)
    with pytest.raises(InputError, match="already"):
        parties.run(PLUGGED, {**plug_in(), "seed": 5})
    assert listing(parties.root) == before


@pytest.mark.parametrize(("name", "spec"), JOBS[:2])
def test_damaged_result_is_made_again(
    finished: Parties, tmp_path: Path, name: str, spec: dict[str, Any]
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    lost = [path for path in parties.published(name).rglob("*") if len(path.name) == 64]
    lost[0].unlink()
    told = parties.run(name, spec)
    assert "incomplete" in next(event["message"] for event in told if event["event"] == "log")
    assert parties.digest(name) == finished.digest(name)
    assert parties.envelope(name).header.sequence == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_changed_export_is_left_as_it_is(finished: Parties, tmp_path: Path, name: str) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    place = parties.home(LAB) / "home/models" / PLUGGED
    (place / name).write_text("mine", encoding="utf-8")
    before = listing(place)
    with pytest.raises(InputError, match=f"{PLUGGED} differs"):
        parties.run(PLUGGED, plug_in())
    assert listing(place) == before


def test_one_emulator_for_two_recipients(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    introduce(parties.home(LAB), parties.home("clinic"))
    digests = []
    for peer in (HOSPITAL, "clinic"):
        told = parties.run(EMULATOR, {**distill(None), "peer": peer})
        digests.append(artifact(told)["digest"])
    lab = parties.party(LAB)
    assert [lab.record(digest).recipient for digest in digests] == [HOSPITAL, "clinic"]
    for peer in (HOSPITAL, "clinic"):
        told = parties.run(EMULATOR, {**distill(None), "peer": peer})
        assert [event["event"] for event in told] == ["started", "artifact", "done"]


def test_bundle_for_another_party_is_refused(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")

    def readdress(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace(f'"{HOSPITAL}"', '"clinic"'))

    parties.resend(EMULATOR, readdress)
    with pytest.raises(BundleError, match="manifest of emulator of lab for clinic"):
        parties.run("other", tune())


def test_plugged_in_model_has_what_stood_beside_the_original(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    model, companions = (
        parties.home(LAB) / "model",
        {
            "chat_template.jinja": "{{ messages }}",
            "LICENSE": "all rights reserved",
            "generation_config.json": '{"temperature": 0.3}',
        },
    )
    for name, content in companions.items():
        (model / name).write_text(content, encoding="utf-8")
    parties.run_all()
    plugged = parties.home(LAB) / "home/models" / PLUGGED
    for name in (*companions, "tokenizer.json", "tokenizer_config.json"):
        assert (plugged / name).read_bytes() == (model / name).read_bytes()
    assert not (parties.opened(EMULATOR) / "chat_template.jinja").exists()
    assert AutoTokenizer.from_pretrained(plugged).chat_template == "{{ messages }}"


def test_change_that_no_number_holds_is_refused(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")

    def enlarge(folder: Path) -> None:
        path = folder / ADAPTER_FILE
        save_file({name: value * 1e30 + 1e30 for name, value in load_file(path).items()}, path)

    parties.resend(ADAPTER, enlarge)
    (parties.home(LAB) / "home" / POLICY).write_text('{"maxChange": 1e+300}')
    with pytest.raises(BundleError, match=r"change of .* of block 0 is not finite"):
        parties.run("huge", plug_in())
    assert not (parties.home(LAB) / "home/models/huge").exists()


def test_labelled_tuning_validates_on_the_right_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = new_parties(tmp_path)
    parties.run(EMULATOR, distill(None))
    choices = ["fox", "dog", "wizards"]
    rows = [{"prompt": "the lazy", "completion": "dog", "choices": choices}] * 5
    path = parties.home(HOSPITAL) / "private.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    validated: list[Sequence[TextExample]] = []

    def watch(model: Any, examples: Sequence[TextExample], monitor: Monitor) -> float:
        validated.append(examples)
        return mean_loss(model, examples, monitor)

    monkeypatch.setattr("offsite.training.tune.mean_loss", watch)
    told = parties.run(ADAPTER, tune())
    assert metrics(told)["emulator_tuned"]["name"] == "accuracy"
    right = pair("the lazy", "dog", tiny_tokenizer(), end=True)
    assert {example for examples in validated for example in examples} == {right}


def test_finished_job_leaves_no_work_behind(finished: Parties) -> None:
    for party in (LAB, HOSPITAL):
        assert not listing(finished.home(party) / "home/work")


def test_a_changed_job_is_sent_in_the_next_sequence(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    first = parties.envelope(EMULATOR)
    parties.run(EMULATOR, {**distill(), "seed": 5})
    assert parties.envelope(EMULATOR).header.sequence == 2
    pinned = tune()
    pinned["tune"]["bundle"] = f"{EMULATOR}@{first.digest}"
    with pytest.raises(BundleError, match="a shard is missing"):
        parties.run("pinned", pinned)


def test_another_tokenizer_is_another_input(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    path = parties.home(LAB) / "model/tokenizer.json"
    content = json.loads(path.read_text()) | {"normalizer": {"type": "Lowercase"}}
    path.write_text(json.dumps(content))
    parties.run(EMULATOR, distill())
    sent = json.loads((parties.opened(EMULATOR) / "tokenizer.json").read_text())
    assert sent["normalizer"] == {"type": "Lowercase"}


def swell(factor: float) -> Callable[[Path], None]:
    """Make every change of an adapter larger."""

    def change(folder: Path) -> None:
        path = folder / ADAPTER_FILE
        tensors = load_file(path)
        save_file({n: t * (factor if "lora_B" in n else 1) for n, t in tensors.items()}, path)

    return change


def test_an_adapter_that_changes_more_than_is_allowed_is_not_plugged_in(
    finished: Parties, tmp_path: Path
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    parties.resend(ADAPTER, swell(1e6))
    before, events = listing(parties.home(LAB) / "home/models"), list[Wire]()
    party, mailbox = parties.party(LAB), parties.mailbox(LAB)
    job = load_job(parties.write("swollen", plug_in()))
    said = r"changes .* of block \d by .* times its norm, .* allows 1 \(maxChange\); ask for an"
    with pytest.raises(BundleError, match=said):
        run_job(job, party, mailbox, Monitor(recording(events)))
    assert kinds(events) == ["full_zero_shot", *JUDGED]
    assert metrics(events)["largest_change"]["value"] > 1
    assert listing(parties.home(LAB) / "home/models") == before
    assert not list((parties.home(LAB) / "home/work").glob("swollen-*"))
    wide = replace(party, limits=Limits(max_change=1e9))
    run_job(job, wide, mailbox, Monitor(recording(events)))


def cancel(folder: Path) -> None:
    """Make factors of a huge product, of whose (r, r) Gram matrices float64 holds only zeros."""
    path = folder / ADAPTER_FILE
    tensors = load_file(path)
    for name in (name for name in tensors if name.endswith("lora_A")):
        a, b = tensors[name].zero_(), tensors[f"{name[:-1]}B"].zero_()
        a[:2] = 2.0**20
        a[0, 0], a[1, 0] = 1.0, 1 + 2.0**-23
        b[:, 0], b[:, 1] = 2.0**60, -(2.0**60)
    save_file(tensors, path)


def test_an_adapter_whose_factors_cancel_is_not_plugged_in(
    finished: Parties, tmp_path: Path
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    parties.resend(ADAPTER, cancel)
    with pytest.raises(BundleError, match=r"by \d.*e\+\d+ times its norm, .*\(maxChange\)"):
        parties.run("cancelling", plug_in())
    assert not (parties.home(LAB) / "home/models/cancelling").exists()


@pytest.mark.parametrize(("alpha", "passes"), [(2.0, False), (1e-9, True)])
def test_an_adapter_that_makes_the_model_worse_is_not_exported(
    finished: Parties, tmp_path: Path, alpha: float, passes: bool
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    parties.resend(ADAPTER, swell(-1e4))
    party, mailbox = parties.party(LAB), parties.mailbox(LAB)
    wide = replace(party, limits=Limits(max_change=1e9))
    spec = plug_in(alpha=alpha, accept={"maxRegression": 0.05})
    job, events = load_job(parties.write("worse", spec)), list[Wire]()
    if passes:
        run_job(job, wide, mailbox, Monitor(recording(events)))
        assert (parties.home(LAB) / "home/models/worse").is_dir()
        return
    said = r"adapter makes the model worse by \d+.*%: perplexity .*maxRegression allows 5.0%"
    with pytest.raises(BundleError, match=said):
        run_job(job, wide, mailbox, Monitor(recording(events)))
    found = metrics(events)
    assert found["plug_in"]["value"] > 1.05 * found["full_zero_shot"]["value"]
    assert not (parties.home(LAB) / "home/models/worse").exists()
    assert not list((parties.home(LAB) / "home/work").glob("worse-*"))


@pytest.mark.parametrize(
    ("metric", "before", "after", "most", "worse"),
    [
        ("perplexity", 10.0, 10.5, 0.05, None),
        ("perplexity", 10.0, 10.6, 0.05, "6.0%"),
        ("perplexity", 10.0, 9.0, 0.0, None),
        ("perplexity", 10.0, None, 1000.0, "inf%"),
        ("perplexity", None, None, 1000.0, "inf%"),
        ("perplexity", None, 10.0, 0.0, None),
        ("accuracy", 0.5, 0.45, 0.1, None),
        ("accuracy", 0.5, 0.25, 0.1, "25.0%"),
        ("accuracy", 0.5, 0.6, 0.0, None),
    ],
)
def test_how_much_worse_a_model_may_become(
    metric: str, before: float | None, after: float | None, most: float, worse: str | None
) -> None:
    accept = {"maxRegression": most}
    job = parse_job({**HEAD, "metadata": {"name": "x"}, "spec": plug_in(accept=accept)}, source="")
    section = job.spec.plug_in
    assert section is not None
    reported = [Reported("x", metric, value, torch.empty(0)) for value in (before, after)]
    if worse is None:
        check_accepted(section, *reported)
        return
    with pytest.raises(BundleError, match=f"makes the model worse by {worse}: {metric} "):
        check_accepted(section, *reported)


@pytest.mark.parametrize(
    ("rank", "said"), [(13, "tune.adapter.rank is 13, .* at most 12"), (12, "")]
)
def test_a_rank_is_at_most_half_of_the_narrowest_weight(
    finished: Parties, tmp_path: Path, rank: int, said: str
) -> None:
    """Before training, and for every maker of the adapter."""
    parties = copy_of(finished, tmp_path / "copy")
    if not said:
        parties.run("narrow", tune(1, adapter={"rank": rank}))
        return
    with pytest.raises(InputError, match=said):
        parties.run("narrow", tune(1, adapter={"rank": rank}))
    assert not list((parties.home(HOSPITAL) / "home/work").glob("narrow-*"))


def test_a_plug_in_may_have_the_name_of_an_emulator(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    parties.run(EMULATOR, plug_in())
    told = parties.run(EMULATOR, distill())
    assert [event["event"] for event in told] == ["started", "artifact", "done"]


def test_what_an_adapter_may_not_hold_is_not_fetched(
    finished: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = copy_of(finished, tmp_path / "copy")

    def pad(folder: Path) -> None:
        with (folder / ADAPTER_FILE).open("ab") as file:
            file.truncate(60 << 20)

    parties.resend(ADAPTER, pad)
    asked: list[str] = []
    get = FolderStore.get

    def noted(self: FolderStore, key: str, most: int) -> bytes:
        asked.append(key)
        return get(self, key, most)

    monkeypatch.setattr(FolderStore, "get", noted)
    with pytest.raises(BundleError, match="are allowed at most"):
        parties.run("padded", plug_in())
    shards = [key for key in asked if "envelope" not in key]
    assert len(shards) == 1  # the manifest


def test_same_inputs_elsewhere_are_the_same_job(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    for name, spec in JOBS[:2]:
        assert [event["event"] for event in parties.run(name, spec)] == [
            "started",
            "artifact",
            "done",
        ]


def test_export_never_replaces_what_is_there(finished: Parties) -> None:
    lab = finished.home(LAB)
    (lab / "notes").mkdir()
    (lab / "notes/mine.txt").write_text("mine")
    for target in ("notes", "notes/mine.txt", "model"):
        before = listing(lab / "notes"), listing(lab / "model")
        with pytest.raises(InputError, match="already exists"):
            finished.run("elsewhere", plug_in(export={"to": target}))
        assert (listing(lab / "notes"), listing(lab / "model")) == before


def test_export_never_goes_into_the_exchange(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    inside = parties.exchange / LAB / HOSPITAL / "model-out"
    with pytest.raises(InputError, match="the same place"):
        parties.run("leaking", plug_in(export={"to": inside.as_uri()}))
    assert not inside.exists()


def test_what_is_in_the_exchange_is_no_input(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    inside = shutil.copytree(parties.home(LAB) / "model", parties.exchange / "model")
    with pytest.raises(InputError, match="the same place"):
        parties.run("leaking", distill(model=str(inside)))


@pytest.mark.parametrize("name", ["._config.json", "LICENSE (copy).txt"])
def test_odd_files_beside_a_model_stay_behind(finished: Parties, tmp_path: Path, name: str) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    (parties.home(LAB) / "model" / name).touch()
    parties.run("again", plug_in())
    assert not (parties.home(LAB) / "home/models/again" / name).exists()


def test_a_note_of_another_version_is_told(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    (note,) = (parties.home(LAB) / "home/published/plugin").rglob("*.json")
    note.write_text("{}")
    with pytest.raises(InputError, match="by another version of offsite"):
        parties.run(PLUGGED, plug_in())


def test_adapter_fits_no_other_model(finished: Parties, tmp_path: Path) -> None:
    other = new_parties(tmp_path / "other", tie_word_embeddings=True)
    (other.home(LAB) / "model").rename(finished.home(LAB) / "other")
    with pytest.raises(ModelError, match="is not the model that the emulator"):
        finished.run("wrong", plug_in(model="other"))


def test_missing_evaluation_text_is_told_before_any_work(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        parties.run(EMULATOR, distill(evaluate="nowhere.jsonl"))
    assert not (parties.home(LAB) / "home/work").exists()


@pytest.mark.parametrize("blob", ["blobs/0a1b", "blobs/0a1b.txt"])
def test_the_name_of_a_link_determines_the_format(
    finished: Parties, tmp_path: Path, blob: str
) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    data = parties.home(HOSPITAL) / "private.jsonl"
    (parties.home(HOSPITAL) / "blobs").mkdir()
    data.rename(parties.home(HOSPITAL) / blob)
    data.symlink_to(blob)
    shutil.rmtree(parties.home(HOSPITAL) / "home/published")
    parties.run(ADAPTER, tune())
    assert parties.digest(ADAPTER) == finished.digest(ADAPTER)


def test_the_same_bytes_in_another_format_are_refused(tmp_path: Path) -> None:
    parties = new_parties(tmp_path)
    home = parties.home(HOSPITAL)
    (home / "private.txt").symlink_to("private.jsonl")
    data = {"train": "private.jsonl", "validation": "private.txt"}
    job = load_job(parties.write(ADAPTER, tune(data=data)))
    with pytest.raises(DataError, match="plain text"):
        inputs_of(job.spec, parties.party(HOSPITAL)).digests()


def test_damaged_checkpoint_is_told(finished: Parties, tmp_path: Path) -> None:
    parties = copy_of(finished, tmp_path / "copy")
    shutil.rmtree(parties.published(EMULATOR))
    job = load_job(parties.write(EMULATOR, distill()))
    digests = inputs_of(job.spec, parties.party(LAB)).digests()
    with workspace(parties.party(LAB), EMULATOR, job.spec, HOSPITAL, digests) as space:
        path = space.checkpoint
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a checkpoint")
    with pytest.raises(InputError, match=f"{re.escape(str(path))} is damaged; delete it"):
        parties.run(EMULATOR, distill())
    path.unlink()
    parties.run(EMULATOR, distill())
    assert parties.digest(EMULATOR) == finished.digest(EMULATOR)


def test_every_problem_of_a_job_is_told_at_once() -> None:
    spec = distill()
    spec["distill"]["emulator"] = {"blocks": 0, "privacy": {"epsilon": 8}}
    spec["distill"]["training"]["learningRate"] = "1e-4"
    spec |= {"workers": 2, "peer": "Not A Name"}
    with pytest.raises(SpecError) as caught:
        parse_job({**HEAD, "metadata": {}, "spec": spec}, source="job.yaml")
    assert str(caught.value).startswith("job.yaml is not a valid job:\n")
    told = {problem.partition(": ")[0]: problem for problem in caught.value.problems}
    assert set(told) == {
        "metadata.name",
        "spec.distill.emulator.blocks",
        "spec.distill.emulator.privacy",
        "spec.distill.training.learningRate",
        "spec.peer",
        "spec.workers",
    }
    assert "unknown field" in told["spec.workers"]
    assert "DNS label" in told["spec.peer"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"stage": "Distill", "peer": "b"}, "stage Distill needs the section distill"),
        ({**distill(), "tune": tune()["tune"]}, "found distill, tune"),
        (tune(adapter={"method": "Blocks"}), "needs scope: Ends"),
        (
            tune(adapter={"method": "Blocks", "scope": "Ends", "rank": 4}),
            "only method LoRA has a rank",
        ),
        (distill(None, emulator={"blocks": 2, "heal": True}), "needs emulator.calibration"),
        (plug_in(alpha=float("nan")), "spec.plugIn.alpha"),
        (plug_in(adapter="a/../b"), "must be the name of a bundle"),
        (distill(grant={"expiresAfter": "soon"}), "must be a duration, such as 720h"),
        (distill(evaluate="hf://org/name"), "spec.distill.evaluate: must be a path"),
        (plug_in(export={"to": "hf://org/name"}), "spec.plugIn.export.to: must be a path"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:20],
)
def test_fields_that_do_not_go_together_are_told(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=re.escape(problem)):
        parse_job({**HEAD, "metadata": {"name": "a"}, "spec": spec}, source="job.yaml")


JOB = """
apiVersion: offsite-tuning.dev/v1alpha1
kind: OffsiteJob
metadata: {name: a}
spec:
  stage: Tune
  peer: "no"
  tune:
    bundle: b
    data: {train: t.jsonl, validation: v.jsonl}
    training: {learningRate: 1e-4, steps: 010}
"""


def test_job_files_are_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    training = load_job(path).spec.tune
    assert training is not None
    # in YAML 1.1 a string, and the octal 8
    assert (training.training.learning_rate, training.training.steps) == (1e-4, 10)
    path.write_text(JOB.replace('"no"', "no"))
    assert load_job(path).spec.peer == "no"


NO_JOBS = (
    ("[" * 5000, "nested too deeply"),
    ("a: 2024-13-45", "is not YAML"),
    ("a: [", "is not YAML"),
    ("a: 1\na: 2", "is not YAML"),
    ("a: !!python/object:os.system x", "is not YAML"),
    ("--- 1\n--- 2", "is not YAML"),
    ("", "top level"),
    ("- 1", "top level"),
    ("1: 2", "apiVersion: required"),
    ("a: \x00", "is not YAML: character 4 is U.0000, which YAML does not allow; remove it"),
)


@pytest.mark.parametrize(("text", "problem"), NO_JOBS, ids=[text[:9] for text, _ in NO_JOBS])
def test_a_file_that_is_not_a_job_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=problem):
        load_job(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_loads(path: Path) -> None:
    stage = load_job(path).spec.stage.lower()
    assert path.stem.replace("-", "").startswith(stage), "a file is named after its stage"


def test_there_is_an_example_of_every_stage() -> None:
    assert {load_job(path).spec.stage for path in EXAMPLES} == {
        "Distill",
        "Tune",
        "PlugIn",
    }


def write_plainly(path: Path) -> None:
    """Fill a file as Python does."""
    with path.open("w", encoding="utf-8") as file:
        file.write("x" * 100_000)


def write_in_rust(path: Path) -> None:
    """Fill a file as the library of the tokenizers does, which has no class for such errors."""
    tiny_tokenizer().backend_tokenizer.save(str(path))


@pytest.mark.parametrize("write", [write_plainly, write_in_rust])
def test_full_disk_is_told(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "tokenizer.json"
    path.symlink_to("/dev/full")
    with (
        pytest.raises(DiskFullError, match=r"no space is left for .*tokenizer\.json"),
        disk_errors(path),
    ):
        write(path)
