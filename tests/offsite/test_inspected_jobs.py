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
    """The hospital was sent a suspicious emulator, and has less data than its policy requires."""
    parties = new_parties(tmp_path / "all")
    parties.run(EMULATOR, distill(None))
    parties.resend(EMULATOR, flatten)
    limit(parties)
    return parties


def limit(parties: Parties, **more: bool) -> None:
    parties.limit(HOSPITAL, TINY.model_copy(update={"min_examples": 1000, **more}))


def told(parties: Parties) -> dict[str, str] | None:
    notice = parties.mailbox(LAB).inbox.notice(HOSPITAL, ADAPTER)
    return open_notice(notice, parties.mailbox(LAB).ring).wire() if notice else None


def test_it_is_refused_before_private_data_meets_it(parties: Parties) -> None:
    events: list[Wire] = []
    with pytest.raises(SuspiciousEmulator, match=r"emulator emulator .* logits, in nats: .*0\.05"):
        parties.run(ADAPTER, tune(), events.append)
    assert told(parties) == {"stage": "Tune", "reason": "SuspiciousEmulator", "message": ""}
    figures = {each["setting"]: each["value"] for each in events if each["event"] == "metric"}
    assert figures["inspection_spread"] < SIGNS["spread"].bound
    assert figures["inspection_crossed"] == 1


def test_only_the_policy_allows_it(parties: Parties) -> None:
    limit(parties, allow_suspicious_emulators=True)
    with pytest.raises(DataError, match=r"private\.jsonl"):
        parties.run(ADAPTER, tune())
    assert told(parties) == {"stage": "Tune", "reason": "StageFailed", "message": ""}


@pytest.mark.parametrize("content", ['{"text": "a"}\n{"secret"', '{"text": 1}', ""])
def test_what_the_file_alone_decides_is_told_before_the_emulator_is_fetched(
    parties: Parties, content: str
) -> None:
    (parties.home(HOSPITAL) / "private.jsonl").write_text(content)
    events: list[Wire] = []
    with pytest.raises(DataError, match=r"private\.jsonl"):
        parties.run(ADAPTER, tune(), events.append)
    assert events == []
    assert told(parties) is None
