"""The changes of a peer's ledger, which its OffsitePeer holds in its status."""

from offsite.resources import Accepted, Allotted, PeerStatus
from offsite_operator.observed import Found


def accepting(status: PeerStatus, found: Found) -> PeerStatus | None:
    """Enter an envelope; None: it stands there already."""
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
    """Give a job its sequence for a bundle: the same one, until another job got a later one.

    Returns:
        the status with it, None if it stands there already; and the sequence.
    """
    known = [entry for entry in status.allotted if entry.bundle == bundle]
    latest = max(known, key=lambda entry: entry.sequence, default=None)
    if latest is not None and latest.job == job:
        return None, latest.sequence
    entry = Allotted(bundle=bundle, job=job, sequence=latest.sequence + 1 if latest else 1)
    others = [each for each in status.allotted if each.bundle != bundle]
    # what another job got before can never be used again, so it need not be kept
    return status.model_copy(update={"allotted": [*others, entry]}), entry.sequence
