"""What may be opened: real keys, real envelopes, a folder as exchange."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from offsite.sealing import Notice, Ring, write_notice
from offsite.sealing.envelope import GrantTerms, Header, write_envelope
from offsite.sealing.primitives import STREAM, new_keyset
from offsite.sealing.publicfile import read_public
from offsite.store import FolderStore, disk_errors
from offsite.store.s3 import S3Store
from offsite.wire import canonical, now
from offsite_operator.decide.admission import accepting
from offsite_operator.decide.peers import review
from offsite_operator.exchange.inbox import ExchangeInbox, MountedInbox
from offsite_operator.observe.model import Found, Incoming, NotYet, Peer, Refused, Unreachable
from offsite_testing.world import PLUG_IN, START, TUNE, ready_peer, spec_of

LAB, HOSPITAL = Ring.new("lab"), Ring.new("hospital")


def pinned(ring: Ring, peer: Peer | None = None) -> Peer:
    public = canonical(ring.public().wire()).decode()
    found = replace(peer or ready_peer(), alias=ring.id, id=ring.id, public=public)
    fresh = replace(found, status=found.status.model_copy(update={"pinned": None}))
    status = review(fresh, "somebody", START)
    assert status is not None
    return replace(fresh, status=status)


def header_of(
    sender: Ring, recipient: Ring, name: str, sequence: int = 1, **more: object
) -> Header:
    return Header.model_validate(
        {
            "bundle": f"{sequence:032x}",
            "name": name,
            "kind": "emulator",
            "sender": sender.id,
            "recipient": recipient.id,
            "job": f"job-{sequence}",
            "sequence": sequence,
            "created": now(),
            "shards": (),
            **more,
        }
    )


def send(
    folder: Path, sender: Ring, recipient: Ring, name: str, sequence: int = 1, **more: object
) -> str:
    header = header_of(sender, recipient, name, sequence, **more)
    key = None if header.kind == "tombstone" else new_keyset(STREAM)
    envelope = write_envelope(header, key, sender, [recipient.public()])
    digest = envelope.digest.removeprefix("sha256:")
    place = f"{sender.id}/{recipient.id}/{name}/{sequence}/envelope-{digest}"
    FolderStore(folder).put(place, envelope.content)
    return envelope.digest


def tune(folder: Path, peer: Peer | None = None, **changes: object) -> Incoming:
    desk = ExchangeInbox(HOSPITAL.public(), FolderStore(folder))
    return desk.look(spec_of(TUNE, **changes), peer or pinned(LAB))


def test_the_newest_envelope_is_found(tmp_path: Path) -> None:
    assert isinstance(tune(tmp_path), NotYet)
    send(tmp_path, LAB, HOSPITAL, "question", 1)
    digest = send(tmp_path, LAB, HOSPITAL, "question", 2)
    assert tune(tmp_path) == Found(digest, "question", 2, None)


def test_a_notice_that_the_bundle_failed_is_found_until_it_has_come(tmp_path: Path) -> None:
    header = header_of(LAB, HOSPITAL, "question", kind="notice")
    notice = write_notice(header, Notice.of("Distill", "DataError", ""), LAB, HOSPITAL.public())
    place = FolderStore(tmp_path)
    place.put("lab/hospital/question/notice", notice.content)
    found = tune(tmp_path)
    assert isinstance(found, NotYet)
    assert found.notice == notice.digest
    place.put("lab/hospital/question/notice", notice.content.replace(b"lab", b"bal"))
    assert tune(tmp_path) == replace(found, notice=None)
    # a store that puts it where an envelope belongs has put nothing there
    digest = notice.digest.removeprefix("sha256:")
    place.put(f"lab/hospital/question/1/envelope-{digest}", notice.content)
    refused = tune(tmp_path)
    assert isinstance(refused, Refused)
    assert "is an envelope of lab/hospital/question" in refused.message


def test_a_named_envelope_is_found(tmp_path: Path) -> None:
    digest = send(tmp_path, LAB, HOSPITAL, "question", 1)
    send(tmp_path, LAB, HOSPITAL, "question", 2)
    section = TUNE["tune"] | {"bundle": f"question@{digest}"}
    assert tune(tmp_path, tune=section) == Found(digest, "question", 1, None)


def test_a_replay_is_refused(tmp_path: Path) -> None:
    send(tmp_path, LAB, HOSPITAL, "question", 1)
    peer = pinned(LAB)
    status = accepting(peer.status, Found("sha256:" + "c" * 64, "question", 2, None))
    assert status is not None
    found = tune(tmp_path, replace(peer, status=status))
    assert isinstance(found, Refused)
    assert "a replay" in found.message


def test_another_senders_envelope_is_refused(tmp_path: Path) -> None:
    send(tmp_path, Ring.new("lab"), HOSPITAL, "question")
    assert isinstance(tune(tmp_path), Refused)


def test_a_tombstone_is_refused_and_remembered(tmp_path: Path) -> None:
    send(tmp_path, LAB, HOSPITAL, "question", 1)
    digest = send(tmp_path, LAB, HOSPITAL, "question", 2, kind="tombstone")
    found = tune(tmp_path)
    assert isinstance(found, Refused)
    assert found.tombstone == Found(digest, "question", 2, None)


def test_an_adapter_is_no_emulator(tmp_path: Path) -> None:
    send(tmp_path, LAB, HOSPITAL, "question", kind="adapter")
    assert isinstance(tune(tmp_path), Refused)


def test_a_store_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    with closed_port() as endpoint:
        store = S3Store(endpoint, "exchange", "a", "b" * 20, stall_seconds=0.2)
        desk = ExchangeInbox(HOSPITAL.public(), store)
        found = desk.look(spec_of(TUNE), pinned(LAB))
    assert isinstance(found, Unreachable)
    assert "cannot reach" in found.message
    # other jobs do not wait for it, too
    desk.store = FolderStore(tmp_path)
    assert desk.look(spec_of(TUNE), pinned(LAB)) is found


@contextmanager
def closed_port() -> Iterator[str]:
    """Give an endpoint where nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def plug_in(folder: Path, peer: Peer) -> Incoming:
    return ExchangeInbox(LAB.public(), FolderStore(folder)).look(spec_of(PLUG_IN), peer)


