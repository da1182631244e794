"""Notices of a stage that failed: who reads them, what ends them, what they must not do."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from offsite.bundle import AdapterFacts, write_manifest
from offsite.errors import BundleError, NotSentError
from offsite.exchange import (
    FailedJob,
    Mailbox,
    Outgoing,
    Reference,
    push,
    retract,
    send_notice,
    withdraw,
)
from offsite.exchange.home import open_auditor, open_mailbox
from offsite.sealing import Envelope, Header, Notice, open_notice, write_notice
from offsite.sealing.envelope import wrap
from offsite.sealing.notice import LARGEST_NOTICE
from offsite.store import FolderStore
from offsite.wire import canonical, now
from offsite_testing.core import silent
from offsite_testing.parties import HOSPITAL, LAB, introduce, ring_of

SECRET = "/data/patients.jsonl, line 7: no field 'text'"
NONE = "sha256:" + "0" * 64
TOLD = Notice.of("Tune", "DataError", SECRET)
PLACE = f"{HOSPITAL}/{LAB}/answer/notice"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two parties who know each other, and an exchange."""
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    return tmp_path


def mailbox(root: Path, party: str) -> Mailbox:
    return open_mailbox(root / party / "home", str(root / "exchange"), {})


def failed(**over: Any) -> FailedJob:
    return replace(FailedJob(LAB, "answer", "job-1", TOLD), **over)


def found(root: Path) -> Envelope | None:
    return mailbox(root, LAB).inbox.notice(HOSPITAL, "answer")


def opened(root: Path) -> Notice:
    envelope = found(root)
    assert envelope is not None
    return open_notice(envelope, ring_of(LAB))


def send(root: Path) -> None:
    folder, facts = root / "bundle", AdapterFacts(method="LoRA", scope="All", rank=1, answers=NONE)
    folder.mkdir()
    (folder / "adapter.safetensors").write_bytes(b"weights")
    parties = {"made_by": HOSPITAL, "made_for": LAB}
    fields: dict[str, Any] = {"architecture": "X", "dtype": "float32", "facts": facts}
    write_manifest(folder, name="answer", **parties, **fields)
    push(mailbox(root, HOSPITAL), Outgoing(folder, LAB, "job-1"), silent())


def test_only_the_peer_can_read_a_notice(root: Path) -> None:
    assert send_notice(mailbox(root, HOSPITAL), failed(parent="sha256:" + "1" * 64))
    envelope = found(root)
    assert envelope is not None
    assert envelope.header.parent == "sha256:" + "1" * 64
    for ring in (ring_of(LAB), ring_of(HOSPITAL)):
        assert open_notice(envelope, ring) == TOLD
    with pytest.raises(BundleError, match="not sealed to any key that clinic has"):
        open_notice(envelope, ring_of("clinic"))


def test_the_store_sees_that_it_failed_and_not_why(root: Path) -> None:
    sizes = set()
    for notice in (TOLD, Notice.of("Distill", "OffsiteError", "")):
        send_notice(mailbox(root, HOSPITAL), failed(notice=notice, job=notice.reason))
        content = (root / "exchange" / PLACE).read_bytes()
        sizes.add(len(content) - len(notice.reason))
        for word in (b"patients", b"DataError", b"Tune"):
            assert word not in content.replace(b'"job":"DataError"', b"")
    assert len(sizes) == 1


def test_a_job_that_waits_for_the_bundle_shows_the_notice(root: Path, tmp_path: Path) -> None:
    lab = mailbox(root, LAB)
    with pytest.raises(NotSentError, match=r"ask hospital to send it$"):
        lab.incoming(HOSPITAL, Reference("answer"))
    send_notice(mailbox(root, HOSPITAL), failed())
    said = r"send it; hospital reports that its Tune answer failed on \S+ \S+ UTC: DataError: /data"
    with pytest.raises(NotSentError, match=said):
        lab.incoming(HOSPITAL, Reference("answer"))


def test_the_same_failure_is_told_once(root: Path) -> None:
    hospital = mailbox(root, HOSPITAL)
    assert [send_notice(hospital, failed(round=number)) for number in (1, 1, 2, 2)] == [
        *(True, False),
        *(True, False),
    ]
    assert send_notice(hospital, failed(job="job-2"))
    assert [path.name for path in (root / "exchange").rglob("*") if path.is_file()] == ["notice"]


def test_what_is_sent_takes_its_place(root: Path) -> None:
    send_notice(mailbox(root, HOSPITAL), failed())
    shutil.copyfile(root / "exchange" / PLACE, root / "kept")
    send(root)
    assert not (root / "exchange" / PLACE).exists()
    # a store may bring it back
    shutil.copyfile(root / "kept", root / "exchange" / PLACE)
    assert found(root) is None
    assert mailbox(root, LAB).incoming(HOSPITAL, Reference("answer")).header.kind == "adapter"
    junk = PLACE.replace("notice", f"9/envelope-{'0' * 64}")
    FolderStore(root / "exchange").put(junk, b"{}")
    assert found(root) is None, "a name that the store made up brings it back"
    FolderStore(root / "exchange").delete([junk])
    withdraw(mailbox(root, HOSPITAL), LAB, "answer")
    assert not (root / "exchange" / PLACE).exists()


