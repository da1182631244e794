"""Whether the keys of a peer may be used: they are a peer's own, and follow those before them."""

from datetime import datetime

from offsite.errors import InputError
from offsite.resources import PeerCondition, PeerStatus
from offsite.sealing.identity import PublicRing, read_public, successor_problem
from offsite_operator.conditions import Says
from offsite_operator.observed import Peer


def review(peer: Peer, party: str, now: datetime) -> PeerStatus | None:
    """Decide what an OffsitePeer's status is to be; None: it is that.

    Args:
        party: our own id.
    """
    source = f"spec.public of the OffsitePeer {peer.alias}"
    try:
        ring = read_public(peer.public.encode(), source)
        problem = _problem(peer, ring, party)
    except InputError as error:
        return _status(peer, Says("False", "InvalidKeys", str(error)), now)
    if problem is not None:
        return _status(peer, problem, now)
    ready = Says("True", "Pinned", f"compare the fingerprint with {ring.id}: {ring.fingerprint}")
    return _status(peer, ready, now, fingerprint=ring.fingerprint, pinned=peer.public)


def ring_of(peer: Peer) -> PublicRing:
    """Get the keys that are pinned for a peer that is ready.

    Raises:
        InputError: its status was tampered with.
    """
    return read_public((peer.status.pinned or "").encode(), f"the OffsitePeer {peer.alias}")


def _problem(peer: Peer, ring: PublicRing, party: str) -> Says | None:
    if ring.id != peer.id:
        return Says("False", "WrongId", f"the keys are of {ring.id}, not of spec.id {peer.id}")
    if ring.id == party:
        return Says("False", "OwnId", f"{party} is our own id; a peer is somebody else")
    if peer.status.pinned is None or peer.status.pinned == peer.public:
        return None
    problem = successor_problem(ring_of(peer), ring)
    if problem is None:
        return None
    return Says(
        "False",
        "NotASuccessor",
        f"the keys do not follow those that are pinned: {problem}; if you are sure, delete the "
        f"OffsitePeer, make it anew, and compare the fingerprint with {ring.id}",
    )


def _status(peer: Peer, says: Says, now: datetime, **updates: str) -> PeerStatus | None:
    before = next(iter(peer.status.conditions), None)
    since = before.last_transition_time if before and before.status == says.status else now
    condition = PeerCondition(
        type="Ready",
        status=says.status,
        reason=says.reason,
        message=says.message,
        last_transition_time=since,
        observed_generation=peer.generation,
    )
    status = peer.status.model_copy(update={"conditions": [condition], **updates})
    return None if status == peer.status else status
