"""The disclosure ledger of a model owner: one numbered, chained note for each emulator.

It is in the party's artifacts, below `disclosed/`, for all models, jobs and peers. An entry is
written before its emulator is sent, by whoever is the first to write that number; so of two jobs at
once the second one sees what the first one discloses. What earlier versions sent, which wrote
records alone, counts by its records.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from offsite.bundle import EmulatorRecord, read_record
from offsite.bundle.disclosure import DisclosureEntry, entry_of
from offsite.errors import InputError
from offsite.store.artifact_store import ArtifactStore
from offsite.wire import canonical

_FOLDER, _RECORDS = "disclosed", "records"
_MOST_TRIES = 8
"""How often a number may be taken by a note that is not listed then: a shared disk may lag."""
_REMEDY = (
    "restore the private store from a backup; if there is none, rebuild it from the records: "
    "offsite bundles disclosed --rebuild"
)


@dataclass(frozen=True)
class Disclosures:
    """The ledger in an artifact store."""

    artifacts: ArtifactStore

    def entries(self) -> tuple[DisclosureEntry, ...]:
        """Read what was disclosed, oldest first; what only a record tells comes last.

        Raises:
            InputError: something is lost or damaged.
        """
        # records first: what is sent meanwhile has its entry before its record
        records, entries = list(self._records()), self._ledger()
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
        """List the envelopes of emulators that there is a record of, or that were given up."""
        restored = {entry.envelope for entry in self._ledger() if entry.envelope}
        return restored | {record.digest for record in self._records()}

    def enter(
        self, entry: DisclosureEntry, check: Callable[[Sequence[DisclosureEntry]], None]
    ) -> str:
        """Enter an emulator that is about to be sent; gives the digest of its entry.

        One that is tried again is entered once.

        Args:
            check: raises if it may not be sent after those that are there.

        Raises:
            InputError: the ledger is damaged, or something else is in the place of its next note;
                else what `check` raises.
            StorageError: it was not written.
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
        """Check, of a number that was taken when it was tried, that an entry took it."""
        tried.append(number)
        if tried.count(number) > _MOST_TRIES:
            raise InputError(
                f"{self.artifacts.uri(f'{_FOLDER}/{_name(number)}')} is in the way of the next "
                "entry of the ledger, and is not a file of the ledger; find out who put it there, "
                "and move it away"
            )

    def rebuild(self) -> int:
        """Make a whole ledger of the entries and records that are left.

        No job may run meanwhile. Cut off, it can be done again. The sketches of weights in entries
        that are lost stay lost: a renamed copy is not known by those.

        Returns:
            how many entries were made anew.
        """
        readable = [entry for _, entry in self._readable() if entry is not None]
        known = {entry.body_digest for entry in readable}
        restored = {entry.envelope for entry in readable}
        lost = [
            entry_of(record)
            for record in self._records()
            if record.entry not in known and record.digest not in restored
        ]
        entries = list[DisclosureEntry]()
        # an entry's new place never comes after its old one, so that none is lost on the way
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
                raise InputError(f"{uri} is damaged, or of another version of offsite; {_REMEDY}")
            if (name, entry.number, entry.previous) != (_name(number), number, previous):
                raise InputError(
                    f"{uri} does not follow the entry before it: one is lost, or was changed; "
                    f"{_REMEDY}"
                )
            found.append(entry)
            previous = entry.digest
        return found

    def _readable(self) -> Iterator[tuple[str, DisclosureEntry | None]]:
        """Read the entries in order; None: it is damaged."""
        for name in sorted(self.artifacts.names(_FOLDER)):
            content = self.artifacts.read(f"{_FOLDER}/{name}")
            try:
                yield name, DisclosureEntry.model_validate_json(content or b"")
            except ValidationError:
                yield name, None

    def _records(self) -> Iterator[EmulatorRecord]:
        for name in sorted(self.artifacts.names(_RECORDS)):
            content = self.artifacts.read(f"{_RECORDS}/{name}")
            try:
                yield read_record(content or b"")
            except ValidationError as error:
                raise InputError(
                    f"{self.artifacts.uri(f'{_RECORDS}/{name}')} is damaged, or of another version "
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