def test_it_is_no_bundle(root: Path) -> None:
    send(root)
    later = now() + timedelta(seconds=5)
    place(root, signed(header(created=later, sequence=9)))
    sent = mailbox(root, LAB).incoming(HOSPITAL, Reference("answer"))
    assert (sent.header.kind, sent.header.sequence) == ("adapter", 1)
    auditor = open_auditor(root / LAB / "home", str(root / "exchange"), {})
    assert list(auditor.envelopes()) == [sent]
    assert auditor.verify(sent.digest, silent()) == sent
    (notice,) = auditor.notices()
    assert isinstance(notice, Envelope)
    with pytest.raises(BundleError, match="is of another kind"):
        notice.bundle_key(ring_of(LAB))
    with pytest.raises(BundleError, match="is an adapter, not a notice"):
        open_notice(sent, ring_of(LAB))


def test_it_can_be_taken_back(root: Path) -> None:
    hospital = mailbox(root, HOSPITAL)
    retract(hospital, LAB, "answer")
    send_notice(hospital, failed())
    retract(hospital, LAB, "answer")
    assert found(root) is None


def header(**over: Any) -> Header:
    facts: dict[str, Any] = {
        "bundle": "0" * 32,
        "name": "answer",
        "kind": "notice",
        "sender": HOSPITAL,
        "recipient": LAB,
        "job": "job-1",
        "sequence": 1,
        "created": now(),
        "shards": (),
    }
    return Header(**{**facts, **over})


def signed(head: Header, party: str = HOSPITAL) -> bytes:
    return write_notice(head, TOLD, ring_of(party), ring_of(LAB).public()).content


def place(root: Path, content: bytes) -> None:
    FolderStore(root / "exchange").put(PLACE, content)


HOSTILE = {
    "nothing": b"",
    "junk": b"{}",
    "a huge one": b" " * (LARGEST_NOTICE + 1),
    "of another bundle": signed(header(name="question")),
    "for another party": signed(header(recipient="clinic")),
    "of somebody else": signed(header(sender="clinic"), "clinic"),
    "signed by somebody else": signed(header(), "clinic"),
    "not in one encoding": signed(header()) + b"\n",
    "of the future": signed(header(created=now() + timedelta(days=1))),
    "of the year 8999": signed(header(created=datetime(8999, 12, 31, tzinfo=UTC))),
    "another kind": signed(header(kind="adapter")),
    "a tombstone": signed(header(kind="tombstone")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_the_peers_is_no_notice(root: Path, case: str) -> None:
    place(root, HOSTILE[case])
    assert found(root) is None
    with pytest.raises(NotSentError, match=r"ask hospital to send it$"):
        mailbox(root, LAB).incoming(HOSPITAL, Reference("answer"))
    auditor = open_auditor(root / LAB / "home", str(root / "exchange"), {})
    assert [type(each) for each in auditor.notices()] == [BundleError]
    assert list(auditor.envelopes()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        TOLD.content.strip(),
        TOLD.content + b" ",
        TOLD.content.replace(b"Tune", b"Chat"),
        TOLD.content.replace(b"DataError", b"data error"),
        TOLD.content.replace(b"patients", b"\\u001b[2Jent"),
        TOLD.content.replace(b"patients", "\u202eatien".encode()),
        canonical({**TOLD.wire(), "message": "x" * 401}).ljust(2048),
        canonical({**TOLD.wire(), "more": 1}).ljust(2048),
    ],
)
def test_invalid_content_of_a_notice_is_refused(root: Path, content: bytes) -> None:
    readers = (ring_of(LAB).public(), ring_of(HOSPITAL).public())
    envelope = wrap(header(), content, ring_of(HOSPITAL), readers)
    place(root, envelope.content)
    assert found(root) == envelope
    with pytest.raises(BundleError, match="the notice of hospital"):
        open_notice(envelope, ring_of(LAB))
    with pytest.raises(NotSentError, match="the notice of hospital"):
        mailbox(root, LAB).incoming(HOSPITAL, Reference("answer"))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("a\nb \x1b[2J\u202ec", r"a b \x1b[2J\u202ec"),
        ("ä" * 500, "ä" * 399 + "…"),
        ('"' * 500, '"' * 399 + "…"),
        ("\U0001f600" * 500, "\U0001f600" * 399 + "…"),
    ],
)
def test_any_failure_can_be_told(root: Path, message: str, said: str) -> None:
    notice = Notice.of("PlugIn", "BundleError", message)
    assert (notice.reason, notice.message) == ("BundleError", said)
    assert len(notice.content) == 2048
    send_notice(mailbox(root, HOSPITAL), failed(notice=notice))
    assert opened(root) == notice


@pytest.mark.parametrize("reason", ["StageFailed", "_Odd reason"])
def test_a_reason_that_discloses_nothing_has_no_message(reason: str) -> None:
    assert Notice.of("Tune", reason, SECRET) == Notice(stage="Tune", reason="StageFailed")
