"""Decides whether a job may start a step now: policy, peer, and the peer's bundle."""

from offsite.resources import Accepted, Allotted, PeerStatus
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.notices import read_notice
from offsite_operator.decide.policy import violation
from offsite_operator.decide.status import ConditionUpdate, changed, finish, wait
from offsite_operator.observe.model import Found, NotYet, Observed, Peer, Refused, Unreachable

_ASK_AGAIN = 15.0
"""Delay before the next lookup after the exchange did not answer."""


def awaits_bundle(seen: Observed) -> bool:
    """Return whether the next decision depends on the peer's bundle. Only then is the exchange
    queried.
    """
    job = seen.job
    if job.spec is None or job.spec.stage == "Distill" or job.status.envelope is not None:
        return False
    idle = job.finished or job.deleting or job.spec.suspend or job.spec.cancel
    return not idle and seen.peer is not None and seen.peer.ready


def objection(seen: Observed) -> Decision | None:
    """Return the decision that blocks the next step; None: nothing blocks it."""
    spec, settings = seen.job.spec, seen.settings
    assert spec is not None, "a job without a spec starts no step"
    if (found := violation(spec, settings)) is not None:
        return finish(seen, "Failed", *found)
    if seen.peer is None:
        return wait(
            seen,
            "PeerNotFound",
            f"there is no OffsitePeer {spec.peer} in this namespace; create it from the peer's "
            "public file, or "
            "correct spec.peer",
        )
    if not seen.peer.ready:
        return wait(seen, "PeerNotReady", _unready(seen.peer))
    several = spec.resources.workers > 1
    if (several or spec.runtime.engine == "RayJob") and not seen.ray:
        asks = "spec.resources.workers needs Ray" if several else "spec.runtime.engine is RayJob"
        instead = "workers: 1" if several else "engine: Job"
        return wait(
            seen,
            "NoKubeRay",
            f"{asks}, but the cluster does not serve rayjobs.ray.io; install KubeRay, or use "
            f"{instead}",
        )
    return _incoming(seen) if awaits_bundle(seen) else None


def _unready(peer: Peer) -> str:
    detail = next((c.message for c in peer.status.conditions if c.type == "Ready"), "")
    return f"the OffsitePeer {peer.alias} is not ready: {detail or 'its keys are being checked'}"


def _incoming(seen: Observed) -> Decision:
    match seen.incoming:
        case None:
            return Decision(again=_ASK_AGAIN)  # the result of the lookup enqueues the job
        case NotYet(message, notice):
            decision = read_notice(seen, message, notice) if notice else None
            return decision or wait(seen, "WaitingForBundle", message)
        case Unreachable(message):
            return wait(seen, "ExchangeUnreachable", message, _ASK_AGAIN)
        case Refused(message, tombstone):
            refused = finish(seen, "Failed", "BundleError", message)
            return _entered(seen, tombstone, refused) if tombstone else refused
        case Found() as found:
            update = ConditionUpdate(
                "True", "Accepted", f"{found.bundle}, sequence {found.sequence}"
            )
            status = changed(seen, "Pending", {"Accepted": update}, envelope=found.envelope)
            return _entered(seen, found, Decision(status=status, again=0))


def _entered(seen: Observed, found: Found, decision: Decision) -> Decision:
    """Add an envelope's ledger entry to a decision; it is written before anything else."""
    assert seen.peer is not None, "its envelope was found"
    return Decision(
        ledger=accepting(seen.peer.status, found),
        status=decision.status,
        delete=decision.delete,
        again=decision.again,
    )


def accepting(status: PeerStatus, found: Found) -> PeerStatus | None:
    """Add an envelope to the ledger; None: it is already there."""
    entry = Accepted(
        bundle=found.bundle,
        sequence=found.sequence,
        envelope=found.envelope,
        parent=found.parent,
    )
    if entry in status.accepted:
        return None
    return status.model_copy(update={"accepted": [*status.accepted, entry]})


def allotting(status: PeerStatus, bundle: str, job: str) -> tuple[PeerStatus | None, int]:
    """Allot a job its sequence for a bundle. It keeps that one until another job is allotted a
    later one.

    Returns:
        The new status, or None if nothing changes; and the sequence.
    """
    known = [entry for entry in status.allotted if entry.bundle == bundle]
    latest = max(known, key=lambda entry: entry.sequence, default=None)
    if latest is not None and latest.job == job:
        return None, latest.sequence
    entry = Allotted(bundle=bundle, job=job, sequence=latest.sequence + 1 if latest else 1)
    others = [each for each in status.allotted if each.bundle != bundle]
    # an earlier job's sequence can never be used again
    return status.model_copy(update={"allotted": [*others, entry]}), entry.sequence
