"""Public files: what makes one valid, and which one may replace a pinned one."""

from datetime import datetime

from pydantic import ValidationError

from offsite.api.problems import reason
from offsite.errors import InputError
from offsite.sealing.identity import Entry, PublicRing, Purpose
from offsite.sealing.primitives import Keyset, TinkError, is_public
from offsite.wire import now


def read_public(content: bytes, source: str) -> PublicRing:
    """Read a public file, which must be signed by a key of its own.

    Raises:
        InputError: it is none, or was changed.
    """
    remedy = "ask its party for the file that `offsite keys export` makes"
    try:
        ring = PublicRing.model_validate_json(content)
        sound = ring.endorsed_by(*ring.signers())
    except (ValidationError, TinkError, ValueError) as error:
        raise InputError(f"{source} is not a public file: {reason(error)}; {remedy}") from error
    if not ring.endorsements and not any(is_public(e.keyset, e.purpose) for e in ring.entries):
        raise InputError(
            f"{source} holds private keys; keep it secret, and make the public file with "
            "`offsite keys export`"
        )
    if not sound:
        raise InputError(f"{source} was changed: none of its own keys signed it; {remedy}")
    for entry in ring.entries:
        if not is_public(entry.keyset, entry.purpose):
            raise InputError(f"{source} has a key {entry.id} that cannot {entry.purpose}; {remedy}")
    return ring


def successor_problem(pinned: PublicRing, fresh: PublicRing) -> str | None:
    """Say why a public file may not take the place of a pinned one; None: it may.

    The newest sign key that is pinned has to have signed it, and must not have ended: an older one
    may long have been stolen, and would revoke the newer ones, or add its thief's.
    """
    if fresh.id != pinned.id:
        return f"it is of {fresh.id}, not of {pinned.id}"
    if fresh.content == pinned.content:
        return None
    known = pinned.signers()
    if not fresh.endorsed_by(*known):
        return "no key that is pinned signed it"
    after = {entry.id: entry for entry in fresh.entries}
    problems = (_change_problem(entry, after.get(entry.id)) for entry in reversed(pinned.entries))
    return next(filter(None, problems), None) or _voucher_problem(known[-1], fresh)


def _voucher_problem(newest: Entry, fresh: PublicRing) -> str | None:
    if not newest.covers(now()):
        return (
            f"the newest sign key that is pinned, {newest.id}, counts from {newest.not_before} to "
            f"{newest.not_after}, and not now: it vouches for no other"
        )
    if not fresh.endorsed_by(newest):
        return f"the newest sign key that is pinned, {newest.id}, did not sign it; an older one did"
    return None


def _change_problem(before: Entry, after: Entry | None) -> str | None:
    """Say what may not become of a key that is pinned."""
    if after is None or _identity(after) != _identity(before):
        return f"it lacks the key {before.id}, or has another one in its place"
    if before.revoked_at and not after.revoked_at:
        return f"it takes back that the key {before.id} was revoked"
    if before.not_after and (after.not_after is None or after.not_after > before.not_after):
        return f"it takes back that the key {before.id} ends on {before.not_after}"
    return None


def _identity(entry: Entry) -> tuple[Purpose, datetime, Keyset]:
    return entry.purpose, entry.not_before, entry.keyset
