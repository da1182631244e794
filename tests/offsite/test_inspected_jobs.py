"""A suspicious emulator meets no private data, unless the data owner's policy allows it."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from offsite.errors import DataError, SuspiciousEmulator
from offsite.inspection import SIGNS
from offsite.sealing import open_notice
from offsite_testing.events import Wire
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    TINY,
    Parties,
    distill,
    new_parties,
    tune,
)


def flatten(folder: Path) -> None:
    """Scale what the head reads to almost nothing, as a trap does."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] *= 1e-9
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    """The hospital was sent a suspicious emulator, and its data is no data."""
    parties = new_parties(tmp_path / "all")
    parties.run(EMULATOR, distill(None))
    parties.resend(EMULATOR, flatten)
    (parties.home(HOSPITAL) / "private.jsonl").write_text('{"text": "a"}\n{"secret"')
    return parties


def allow(parties: Parties) -> None:
    parties.limit(HOSPITAL, TINY.model_copy(update={"allow_suspicious_emulators": True}))


def told(parties: Parties) -> dict[str, str]:
    notice = parties.mailbox(LAB).inbox.notice(HOSPITAL, ADAPTER)
    assert notice is not None
    return open_notice(notice, parties.mailbox(LAB).ring).wire()


def test_it_is_refused_before_private_data_is_read(parties: Parties) -> None:
    events: list[Wire] = []
    with pytest.raises(SuspiciousEmulator, match=r"emulator emulator .* logits, in nats: .*0\.05"):
        parties.run(ADAPTER, tune(), events.append)
    assert told(parties) == {"stage": "Tune", "reason": "SuspiciousEmulator", "message": ""}
    figures = {each["setting"]: each["value"] for each in events if each["event"] == "metric"}
    assert figures["inspection_spread"] < SIGNS["spread"].bound
    assert figures["inspection_crossed"] == 1


def test_only_the_policy_allows_it(parties: Parties) -> None:
    allow(parties)
    with pytest.raises(DataError, match=r"private\.jsonl"):
        parties.run(ADAPTER, tune())
    assert told(parties)["reason"] == "StageFailed"
