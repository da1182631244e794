"""Decides whether a job may start a step now: policy, peer, and the peer's bundle."""

from offsite.api import JobSpec
from offsite.resources import AUTHOR, Accepted, Allotted, PeerStatus
from offsite_operator.decide.approval import needs_approval
from offsite_operator.decide.decision import Decision
from offsite_operator.decide.notices import read_notice
from offsite_operator.decide.policy import violation
from offsite_operator.decide.status import ConditionUpdate, changed, finish, wait
from offsite_operator.observe.model import Found, NotYet, Observed, Peer, Refused, Unreachable

_NO_AUTHOR = (
    f"this organization requires an approval by another user than the author, and the job has no "
    f"annotation {AUTHOR}; submit it with `offsite submit`, or set the annotation to your own user "
    "name (`kubectl auth whoami`)"
)
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


def admit(seen: Observed, spec: JobSpec) -> Peer | Decision:
    """Return the peer that the next step works with, or the decision that blocks the step."""
    if (found := violation(spec, seen.settings)) is not None:
        return finish(seen, "Failed", *found)
    if needs_approval(seen) and seen.job.author is None:
        return finish(seen, "Failed", "NotAllowed", _NO_AUTHOR)
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
    if (lacking := _lacking_ray(seen, spec)) is not None:
        return lacking
    return _incoming(seen, spec, seen.peer) if awaits_bundle(seen) else seen.peer


def _lacking_ray(seen: Observed, spec: JobSpec) -> Decision | None:
    several = spec.resources.workers > 1
    if seen.ray or not (several or spec.runtime.engine == "RayJob"):
        return None
    asks = "spec.resources.workers needs Ray" if several else "spec.runtime.engine is RayJob"
    instead = "workers: 1" if several else "engine: Job"
    return wait(
        seen,
        "NoKubeRay",
        f"{asks}, but the cluster does not serve rayjobs.ray.io; install KubeRay, or use {instead}",
    )


def _unready(peer: Peer) -> str:
    detail = next((c.message for c in peer.status.conditions if c.type == "Ready"), "")
    return f"the OffsitePeer {peer.alias} is not ready: {detail or 'its keys are being checked'}"


def _incoming(seen: Observed, spec: JobSpec, peer: Peer) -> Decision:
    match seen.incoming:
        case None:
            return Decision(again=_ASK_AGAIN)  # the result of the lookup enqueues the job
        case NotYet(message, notice):
            if notice is not None:
                return read_notice(seen, spec, peer, message, notice)
            return wait(seen, "WaitingForBundle", message)
        case Unreachable(message):
            return wait(seen, "ExchangeUnreachable", message, _ASK_AGAIN)
        case Refused(message, tombstone):
            refused = finish(seen, "Failed", "BundleError", message)
            return _entered(peer, tombstone, refused) if tombstone else refused
        case Found() as found:
            update = ConditionUpdate(
                "True", "Accepted", f"{found.bundle}, sequence {found.sequence}"
            )
            status = changed(seen, "Pending", {"Accepted": update}, envelope=found.envelope)
            return _entered(peer, found, Decision(status=status, again=0))


def _entered(peer: Peer, found: Found, decision: Decision) -> Decision:
    """Add an envelope's ledger entry to a decision; it is written before anything else."""
    return Decision(
        ledger=accepting(peer.status, found),
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
