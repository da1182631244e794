"""The disclosure ledger of a model owner: one numbered, hash-chained entry for each emulator.

It is kept in the party's artifacts below `disclosed/`, for all models, jobs and peers. An entry is
written before its emulator is sent, and only if its number is still free; so the second of two
concurrent jobs sees what the first one discloses. Emulators of earlier versions, which wrote only
records, count by their records.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from offsite.bundle import EmulatorRecord, read_record
from offsite.bundle.ledger_entry import DisclosureEntry, entry_of
from offsite.errors import InputError
from offsite.store.artifact_store import ArtifactStore
from offsite.wire import canonical

_FOLDER, _RECORDS = "disclosed", "records"
_MOST_TRIES = 8
"""Retries for a number that is taken but not listed yet: a shared disk may lag."""
_REMEDY = (
    "restore the private store from a backup, or rebuild the ledger from the records: "
    "offsite bundles disclosed --rebuild"
)


@dataclass(frozen=True)
class Disclosures:
    """The ledger in an artifact store."""

    artifacts: ArtifactStore

    def entries(self) -> tuple[DisclosureEntry, ...]:
        """Read all disclosures, oldest first; those known only from records come last.

        Raises:
            InputError: An entry is missing or damaged.
        """
        # records first: concurrent jobs write the entry before the record
        records, entries = list(self.records()), self._ledger()
        restored = {entry.envelope for entry in entries}
        known = {entry.body_digest for entry in entries}
        alone = [each for each in records if each.digest not in restored]
        for record in alone:
            if record.entry is not None and record.entry not in known:
                raise InputError(
                    f"{self.artifacts.uri(_FOLDER)} lacks the entry of {record.bundle}, which was "
                    f"sent to {record.recipient} ({record.digest}), so it is unknown what was "
                    f"disclosed; {_REMEDY}"
                )
        return (*entries, *(entry_of(record) for record in alone if record.entry is None))

    def envelopes(self) -> set[str]:
        """List the envelopes of emulators that have a record, or were restored by `rebuild`."""
        restored = {entry.envelope for entry in self._ledger() if entry.envelope}
        return restored | {record.digest for record in self.records()}

    def enter(
        self, entry: DisclosureEntry, check: Callable[[Sequence[DisclosureEntry]], None]
    ) -> str:
        """Record an emulator that is about to be sent; returns the digest of its entry.

        A retry does not add a second entry.

        Args:
            check: Raises if the emulator may not be sent in addition to the given entries.

        Raises:
            InputError: The ledger is damaged, or a foreign file has its next number; else as
                `check`.
            StorageError: The entry was not written.
        """
        tried: list[int] = []
        while True:
            entries = self.entries()
            numbered = [each for each in entries if each.number]
            self._check_free(len(numbered) + 1, tried)
            again = next((each for each in numbered if each.repeats(entry)), None)
            if again is not None:
                return again.body_digest
            check(entries)
            if self.artifacts.add(*_note(entry, numbered)):
                return entry.body_digest

    def _check_free(self, number: int, tried: list[int]) -> None:
        """Check that a number that was taken is eventually listed as an entry."""
        tried.append(number)
        if tried.count(number) > _MOST_TRIES:
            raise InputError(
                f"{self.artifacts.uri(f'{_FOLDER}/{_name(number)}')} has the name of the next "
                "ledger entry, but is not one; find out where it comes from, "
                "and move it away"
            )

    def rebuild(self) -> int:
        """Rebuild a consistent ledger from the remaining entries and records.

        No job may run meanwhile. The operation can be repeated after an interruption. Weight
        sketches of lost entries stay lost, so renamed copies of those models are not recognized.

        Returns:
            The number of entries that were recreated.
        """
        readable = [entry for _, entry in self._readable() if entry is not None]
        known = {entry.body_digest for entry in readable}
        restored = {entry.envelope for entry in readable}
        lost = [
            entry_of(record)
            for record in self.records()
            if record.entry not in known and record.digest not in restored
        ]
        entries = list[DisclosureEntry]()
        # an entry's new number never exceeds its old one, so none is overwritten on the way
        for entry in (*readable, *lost):
            self.artifacts.write(*_note(entry, entries))
            entries.append(_after(entry, entries))
        for name in {*self.artifacts.names(_FOLDER)} - {_name(entry.number) for entry in entries}:
            self.artifacts.remove(f"{_FOLDER}/{name}")
        return len(lost)

    def _ledger(self) -> list[DisclosureEntry]:
        found, previous = list[DisclosureEntry](), None
        for number, (name, entry) in enumerate(self._readable(), 1):
            uri = self.artifacts.uri(f"{_FOLDER}/{name}")
            if entry is None:
                raise InputError(
                    f"{uri} is damaged, or was written by another version of offsite; {_REMEDY}"
                )
            if (name, entry.number, entry.previous) != (_name(number), number, previous):
                raise InputError(
                    f"{uri} does not follow the previous entry: an entry is missing or was "
                    "changed; "
                    f"{_REMEDY}"
                )
            found.append(entry)
            previous = entry.digest
        return found

    def _readable(self) -> Iterator[tuple[str, DisclosureEntry | None]]:
        """Read the entries in order; None for a damaged one."""
        for name in sorted(self.artifacts.names(_FOLDER)):
            content = self.artifacts.read(f"{_FOLDER}/{name}")
            try:
                yield name, DisclosureEntry.model_validate_json(content or b"")
            except ValidationError:
                yield name, None

    def records(self) -> Iterator[EmulatorRecord]:
        """Read the records of all emulators that were sent.

        Raises:
            InputError: One is damaged.
        """
        for name in sorted(self.artifacts.names(_RECORDS)):
            content = self.artifacts.read(f"{_RECORDS}/{name}")
            try:
                yield read_record(content or b"")
            except ValidationError as error:
                raise InputError(
                    f"{self.artifacts.uri(f'{_RECORDS}/{name}')} is damaged, or was written by "
                    "another version "
                    "of offsite; restore it from a backup"
                ) from error


def _after(entry: DisclosureEntry, entries: Sequence[DisclosureEntry]) -> DisclosureEntry:
    previous = entries[-1].digest if entries else None
    return entry.model_copy(update={"number": len(entries) + 1, "previous": previous})


def _note(entry: DisclosureEntry, entries: Sequence[DisclosureEntry]) -> tuple[str, bytes]:
    following = _after(entry, entries)
    return f"{_FOLDER}/{_name(following.number)}", canonical(following.wire())


def _name(number: int) -> str:
    return f"{number:06}.json"
