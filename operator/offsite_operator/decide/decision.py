"""The result of `reconcile`: what to do about one job."""

from dataclasses import dataclass

from offsite.resources import JobStatus, PeerStatus
from offsite_operator.manifests.children import NewChild
from offsite_operator.observe.model import Child


@dataclass(frozen=True)
class Decision:
    """Carried out in the order of its fields; what fails is decided anew from what then is."""

    ledger: PeerStatus | None = None
    """The peer's status, if it is to change: before anything may rely on it."""
    create: NewChild | None = None
    status: JobStatus | None = None
    """The job's, if it is to change."""
    delete: tuple[Child, ...] = ()
    delete_job: bool = False
    again: float | None = None
    """Seconds after which the answer may be another although nothing happened; 0: go on at once."""

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done now."""
        return (
            not (self.ledger or self.create or self.status or self.delete or self.delete_job)
            and self.again != 0
        )
