"""Whether a peer's keys may be used."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from offsite.resources import Allotted
from offsite.sealing import Ring
from offsite.wire import canonical
from offsite_operator.decide.admission import allotting
from offsite_operator.decide.peers import elder_of, review
from offsite_operator.observe.builder import peer_of
from offsite_operator.observe.model import Peer, ring_of
from offsite_testing.world import START, ready_peer

LAB = Ring.new("lab")


def text(ring: Ring) -> str:
    return canonical(ring.public().wire()).decode()


def fresh(public: str, party: str = "lab") -> Peer:
    status = ready_peer().status.model_copy(update={"conditions": [], "pinned": None})
    return Peer("lab", party, public, 1, status)


def after(peer: Peer, public: str) -> Peer:
    status = review(peer, "hospital", START)
    assert status is not None
    return replace(peer, status=status, public=public)


def test_keys_are_pinned_and_ready() -> None:
    peer = after(fresh(text(LAB)), text(LAB))
    assert peer.ready
    assert peer.status.fingerprint == LAB.public().fingerprint
    assert ring_of(peer) == LAB.public()
    assert review(peer, "hospital", START + timedelta(days=1)) is None


@pytest.mark.parametrize(
    ("public", "party", "own", "reason"),
    [
        ("nonsense", "lab", "hospital", "InvalidKeys"),
        (text(LAB), "clinic", "hospital", "WrongId"),
        (text(LAB), "lab", "lab", "OwnId"),
    ],
)
def test_keys_that_may_not_be_used(public: str, party: str, own: str, reason: str) -> None:
    status = review(fresh(public, party), own, START)
    assert status is not None
    assert (status.conditions[0].status, status.conditions[0].reason) == ("False", reason)
    assert status.pinned is None


def test_rotated_keys_take_the_place_of_those_before() -> None:
    rotated = LAB.rotated(timedelta(days=1))
    peer = after(fresh(text(LAB)), text(rotated))
    assert not peer.ready
    peer = after(peer, text(rotated))
    assert peer.ready
    assert peer.status.pinned == text(rotated)
    (says,) = peer.status.conditions
    old, new = LAB.public().fingerprint, rotated.public().fingerprint
    assert peer.status.fingerprint == new
    assert says.reason == "NewKeys"
    assert old in says.message
    assert says.message.endswith(f"compare the fingerprint with lab: {new}")
    assert review(peer, "hospital", START) is None, "it goes on saying so"


def test_keys_without_an_endorsement_are_refused() -> None:
    peer = after(fresh(text(LAB)), text(Ring.new("lab")))
    status = review(peer, "hospital", START)
    assert status is not None
    assert status.conditions[0].reason == "NotASuccessor"
    assert status.pinned == text(LAB)
    assert not replace(peer, status=status).ready


def test_keys_that_the_administrator_vouches_for_are_pinned_and_the_books_stay() -> None:
    other, books = Ring.new("lab"), [Allotted(bundle="x", job="a", sequence=7)]
    peer = after(fresh(text(LAB)), text(other))
    status = peer.status.model_copy(update={"allotted": books})
    peer = replace(peer, status=status, vouched=LAB.public().fingerprint)
    refused = review(peer, "hospital", START)
    assert refused is not None
    assert f'accept-keys="{other.public().fingerprint}"' in refused.conditions[0].message
    peer = after(replace(peer, vouched=other.public().fingerprint), text(other))
    assert peer.ready
    assert (peer.status.pinned, peer.status.allotted) == (text(other), books)


def test_the_second_of_an_id_is_refused() -> None:
    def named(alias: str, created: str, uid: str, party: str = "lab") -> dict[str, Any]:
        times = {"creationTimestamp": f"2026-01-01T{created}Z", "resourceVersion": "1"}
        metadata = {"name": alias, "uid": uid, **times}
        return {"metadata": metadata, "spec": {"id": party, "public": text(LAB)}}

    first, second = named("lab", "01:00:00", "b"), named("their-lab", "02:00:00", "a")
    twin, clinic = named("twin", "01:00:00", "c"), named("clinic", "00:00:00", "d", "clinic")
    every = [clinic, second, twin, first]
    elders = [elder_of(each, every) for each in every]
    assert elders == [None, "lab", "lab", None]
    status = review(peer_of(second), "hospital", START, "lab")
    assert status is not None
    assert (status.conditions[0].reason, status.pinned) == ("SecondOfId", None)
    assert "delete their-lab" in status.conditions[0].message


def test_a_job_keeps_its_sequence_until_another_got_a_later_one() -> None:
    status = ready_peer().status
    for job, bundle, sequence in (("a", "x", 1), ("a", "x", 1), ("b", "x", 2), ("a", "y", 1)):
        changed, found = allotting(status, bundle, job)
        assert found == sequence
        status = changed or status
    changed, found = allotting(status, "x", "a")
    assert (found, changed is None) == (3, False)
