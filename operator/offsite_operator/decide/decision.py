"""The result of `reconcile`: the actions for one job."""

from dataclasses import dataclass

from offsite.resources import JobStatus, PeerStatus
from offsite_operator.manifests.children import NewChild
from offsite_operator.observe.model import Child


@dataclass(frozen=True)
class Decision:
    """Actions, applied in the order of the fields. After a failure, the next reconcile decides
    again.
    """

    ledger: PeerStatus | None = None
    """The peer's new status. Written first, because later actions rely on it."""
    create: NewChild | None = None
    status: JobStatus | None = None
    """The job's new status."""
    delete: tuple[Child, ...] = ()
    delete_job: bool = False
    again: float | None = None
    """Seconds until the next reconcile, even without an event; 0: immediately."""

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to do now."""
        return (
            not (self.ledger or self.create or self.status or self.delete or self.delete_job)
            and self.again != 0
        )
