"""Whether a peer's keys may be used."""

from dataclasses import replace
from datetime import timedelta

import pytest

from offsite.sealing import Ring
from offsite.sealing.parts import canonical
from offsite_operator.ledger import allotting
from offsite_operator.observed import Peer
from offsite_operator.peers import review, ring_of
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


def test_keys_that_nobody_vouches_for_do_not() -> None:
    peer = after(fresh(text(LAB)), text(Ring.new("lab")))
    status = review(peer, "hospital", START)
    assert status is not None
    assert status.conditions[0].reason == "NotASuccessor"
    assert status.pinned == text(LAB)
    assert not replace(peer, status=status).ready


def test_a_job_keeps_its_sequence_until_another_got_a_later_one() -> None:
    status = ready_peer().status
    for job, bundle, sequence in (("a", "x", 1), ("a", "x", 1), ("b", "x", 2), ("a", "y", 1)):
        changed, found = allotting(status, bundle, job)
        assert found == sequence
        status = changed or status
    changed, found = allotting(status, "x", "a")
    assert (found, changed is None) == (3, False)
