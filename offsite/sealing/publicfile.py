"""Validates public files, and decides which one may replace a pinned one."""

from datetime import datetime

from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.sealing.identity import Entry, PublicRing, Purpose
from offsite.sealing.primitives import Keyset, TinkError, is_public
from offsite.wire import now


def read_public(content: bytes, source: str) -> PublicRing:
    """Read a public file, which must be signed by one of its own keys.

    Raises:
        InputError: It is not a public file, or was changed.
    """
    remedy = "ask its party for the output of `offsite keys export`"
    try:
        ring = PublicRing.model_validate_json(content)
        sound = ring.endorsed_by(*ring.signers())
    except (ValidationError, TinkError, ValueError) as error:
        raise InputError(f"{source} is not a public file: {reason(error)}; {remedy}") from error
    if not ring.endorsements and not any(is_public(e.keyset, e.purpose) for e in ring.entries):
        raise InputError(
            f"{source} has private keys; keep it secret, and create the public file with "
            "`offsite keys export`"
        )
    if not sound:
        raise InputError(f"{source} was changed: none of its own keys signed it; {remedy}")
    for entry in ring.entries:
        if not is_public(entry.keyset, entry.purpose):
            raise InputError(f"{source} has a key {entry.id} that cannot {entry.purpose}; {remedy}")
    return ring


def successor_problem(pinned: PublicRing, fresh: PublicRing) -> str | None:
    """Return why a public file may not replace a pinned one; None: it may.

    The newest pinned sign key must have signed it, and must not have ended. An older one may be
    stolen, and could revoke the newer ones or add the thief's.
    """
    if fresh.id != pinned.id:
        return f"it has the keys of {fresh.id}, not of {pinned.id}"
    if fresh.content == pinned.content:
        return None
    known = pinned.signers()
    if not fresh.endorsed_by(*known):
        return "no pinned key signed it"
    after = {entry.id: entry for entry in fresh.entries}
    problems = (_change_problem(entry, after.get(entry.id)) for entry in reversed(pinned.entries))
    return next(filter(None, problems), None) or _voucher_problem(known[-1], fresh)


def _voucher_problem(newest: Entry, fresh: PublicRing) -> str | None:
    if not newest.covers(now()):
        return (
            f"the newest pinned sign key, {newest.id}, is valid from {newest.not_before} to "
            f"{newest.not_after}, so it cannot vouch for another key now"
        )
    if not fresh.endorsed_by(newest):
        return f"the newest pinned sign key, {newest.id}, did not sign it; an older one did"
    return None


def _change_problem(before: Entry, after: Entry | None) -> str | None:
    """Return why a pinned key may not change in this way; None: it may."""
    if after is None or _identity(after) != _identity(before):
        return f"it lacks the key {before.id}, or has another one in its place"
    if before.revoked_at and not after.revoked_at:
        return f"it reverts the revocation of the key {before.id}"
    if before.not_after and (after.not_after is None or after.not_after > before.not_after):
        return f"it extends the key {before.id}, which ends on {before.not_after}"
    return None


def _identity(entry: Entry) -> tuple[Purpose, datetime, Keyset]:
    return entry.purpose, entry.not_before, entry.keyset
