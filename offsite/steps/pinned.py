"""The ledger of a step in a pod: the operator has decided what it may open and send."""

from dataclasses import dataclass
from typing import Any

from offsite.errors import BundleError, InputError
from offsite.sealing.envelope import GrantTerms


@dataclass(frozen=True)
class PinnedLedger:
    """The one envelope that may be opened, and the one sequence to send with."""

    envelope: str | None
    sequence: int | None

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        """See `HomeLedger.accepted`: the ledger is in the OffsitePeer's status."""
        return []

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        """See `HomeLedger.accept`.

        Raises:
            BundleError: It is not the envelope that the operator recorded.
        """
        if digest != self.envelope:
            raise BundleError(f"the operator has not accepted {name} of {peer} ({digest})")

    def allot(self, peer: str, name: str, job: str, spent: int = 0) -> int:
        """See `HomeLedger.allot`.

        Raises:
            InputError: The exchange already has an envelope with that sequence or a later one.
        """
        if self.sequence is None or spent >= self.sequence:
            raise InputError(
                f"sequence {self.sequence} of {name} for {peer} is taken in the exchange by an "
                "envelope that is incomplete or not this job's: shards were lost there, or the "
                "OffsitePeer's status was; restore it, or submit the job under another name"
            )
        return self.sequence

    def use(self, emulator: str, adapter: str, grant: GrantTerms) -> None:
        """See `HomeLedger.use`. The operator counted the use when it recorded the envelope."""
