"""The Python API: homes, arguments and results, and the example that the docs show."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

import offsite
from offsite.api import EMULATORS, Distill, PlugIn, Tune
from offsite.config import load_job
from offsite.errors import InputError, NotSentError, SpecError
from offsite_testing.events import Wire, recording
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    new_parties,
)

ROOT = Path(__file__).parents[2]
COMMON = {"name", "home", "peer", "seed", "deterministic", "base", "on_event"}


def home_of(parties: Parties, party: str) -> offsite.Home:
    return offsite.Home(parties.home(party) / "home", exchange=parties.exchange)


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return new_parties(tmp_path)


def distill(parties: Parties, events: list[Wire] | None = None) -> offsite.Result:
    return offsite.distill(
        EMULATOR,
        home=home_of(parties, LAB),
        peer=HOSPITAL,
        model=parties.home(LAB) / "model",
        ends={"bottom": 1, "top": 1},
        emulator=offsite.LayerDrop(blocks=2, heal=False),
        evaluate="shared.jsonl",
        base=parties.home(LAB),
        on_event=recording(events) if events is not None else None,
    )


def test_stages_give_what_they_published(parties: Parties) -> None:
    events: list[Wire] = []
    emulator = distill(parties, events)
    adapter = offsite.tune(
        ADAPTER,
        home=home_of(parties, HOSPITAL),
        peer=LAB,
        bundle=EMULATOR,
        data={"train": "private.jsonl", "validation": parties.home(HOSPITAL) / "private.jsonl"},
        adapter=offsite.Adapter(rank=2),
        training=offsite.TuneTraining(steps=4, batch_size=2, block_size=16),
        base=parties.home(HOSPITAL),
    )
    model = offsite.plug_in(
        PLUGGED,
        home=home_of(parties, LAB),
        peer=HOSPITAL,
        model="model",
        adapter=f"{ADAPTER}@{adapter.digest}",
        evaluate="shared.jsonl",
        base=parties.home(LAB),
    )
    assert emulator.digest == parties.envelope(EMULATOR).digest
    assert adapter.digest == parties.envelope(ADAPTER).digest
    assert set(emulator.metrics) == {"full_zero_shot", "emulator_zero_shot"}
    assert adapter.metrics["emulator_tuned"].name == "perplexity"
    assert model.metrics["plug_in"].value != model.metrics["full_zero_shot"].value
    assert model.path == parties.home(LAB) / "home/models" / PLUGGED
    AutoModelForCausalLM.from_pretrained(model.path)
    assert {"progress", "metric", "artifact", "done"} <= {event["event"] for event in events}


def test_repeated_call_gives_the_same_result(parties: Parties) -> None:
    first = distill(parties)
    again = distill(parties)
    assert (again.digest, again.uri, again.size) == (first.digest, first.uri, first.size)
    assert again.metrics == {}


@pytest.mark.parametrize(
    ("function", "section"),
    [(offsite.distill, Distill), (offsite.tune, Tune), (offsite.plug_in, PlugIn)],
)
def test_arguments_are_the_fields_of_the_section(
    function: Callable[..., offsite.Result], section: type[Distill | Tune | PlugIn]
) -> None:
    parameters = set(inspect.signature(function).parameters)
    fields = {"base" if name == "base_model" else name for name in parameters - COMMON}
    assert fields == set(section.model_fields)  # `base` is the folder of relative paths here
    assert parameters >= COMMON
    documented = inspect.getdoc(function) or ""
    assert [name for name in parameters if f"\n    {name}: " not in documented] == []


def test_wrong_arguments_are_listed_together(parties: Parties) -> None:
    with pytest.raises(SpecError) as caught:
        offsite.tune(
            "Tune!",
            home=home_of(parties, HOSPITAL),
            peer=LAB,
            bundle=EMULATOR,
            data={"train": "a.csv"},
            training={"stepz": 3},
        )
    told = "\n".join(caught.value.problems)
    assert all(field in told for field in ("metadata.name", "data.train", "validation", "stepz"))


def test_what_the_peer_did_not_send_is_an_error_of_its_own(parties: Parties) -> None:
    with pytest.raises(NotSentError):
        offsite.plug_in(
            PLUGGED,
            home=home_of(parties, LAB),
            peer=HOSPITAL,
            model="model",
            adapter=ADAPTER,
            base=parties.home(LAB),
        )


def test_homes_create_and_exchange_keys(tmp_path: Path) -> None:
    lab = offsite.Home(tmp_path / "lab", exchange=tmp_path / "exchange", passphrase="secret")
    clinic = offsite.Home(str(tmp_path / "clinic"), exchange=str(tmp_path / "exchange"))
    with pytest.raises(InputError, match="create_keys"):
        lab.export_keys()
    lab.create_keys(LAB)
    clinic.create_keys("clinic")
    public = tmp_path / "lab.pub"
    public.write_bytes(lab.export_keys())
    assert clinic.add_peer(public) == lab.fingerprint
    assert lab.add_peer(clinic.export_keys(), alias="partner") == clinic.fingerprint
    assert lab.peers == {"partner": clinic.fingerprint}
    assert (lab.party, "secret" in repr(lab)) == (LAB, False)


def test_unknown_notices_are_refused() -> None:
    with pytest.raises(InputError, match="Reason"):
        offsite.Home("lab", exchange="exchange", notices="Everything")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda home: home.create_keys("again"), "ring.json"),
        (lambda home: home.add_peer("missing.pub"), "missing.pub"),
        (lambda home: home.add_peer(b"{}"), "the public file"),
        (lambda home: home.add_peer(b"{}", alias="../x"), "../x"),
        (lambda home: home.add_peer(home.export_keys()), "own id"),
    ],
)
def test_wrong_keys_are_refused(
    parties: Parties, call: Callable[[offsite.Home], object], named: str
) -> None:
    with pytest.raises(InputError) as caught:
        call(home_of(parties, LAB))
    assert named in str(caught.value)


def test_job_files_have_no_python_names(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    section = {"bundle": EMULATOR, "data": {"train": "a.txt", "validation": "a.txt"}}
    job = {
        "apiVersion": "offsite-tuning.dev/v1alpha1",
        "kind": "OffsiteJob",
        "metadata": {"name": ADAPTER},
        "spec": {
            "stage": "Tune",
            "peer": LAB,
            "tune": {**section, "training": {"batch_size": 2, "block_size": 16}},
        },
    }
    path.write_text(json.dumps(job))
    with pytest.raises(SpecError) as caught:
        load_job(path)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "spec.tune.training.batch_size",
        "spec.tune.training.block_size",
    ]


def test_public_names_are_there() -> None:
    assert [name for name in offsite.__all__ if not hasattr(offsite, name)] == []
    assert set(offsite.__all__) <= set(dir(offsite))
    assert {each.__name__ for each in EMULATORS.values()} <= set(offsite.__all__)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = offsite.nonesuch


def test_docs_show_the_example() -> None:
    example = (ROOT / "examples/python_api.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```\n" in (ROOT / "docs/python.md").read_text(encoding="utf-8")


def test_example_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples/python_api.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "emulator",
        "adapter",
        "tuned model",
    ]
