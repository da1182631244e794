"""Grants: how an emulator may be used. Its sender enforces them on returned adapters."""

from offsite.errors import BundleError
from offsite.sealing import Header
from offsite.sealing.envelope import GrantTerms
from offsite.wire import now


def check_term(header: Header) -> None:
    """Check that a received emulator may still be used.

    Raises:
        BundleError: Its grant has ended.
    """
    if _has_ended(header.grant):
        raise BundleError(
            f"the grant of {header.name} ended on {header.grant.expires}; ask {header.sender} to "
            "send it again"
        )


def check_use(grant: GrantTerms, emulator: str, used: int) -> None:
    """Check that one more adapter may answer an emulator of ours.

    Args:
        emulator: Digest of its envelope.
        used: Number of distinct adapters accepted.

    Raises:
        BundleError: Its grant has ended or is used up.
    """
    remedy = "send the emulator again, with a new grant"
    if _has_ended(grant):
        raise BundleError(
            f"the grant of the emulator {emulator} ended on {grant.expires}; {remedy}"
        )
    if grant.max_uses is not None and used >= grant.max_uses:
        raise BundleError(
            f"the grant of the emulator {emulator} is used up: {used} adapters were accepted; "
            f"{remedy}"
        )


def _has_ended(grant: GrantTerms) -> bool:
    return grant.expires is not None and grant.expires < now()
