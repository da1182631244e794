"""Receives a bundle: fetches and opens its shards, and checks the result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from offsite.bundle import (
    MANIFEST,
    Manifest,
    admit_emulator,
    check_emulator,
    check_whole,
    read_manifest,
)
from offsite.errors import BundleError, NotFoundError
from offsite.events import Monitor
from offsite.exchange.chunking import files_of
from offsite.exchange.digests import Digests
from offsite.exchange.grants import check_term
from offsite.exchange.listing import prefix_of
from offsite.exchange.mailbox import Mailbox
from offsite.exchange.staging import Staging, staging
from offsite.exchange.workers import in_workers
from offsite.sealing import SHARD_SIZE, Envelope, Header, Shard, open_shard
from offsite.sealing.primitives import Keyset
from offsite.sealing.shards import place_of, shard_count
from offsite.store import ObjectStore, private_opener
from offsite.wire import digest_of


@dataclass(frozen=True)
class Checks:
    """The checks that decide whether a bundle may be used."""

    admit: Callable[[Manifest], None]
    """Checks the manifest before anything else is fetched."""
    check: Callable[[Path], object]
    """Checks the opened folder, after its files were verified against the manifest."""
    count: Callable[[], None] = lambda: None
    """Counts the use, after all checks passed."""


WHOLE = Checks(lambda manifest: None, lambda folder: None)
"""Only the checks that apply to every bundle: it is complete, and the one that was sent."""
EMULATOR_CHECKS = Checks(admit_emulator, check_emulator)
"""The checks of an emulator."""


def pull(
    mailbox: Mailbox, envelope: Envelope, target: Path, checks: Checks, monitor: Monitor
) -> Manifest:
    """Fetch and open a peer's bundle into a folder.

    A repeated call continues an interrupted one.

    Args:
        envelope: The envelope that `Mailbox.incoming` found.

    Raises:
        BundleError: It has expired, a shard is missing or changed, or a check failed. No folder is
            left.
        StorageError: The store is unavailable.
    """
    header = envelope.header
    check_term(header)
    key = envelope.bundle_key(mailbox.ring)
    prefix = f"{prefix_of(header.sender, header.recipient, header.name)}{header.sequence}/"
    open_shard = partial(_get_and_open, mailbox.store, prefix, key, header.bundle)
    with staging(target, envelope, mailbox.scratch) as place:
        digests = _open_all(open_shard, header, place, checks.admit, monitor)
        with _refusals(header):
            manifest = check_whole(place.folder, digests.of)
        found = (manifest.name, manifest.made_by, manifest.made_for, manifest.facts.kind)
        if found != (header.name, header.sender, header.recipient, header.kind):
            raise BundleError(
                f"the bundle {header.name} of {header.sender} for {header.recipient} has a "
                "manifest "
                f"of {found[0]} of {found[1]} for {found[2]}; ask {header.sender} to send it again"
            )
        with _refusals(header):
            checks.check(place.folder)
        checks.count()
        mailbox.ledger.accept(header.sender, header.name, header.sequence, envelope.digest)
    return manifest


@contextmanager
def _refusals(header: Header) -> Iterator[None]:
    """Add the bundle's sender and a remedy to errors about its content."""
    try:
        yield
    except BundleError as error:
        raise BundleError(
            f"the bundle {header.name} of {header.sender} was refused: {error}; ask "
            f"{header.sender} to make it again"
        ) from error


OpenShard = Callable[[tuple[Shard, Path]], Shard]


def _open_all(
    open_shard: OpenShard,
    header: Header,
    place: Staging,
    admit: Callable[[Manifest], None],
    monitor: Monitor,
) -> Digests:
    """Open the missing shards, the manifest first; returns the digests of the files."""
    shards = header.shards
    tracker = monitor.track("fetch and open", len(shards), start=len(place.done))

    def note(shard: Shard) -> None:
        place.add(shard)
        tracker.advance()
        monitor.check()

    first = [shard for shard in shards if shard.file == 0]
    if [shard.number for shard in first] != [0]:
        raise BundleError(
            "the envelope has no manifest, or one that is too large; ask its sender to make the "
            "bundle again"
        )
    if first[0].sha256 not in place.done:
        note(open_shard((first[0], place.folder / MANIFEST)))
    with _refusals(header):
        manifest, _ = read_manifest(place.folder)
        admit(manifest)
    rest = [shard for shard in shards if shard.file]
    paths = _places(manifest, rest, place.folder)
    for name, entry in manifest.files.items():
        with open(place.folder / name, "ab", opener=private_opener) as file:
            file.truncate(entry.size)
    digests = Digests(paths, [shard for shard in rest if shard.sha256 in place.done])
    jobs = [(shard, paths[shard.file]) for shard in rest if shard.sha256 not in place.done]
    for shard in in_workers(open_shard, jobs, sum(shard.size for shard, _ in jobs)):
        note(shard)
        digests.add(shard)
    return digests


def _places(manifest: Manifest, shards: Sequence[Shard], folder: Path) -> dict[int, Path]:
    """Return the path of each file, and check that the shards cover every file exactly once."""
    names = files_of(manifest)
    counts = {i: shard_count(manifest.files[name].size) for i, name in enumerate(names) if i}
    found = {(shard.file, shard.number): shard.count for shard in shards}
    # compare the sum first: made-up sizes in a manifest could fill the memory with shards
    if not sum(counts.values()) == len(shards) == len(found) or found != {
        (i, number): count for i, count in counts.items() for number in range(count)
    }:
        raise BundleError(
            "the shards of the envelope are not those of the manifest's files; ask its sender to "
            "make the bundle again"
        )
    return {number: folder / name for number, name in enumerate(names)}


def _get_and_open(
    store: ObjectStore, prefix: str, key: Keyset, bundle: str, job: tuple[Shard, Path]
) -> Shard:
    shard, path = job
    sealed = fetch_shard(store, prefix, shard)
    with open(path, "r+b" if path.exists() else "xb", opener=private_opener) as file:
        room = file.seek(0, 2)
        file.seek(shard.number * SHARD_SIZE)
        place = place_of(bundle, shard.file, shard.number, shard.count)
        open_shard(key, sealed, place, file)
        if shard.file and file.tell() != min(room, (shard.number + 1) * SHARD_SIZE):
            raise BundleError(
                f"{path.name} does not have the size in its manifest; ask its sender to make "
                "the bundle again"
            )
    return shard


def fetch_shard(store: ObjectStore, prefix: str, shard: Shard) -> bytes:
    """Fetch the ciphertext of a shard.

    Raises:
        BundleError: It is missing, or differs from the envelope's.
    """
    key = prefix + shard.sha256
    try:
        sealed = store.get(key, shard.size)
    except NotFoundError as error:
        raise BundleError(
            f"a shard is missing: {error}; run this again, since its sender may just have sent a "
            "newer bundle; if that does not help, ask for the bundle again"
        ) from error
    if digest_of(sealed) != f"sha256:{shard.sha256}":
        raise BundleError(
            f"{store.uri(key)} was changed: it is not the shard that the envelope names; "
            "ask its sender to send it again"
        )
    return sealed
