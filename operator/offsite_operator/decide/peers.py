"""Decides whether a peer's keys may be used: they have its id, and succeed the pinned keys."""

from collections.abc import Iterable
from datetime import datetime

from offsite.errors import InputError
from offsite.resources import PeerCondition, PeerStatus
from offsite.sealing.identity import PublicRing
from offsite.sealing.publicfile import read_public, successor_problem
from offsite_operator.decide.status import ConditionUpdate
from offsite_operator.labels import ACCEPT_KEYS, Object
from offsite_operator.observe.model import Peer, ring_of


def elder_of(found: Object, peers: Iterable[Object]) -> str | None:
    """Name the oldest OffsitePeer of the same id; None: this one is the oldest."""
    same = [each for each in peers if each["spec"].get("id") == found["spec"].get("id")]
    first = min(same, key=_age, default=found)
    return None if _age(first) == _age(found) else str(first["metadata"]["name"])


def _age(found: Object) -> tuple[str, str]:
    return found["metadata"]["creationTimestamp"], found["metadata"]["uid"]


def review(peer: Peer, party: str, now: datetime, elder: str | None = None) -> PeerStatus | None:
    """Compute an OffsitePeer's status; None: it is up to date.

    Args:
        party: Our own id.
        elder: Alias of an older OffsitePeer of the same id, which holds the ledger.
    """
    if elder is not None:
        return _status(peer, _second(peer, elder), now)
    source = f"spec.public of the OffsitePeer {peer.alias}"
    try:
        ring = read_public(peer.public.encode(), source)
        problem = _problem(peer, ring, party)
    except InputError as error:
        return _status(peer, ConditionUpdate("False", "InvalidKeys", str(error)), now)
    if problem is not None:
        return _status(peer, problem, now)
    ready = _pinned(peer, ring)
    return _status(peer, ready, now, fingerprint=ring.fingerprint, pinned=peer.public)


def _pinned(peer: Peer, ring: PublicRing) -> ConditionUpdate:
    """Build the condition for pinned keys. It keeps reporting a key change until the next one."""
    previous = next(iter(peer.status.conditions), None)
    if previous is not None and previous.reason == "NewKeys" and peer.status.pinned == peer.public:
        return ConditionUpdate("True", previous.reason, previous.message)
    compare = f"compare the fingerprint with {ring.id}: {ring.fingerprint}"
    if peer.status.pinned in (None, peer.public):
        return ConditionUpdate("True", "Pinned", compare)
    former = peer.status.fingerprint
    return ConditionUpdate(
        "True", "NewKeys", f"newer keys replaced those with the fingerprint {former}; {compare}"
    )


def _second(peer: Peer, elder: str) -> ConditionUpdate:
    return ConditionUpdate(
        "False",
        "SecondOfId",
        f"the OffsitePeer {elder} also has the id {peer.id}, and holds its ledger; a second ledger "
        f"would count grants twice. Use {elder} in spec.peer, and delete {peer.alias}",
    )


def _problem(peer: Peer, ring: PublicRing, party: str) -> ConditionUpdate | None:
    if ring.id != peer.id:
        return ConditionUpdate(
            "False", "WrongId", f"spec.public has the keys of {ring.id}, but spec.id is {peer.id}"
        )
    if ring.id == party:
        own = f"spec.id is {party}, which is this organization; name the other party"
        return ConditionUpdate("False", "OwnId", own)
    if peer.status.pinned is None or peer.status.pinned == peer.public:
        return None
    problem = successor_problem(ring_of(peer), ring)
    if problem is None or peer.vouched == ring.fingerprint:
        return None
    return ConditionUpdate(
        "False",
        "NotASuccessor",
        f"the keys are not a successor of the pinned ones: {problem}; compare the fingerprint with "
        f"{ring.id} over another channel; if it is {ring.fingerprint}, annotate the OffsitePeer "
        "with "
        f'{ACCEPT_KEYS}="{ring.fingerprint}". Do not delete the OffsitePeer: its status holds the '
        "ledger that "
        "prevents replays and counts the uses of grants (docs/operator.md)",
    )


def _status(
    peer: Peer, update: ConditionUpdate, now: datetime, **updates: str
) -> PeerStatus | None:
    before = next(iter(peer.status.conditions), None)
    since = before.last_transition_time if before and before.status == update.status else now
    condition = PeerCondition(
        type="Ready",
        status=update.status,
        reason=update.reason,
        message=update.shown,
        last_transition_time=since,
        observed_generation=peer.generation,
    )
    status = peer.status.model_copy(update={"conditions": [condition], **updates})
    return None if status == peer.status else status
