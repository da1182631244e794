"""Whether the keys of a peer may be used: they are a peer's own, and follow those before them."""

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
    """Name the oldest other OffsitePeer of the same id, if this is not the oldest itself."""
    same = [each for each in peers if each["spec"].get("id") == found["spec"].get("id")]
    first = min(same, key=_age, default=found)
    return None if _age(first) == _age(found) else str(first["metadata"]["name"])


def _age(found: Object) -> tuple[str, str]:
    return found["metadata"]["creationTimestamp"], found["metadata"]["uid"]


def review(peer: Peer, party: str, now: datetime, elder: str | None = None) -> PeerStatus | None:
    """Decide what an OffsitePeer's status is to be; None: it is that.

    Args:
        party: our own id.
        elder: the alias of an older one of the same id, which has the ledger.
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
    """Say which keys are pinned now; of newer ones, for as long as they are, what was before."""
    said = next(iter(peer.status.conditions), None)
    if said is not None and said.reason == "NewKeys" and peer.status.pinned == peer.public:
        return ConditionUpdate("True", said.reason, said.message)
    compare = f"compare the fingerprint with {ring.id}: {ring.fingerprint}"
    if peer.status.pinned in (None, peer.public):
        return ConditionUpdate("True", "Pinned", compare)
    former = peer.status.fingerprint
    return ConditionUpdate(
        "True", "NewKeys", f"newer keys took the place of those with {former}; {compare}"
    )


def _second(peer: Peer, elder: str) -> ConditionUpdate:
    return ConditionUpdate(
        "False",
        "SecondOfId",
        f"the OffsitePeer {elder} is of {peer.id}, too, and keeps the ledger of what it sent: two "
        f"would count its grants twice; name {elder} in spec.peer, and delete {peer.alias}",
    )


def _problem(peer: Peer, ring: PublicRing, party: str) -> ConditionUpdate | None:
    if ring.id != peer.id:
        return ConditionUpdate(
            "False", "WrongId", f"the keys are of {ring.id}, not of spec.id {peer.id}"
        )
    if ring.id == party:
        own = f"{party} is the id of this organization; a peer is another one"
        return ConditionUpdate("False", "OwnId", own)
    if peer.status.pinned is None or peer.status.pinned == peer.public:
        return None
    problem = successor_problem(ring_of(peer), ring)
    if problem is None or peer.vouched == ring.fingerprint:
        return None
    return ConditionUpdate(
        "False",
        "NotASuccessor",
        f"the keys do not follow those that are pinned: {problem}; compare the fingerprint with "
        f"{ring.id} on another way, and if it is {ring.fingerprint}, annotate the OffsitePeer with "
        f'{ACCEPT_KEYS}="{ring.fingerprint}". Do not delete it: its status has the ledger that '
        "protect from replays and count the uses of grants (docs/operator.md)",
    )


def _status(peer: Peer, says: ConditionUpdate, now: datetime, **updates: str) -> PeerStatus | None:
    before = next(iter(peer.status.conditions), None)
    since = before.last_transition_time if before and before.status == says.status else now
    condition = PeerCondition(
        type="Ready",
        status=says.status,
        reason=says.reason,
        message=says.shown,
        last_transition_time=since,
        observed_generation=peer.generation,
    )
    status = peer.status.model_copy(update={"conditions": [condition], **updates})
    return None if status == peer.status else status
