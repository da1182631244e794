"""Problems of sending a result are reported before the work."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from offsite.config import load_job
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.sealing import Ring
from offsite.stages.run import run_job
from offsite.wire import now
from offsite_testing.events import Wire, recording
from offsite_testing.parties import EMULATOR, LAB, distill, new_parties


def ended(ring: Ring, purpose: str) -> Ring:
    """Let all keys of a purpose have ended a while ago."""
    over = {"not_after": now() - timedelta(days=1)}
    entries = (e.model_copy(update=over) if e.purpose == purpose else e for e in ring.entries)
    return ring.model_copy(update={"entries": tuple(entries)})


@pytest.mark.parametrize("purpose", ["sign", "encrypt"])
def test_a_key_that_has_ended_is_told_before_the_work(tmp_path: Path, purpose: str) -> None:
    parties, events = new_parties(tmp_path), list[Wire]()
    mailbox = parties.mailbox(LAB)
    mailbox = replace(mailbox, ring=ended(mailbox.ring, purpose))
    job = load_job(parties.write(EMULATOR, distill()))
    with pytest.raises(InputError, match=f"to {purpose} with"):
        run_job(job, parties.party(LAB), mailbox, Monitor(recording(events)))
    assert [event["event"] for event in events] == ["started"]