def test_a_grant_is_used_once_by_each_adapter(tmp_path: Path) -> None:
    emulator = send(tmp_path, LAB, HOSPITAL, "question", grant=GrantTerms(max_uses=1))
    more = {"kind": "adapter", "parent": emulator}
    peer = pinned(HOSPITAL)
    first = send(tmp_path, HOSPITAL, LAB, "answer", 1, **more)
    found = plug_in(tmp_path, peer)
    assert found == Found(first, "answer", 1, emulator)
    status = accepting(peer.status, found)
    assert status is not None
    peer = replace(peer, status=status)
    assert plug_in(tmp_path, peer) == found  # a retry is no other use
    send(tmp_path, HOSPITAL, LAB, "answer", 2, **more)
    refused = plug_in(tmp_path, peer)
    assert isinstance(refused, Refused)
    assert "used up" in refused.message


def test_a_grant_ends(tmp_path: Path) -> None:
    ended = GrantTerms(expires=now() - timedelta(hours=1))
    emulator = send(tmp_path, LAB, HOSPITAL, "question", grant=ended)
    assert isinstance(tune(tmp_path), Refused)
    send(tmp_path, HOSPITAL, LAB, "answer", kind="adapter", parent=emulator)
    refused = plug_in(tmp_path, pinned(HOSPITAL))
    assert isinstance(refused, Refused)
    assert "ended" in refused.message


@pytest.mark.parametrize("parent", [None, "sha256:" + "d" * 64])
def test_an_adapter_of_no_known_emulator_is_refused(tmp_path: Path, parent: str | None) -> None:
    send(tmp_path, HOSPITAL, LAB, "answer", kind="adapter", parent=parent)
    assert isinstance(plug_in(tmp_path, pinned(HOSPITAL)), Refused)


def test_keys_that_are_rotated_while_it_runs_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    public, exchange = tmp_path / "public.json", tmp_path / "exchange"

    def mount(content: bytes) -> None:
        public.write_bytes(content)

    def make() -> ExchangeInbox:
        with disk_errors(public):
            return ExchangeInbox(read_public(public.read_bytes(), "it"), FolderStore(exchange))

    def look() -> Incoming:
        return desk.look(spec_of(PLUG_IN), pinned(HOSPITAL))

    mount(canonical(LAB.public().wire()))
    desk = MountedInbox([public], make)
    rotated = LAB.rotated(timedelta(days=1))
    emulator = send(exchange, rotated, HOSPITAL, "question")
    answer = send(exchange, HOSPITAL, LAB, "answer", kind="adapter", parent=emulator)
    refused = look()
    assert isinstance(refused, Refused)
    assert "lab has no key" in refused.message
    mount(canonical(rotated.public().wire()))
    assert look() == Found(answer, "answer", 1, emulator)
    mount(b"half of a file")
    assert look() == Found(answer, "answer", 1, emulator)
    public.unlink()
    assert look() == Found(answer, "answer", 1, emulator)
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 2
