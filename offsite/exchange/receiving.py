"""Receives a bundle: fetches and opens its shards, and checks the result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from offsite.bundle import MANIFEST, Manifest, check_whole, read_manifest
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
    """What decides whether a bundle may be used."""

    admit: Callable[[Manifest], None]
    """Looks at the manifest before anything else is fetched."""
    check: Callable[[Path], object]
    """Looks at what came out, whose files are those of the manifest, byte for byte."""
    count: Callable[[], None] = lambda: None
    """Counts the use, when all else holds."""


WHOLE = Checks(lambda manifest: None, lambda folder: None)
"""Nothing but what is checked of every bundle: that it is the one that was sent, and whole."""


def pull(
    mailbox: Mailbox, envelope: Envelope, target: Path, checks: Checks, monitor: Monitor
) -> Manifest:
    """Open a bundle that a peer sent, into a folder of one's own.

    Cut off and called again, it goes on where it was.

    Args:
        envelope: as `Mailbox.incoming` found it.
    Raises:
        BundleError: expired, a shard is missing or changed, or a check refuses; there is no folder.
        StorageError: the store did not give it.
    """
    header = envelope.header
    check_term(header)
    key = envelope.bundle_key(mailbox.ring)
    prefix = f"{prefix_of(header.sender, header.recipient, header.name)}{header.sequence}/"
    task = partial(_get_and_open, mailbox.store, prefix, key, header.bundle)
    with staging(target, envelope, mailbox.scratch) as place:
        digests = _open_all(task, header, place, checks.admit, monitor)
        with _refusals(header):
            manifest = check_whole(place.folder, digests.of)
        told = (manifest.name, manifest.made_by, manifest.made_for, manifest.facts.kind)
        if told != (header.name, header.sender, header.recipient, header.kind):
            raise BundleError(
                f"the bundle {header.name} of {header.sender} for {header.recipient} says that it "
                f"is {told[0]} of {told[1]} for {told[2]}; ask {header.sender} to send it again"
            )
        with _refusals(header):
            checks.check(place.folder)
        checks.count()
        mailbox.ledger.accept(header.sender, header.name, header.sequence, envelope.digest)
    return manifest


@contextmanager
def _refusals(header: Header) -> Iterator[None]:
    """Let a check of what is in a bundle say whose it is, and what to do about it."""
    try:
        yield
    except BundleError as error:
        raise BundleError(
            f"{header.sender} sent a bundle {header.name} that is refused: {error}; ask "
            f"{header.sender} to make it anew"
        ) from error


Task = Callable[[tuple[Shard, Path]], Shard]


def _open_all(
    task: Task,
    header: Header,
    place: Staging,
    admit: Callable[[Manifest], None],
    monitor: Monitor,
) -> Digests:
    """Open what is not there yet, the manifest first; give the digests of the files."""
    shards = header.shards
    tracker = monitor.track("fetch and open", len(shards), start=len(place.done))

    def note(shard: Shard) -> None:
        place.add(shard)
        tracker.advance()
        monitor.check()

    first = [shard for shard in shards if shard.file == 0]
    if [shard.number for shard in first] != [0]:
        raise BundleError(
            "the envelope names no manifest, or one that is too large; ask its sender to make the "
            "bundle anew"
        )
    if first[0].sha256 not in place.done:
        note(task((first[0], place.folder / MANIFEST)))
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
    for shard in in_workers(task, jobs, sum(shard.size for shard, _ in jobs)):
        note(shard)
        digests.add(shard)
    return digests


def _places(manifest: Manifest, shards: Sequence[Shard], folder: Path) -> dict[int, Path]:
    """Find the path of each file, and check that the shards cover every file, once."""
    names = files_of(manifest)
    counts = {i: shard_count(manifest.files[name].size) for i, name in enumerate(names) if i}
    found = {(shard.file, shard.number): shard.count for shard in shards}
    # the sum first: sizes that a manifest makes up could fill the memory with shards
    if not sum(counts.values()) == len(shards) == len(found) or found != {
        (i, number): count for i, count in counts.items() for number in range(count)
    }:
        raise BundleError(
            "the shards of the envelope are not those of the manifest's files; ask its sender to "
            "make the bundle anew"
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
                f"{path.name} is not of the size that its manifest says; ask its sender to make "
                "the bundle anew"
            )
    return shard


def fetch_shard(store: ObjectStore, prefix: str, shard: Shard) -> bytes:
    """Fetch the ciphertext of a shard.

    Raises:
        BundleError: it is missing, or not the one that the envelope names.
    """
    key = prefix + shard.sha256
    try:
        sealed = store.get(key, shard.size)
    except NotFoundError as error:
        raise BundleError(
            f"a shard is missing: {error}; run this again, as its sender may just have sent a "
            "newer one; else ask for it again"
        ) from error
    if digest_of(sealed) != f"sha256:{shard.sha256}":
        raise BundleError(
            f"{store.uri(key)} is not the shard that the envelope names: it was changed; "
            "ask its sender to send it again"
        )
    return sealed
