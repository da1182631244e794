"""The ledger of a party: allotted sequences, accepted envelopes, and uses of grants.

The ledger is in the home of the party, never in the exchange. Each file is changed under a lock.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from offsite.errors import BundleError, InputError
from offsite.exchange.grants import check_use
from offsite.sealing.envelope import GrantTerms
from offsite.store import disk_errors, locked, write_whole

MOST_AHEAD = 1000
"""How far a sequence may be ahead of the newest accepted one. Normally it is one ahead. Without a
limit, a jump to the largest number would block all later bundles.
"""
Page = dict[str, Any]
T = TypeVar("T")


class Ledger(Protocol):
    """The ledger of accepted envelopes."""

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        """See `HomeLedger.accepted`."""
        ...

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        """See `HomeLedger.accept`."""
        ...


class PartyLedger(Ledger, Protocol):
    """The complete ledger that opening and sending bundles requires."""

    def allot(self, peer: str, name: str, job: str, spent: int = 0) -> int:
        """See `HomeLedger.allot`."""
        ...

    def use(self, emulator: str, adapter: str, grant: GrantTerms) -> None:
        """See `HomeLedger.use`."""
        ...


@dataclass(frozen=True)
class HomeLedger:
    """A ledger in a folder of small JSON files."""

    folder: Path

    def job(self, peer: str, manifest: str) -> str:
        """Return the job id of a manually sent bundle: random, and fixed per manifest."""
        fresh = secrets.token_hex(16)
        return self._change(f"jobs/{peer}", lambda page: str(page.setdefault(manifest, fresh)))

    def allot(self, peer: str, name: str, job: str, spent: int = 0) -> int:
        """Allot a job its sequence for a bundle. It keeps that one until another job gets a later
        one.

        Args:
            spent: The latest sequence with an envelope of another push.
        """

        def change(page: Page) -> int:
            jobs: dict[str, int] = page.setdefault(name, {})
            latest = max(jobs.values(), default=0)
            if jobs.get(job) != latest or latest <= spent:
                jobs[job] = max(latest, spent) + 1
            return jobs[job]

        return self._change(f"sequences/{peer}", change)

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        """Record an accepted envelope.

        Raises:
            BundleError: It is older than an accepted one, or differs from the accepted one of its
                sequence. This means a replay, or a store that hides newer envelopes.
        """

        def change(page: Page) -> None:
            accepted: list[list[Any]] = page.setdefault(name, [])
            check_fresh(accepted, name, sequence, digest)
            if [sequence, digest] not in accepted:
                accepted.append([sequence, digest])

        self._change(f"ledger/{peer}", change)

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        """List the accepted envelopes of a bundle, oldest first: sequence and envelope digest."""
        found: list[list[Any]] = self._read(self._path(f"ledger/{peer}")).get(name, [])
        return found

    def use(self, emulator: str, adapter: str, grant: GrantTerms) -> None:
        """Count one use of an emulator: one distinct adapter envelope.

        Raises:
            BundleError: Its grant has ended or is used up.
        """

        def change(page: Page) -> None:
            used: list[str] = page.setdefault(emulator, [])
            if adapter not in used:
                check_use(grant, emulator, len(used))
                used.append(adapter)

        self._change("uses", change)

    def _path(self, book: str) -> Path:
        return self.folder / f"{book}.json"

    def _read(self, path: Path) -> Page:
        with disk_errors(path):
            content = path.read_bytes() if path.is_file() else b"{}"
        try:
            page: Page = json.loads(content)
        except ValueError as error:
            # continuing without it would accept replays, and restart the count of uses
            raise InputError(f"{path} is damaged ({error}); restore it from a backup") from error
        return page

    def _change(self, book: str, change: Callable[[Page], T]) -> T:
        path = self._path(book)
        with locked(path.with_suffix(".lock")):
            page = self._read(path)
            before = json.dumps(page)
            result = change(page)
            if json.dumps(page) != before:
                write_whole(path, json.dumps(page, indent=1).encode())
        return result


def newest_of(accepted: list[list[Any]]) -> int:
    """Return the newest accepted sequence of a bundle; 0: none."""
    return max((each[0] for each in accepted), default=0)


def check_fresh(accepted: list[list[Any]], name: str, sequence: int, digest: str) -> None:
    """Check an envelope against the accepted ones of its bundle.

    Raises:
        BundleError: It is neither newer nor one of them, or too far ahead of them.
    """
    newest = newest_of(accepted)
    if sequence > newest + MOST_AHEAD:
        raise BundleError(
            f"{name} in sequence {sequence} ({digest}) is more than {MOST_AHEAD} ahead of sequence "
            f"{newest}, the newest accepted one; ask its sender to send it under another name"
        )
    if [sequence, digest] not in accepted and sequence <= newest:
        raise BundleError(
            f"{name} in sequence {sequence} ({digest}) is not newer than sequence {newest}, which "
            "was already accepted: a replay, or the store hides newer envelopes; ask its "
            "sender to send it again"
        )
