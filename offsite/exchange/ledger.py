"""The ledger of a party: sequences that it allotted, envelopes that it accepted.

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
from offsite.sealing.envelope import Grant
from offsite.store import disk_errors, locked, write_whole

MOST_AHEAD = 1000
"""How far a sequence may be ahead of the newest that was accepted. The next one is one ahead; none
could follow one that jumps to the end of the numbers."""
Page = dict[str, Any]
T = TypeVar("T")


class Ledger(Protocol):
    """What was accepted of peers."""

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        """See `HomeLedger.accepted`."""
        ...

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        """See `HomeLedger.accept`."""
        ...


class PartyLedger(Ledger, Protocol):
    """All that whoever opens and sends bundles has to remember."""

    def allot(self, peer: str, name: str, job: str, spent: int = 0) -> int:
        """See `HomeLedger.allot`."""
        ...

    def use(self, emulator: str, adapter: str, grant: Grant) -> None:
        """See `HomeLedger.use`."""
        ...


@dataclass(frozen=True)
class HomeLedger:
    """A folder of small JSON files."""

    folder: Path

    def job(self, peer: str, manifest: str) -> str:
        """Give what is sent by hand a job's name: drawn at random, and kept by its manifest."""
        fresh = secrets.token_hex(16)
        return self._change(f"jobs/{peer}", lambda page: str(page.setdefault(manifest, fresh)))

    def allot(self, peer: str, name: str, job: str, spent: int = 0) -> int:
        """Give a job its sequence for a bundle: the same one, until another job got a later one.

        Args:
            spent: the latest sequence that has an envelope already, of another sending.
        """

        def change(page: Page) -> int:
            jobs: dict[str, int] = page.setdefault(name, {})
            latest = max(jobs.values(), default=0)
            if jobs.get(job) != latest or latest <= spent:
                jobs[job] = max(latest, spent) + 1
            return jobs[job]

        return self._change(f"sequences/{peer}", change)

    def accept(self, peer: str, name: str, sequence: int, digest: str) -> None:
        """Enter an envelope into the ledger.

        Raises:
            BundleError: it is older than what was accepted already, or another one of the same
                sequence: a replay, or a store that hides what is newer.
        """

        def change(page: Page) -> None:
            accepted: list[list[Any]] = page.setdefault(name, [])
            check_fresh(accepted, name, sequence, digest)
            if [sequence, digest] not in accepted:
                accepted.append([sequence, digest])

        self._change(f"ledger/{peer}", change)

    def accepted(self, peer: str, name: str) -> list[list[Any]]:
        """List what the ledger has of a bundle: sequence and envelope digest, oldest first."""
        found: list[list[Any]] = self._read(self._path(f"ledger/{peer}")).get(name, [])
        return found

    def use(self, emulator: str, adapter: str, grant: Grant) -> None:
        """Count one use of an emulator: one distinct adapter envelope.

        Raises:
            BundleError: its grant has ended, or is used up.
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
            # to go on without it would accept what was accepted before, and count uses anew
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
    """Tell the newest sequence that was accepted of a bundle; 0: none."""
    return max((each[0] for each in accepted), default=0)


def check_fresh(accepted: list[list[Any]], name: str, sequence: int, digest: str) -> None:
    """Check an envelope against what was accepted of its bundle.

    Raises:
        BundleError: it is neither newer nor one of them, or too far ahead of them.
    """
    newest = newest_of(accepted)
    if sequence > newest + MOST_AHEAD:
        raise BundleError(
            f"{name} in sequence {sequence} ({digest}) is more than {MOST_AHEAD} ahead of sequence "
            f"{newest}, the newest that was accepted; ask its sender to send it under another name"
        )
    if [sequence, digest] not in accepted and sequence <= newest:
        raise BundleError(
            f"{name} in sequence {sequence} ({digest}) is not newer than sequence {newest}, which "
            "was accepted already: a replay, or the store hides what is newer; ask its "
            "sender to send it again"
        )
