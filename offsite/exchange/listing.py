"""Lists an exchange under one bundle's name: envelopes and shards by sequence, and a notice."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from offsite.errors import BundleError, NotFoundError
from offsite.sealing import Envelope, PublicRing, read_envelope
from offsite.sealing.envelope import LARGEST_ENVELOPE
from offsite.sealing.notice import LARGEST_NOTICE
from offsite.store import ObjectStore
from offsite.wire import digest_of

_NOTICE = "notice"
"""The object name of a notice. A newer notice replaces it."""
_KEY = re.compile(rf"([^/]+)/(?:{_NOTICE}|([1-9][0-9]{{0,15}})/(envelope-)?([0-9a-f]{{64}}))")
"""The end of a key: name, sequence, envelope prefix, and digest."""


@dataclass(frozen=True)
class Listing:
    """What one party has sent to another under one name, as of one listing."""

    store: ObjectStore
    sender: PublicRing
    prefix: str
    """The key prefix of all objects: `<sender>/<recipient>/<name>/`."""
    envelopes: dict[int, list[str]] = field(default_factory=dict)
    """Envelope digests by sequence; several if attempts raced."""
    shards: dict[int, dict[str, int]] = field(default_factory=dict)
    """Shard digests and sizes by sequence."""
    noticed: bool = False
    """Whether there is a notice of a failed stage."""
    _known: dict[str, Envelope] = field(default_factory=dict, repr=False, compare=False)
    """Envelopes by key, each read once: a key contains the digest."""

    @property
    def _remedy(self) -> str:
        return f"ask {self.sender.id} to send it again"

    @property
    def notice_key(self) -> str:
        """The key of a notice."""
        return self.prefix + _NOTICE

    @property
    def newest_first(self) -> list[int]:
        """The sequences with an envelope, newest first."""
        return sorted(self.envelopes, reverse=True)

    def read(self, sequence: int, digest: str) -> Envelope:
        """Read an envelope, and check that it belongs to its key.

        Raises:
            BundleError: It is missing, belongs elsewhere, or is not signed by the sender.
        """
        key = f"{self.prefix}{sequence}/{envelope_name(digest)}"
        if key not in self._known:
            self._known[key] = self._checked(self._content(key, digest), key)
        return self._known[key]

    def _content(self, key: str, digest: str) -> bytes:
        try:
            content = self.store.get(key, LARGEST_ENVELOPE)
        except NotFoundError as error:
            raise BundleError(
                f"the store lists {self.store.uri(key)} but does not return it; {self._remedy}"
            ) from error
        if digest_of(content) != digest:
            raise BundleError(
                f"{self.store.uri(key)} was changed: its name is not its digest; {self._remedy}"
            )
        return content

    def _checked(self, content: bytes, key: str) -> Envelope:
        envelope = read_envelope(content, self.sender)
        belongs = key_of(envelope)
        if belongs != key:
            raise BundleError(
                f"{self.store.uri(key)} is an envelope of {belongs.rpartition('/')[0]}, moved to "
                f"another key; {self._remedy}"
            )
        return envelope

    def notice(self) -> Envelope | None:
        """Read the notice of a failed stage; None: there is none, or a newer envelope.

        Raises:
            BundleError: It belongs elsewhere, or is not signed by the sender.
        """
        if not self.noticed:
            return None
        try:
            content = self.store.get(self.notice_key, LARGEST_NOTICE)
        except NotFoundError:  # deleted since it was listed
            return None
        envelope = self._checked(content, self.notice_key)
        at = envelope.header.created
        newest = next(filter(None, (list(self.readable(n)) for n in self.newest_first)), [])
        return None if any(each.header.created >= at for each in newest) else envelope

    def signed_from(self, least: int, most: int | None = None) -> Iterator[int]:
        """List the sequences with an envelope signed by the sender; newest first.

        The store could make up names in a listing, so signatures are verified.

        Args:
            most: The highest sequence; default: no limit.
        """
        last = most or max(self.envelopes, default=0)
        return (n for n in self.newest_first if least <= n <= last and any(self.readable(n)))

    def readable(self, sequence: int) -> Iterator[Envelope]:
        """Read the envelopes of a sequence; skips those that the sender did not sign."""
        for digest in sorted(self.envelopes.get(sequence, [])):
            with suppress(BundleError):
                yield self.read(sequence, digest)

    def find(self, digest: str) -> Envelope | None:
        """Read the envelope of a digest; None: there is none.

        Raises:
            BundleError: It was changed or belongs elsewhere.
        """
        for sequence, digests in self.envelopes.items():
            if digest in digests:
                return self.read(sequence, digest)
        return None

    def is_whole(self, envelope: Envelope, peer: PublicRing) -> bool:
        """Return whether all shards of an envelope are listed, and a peer has a key for it."""
        there = self.shards.get(envelope.header.sequence, {})
        usable = {entry.id for entry in peer.entries if not entry.revoked_at}
        return any(key.to in usable for key in envelope.keys) and all(
            there.get(shard.sha256) == shard.size for shard in envelope.header.shards
        )


def listing_of(store: ObjectStore, sender: PublicRing, recipient: str, name: str) -> Listing:
    """List the objects of one name."""
    pair, prefix = f"{sender.id}/{recipient}/", prefix_of(sender.id, recipient, name)
    found = _listings(store, sender, pair, store.sizes(prefix))
    return found.get(name) or Listing(store, sender, prefix)


def listings_of(store: ObjectStore, sender: PublicRing, recipient: str) -> list[Listing]:
    """List everything that one party has sent to another, by name."""
    pair = f"{sender.id}/{recipient}/"
    found = _listings(store, sender, pair, store.sizes(pair))
    return [found[name] for name in sorted(found)]


def every_listing(store: ObjectStore, sender: PublicRing) -> list[Listing]:
    """List everything that one party has sent, to any recipient."""
    pairs: dict[str, dict[str, int]] = {}
    for key, size in store.sizes(f"{sender.id}/").items():
        pairs.setdefault("/".join(key.split("/", 2)[:2]) + "/", {})[key] = size
    return [
        listing
        for pair, sizes in sorted(pairs.items())
        for _, listing in sorted(_listings(store, sender, pair, sizes).items())
    ]


def _listings(
    store: ObjectStore, sender: PublicRing, pair: str, sizes: dict[str, int]
) -> dict[str, Listing]:
    """Group a listing by name; skips foreign objects."""
    found: dict[str, Listing] = {}
    for key, size in sizes.items():
        if (parts := _KEY.fullmatch(key.removeprefix(pair))) is None:
            continue
        name, sequence, digest = parts[1], parts[2], parts[4]
        prefix = f"{pair}{name}/"
        noticed = prefix + _NOTICE in sizes
        listing = found.setdefault(name, Listing(store, sender, prefix, noticed=noticed))
        if sequence and parts[3]:
            listing.envelopes.setdefault(int(sequence), []).append(f"sha256:{digest}")
        elif sequence:
            listing.shards.setdefault(int(sequence), {})[digest] = size
    return found


def key_of(envelope: Envelope) -> str:
    """Return the key of an envelope."""
    header = envelope.header
    prefix = prefix_of(header.sender, header.recipient, header.name)
    if header.kind == "notice":
        return prefix + _NOTICE
    return f"{prefix}{header.sequence}/{envelope_name(envelope.digest)}"


def prefix_of(sender: str, recipient: str, name: str) -> str:
    """Return the key prefix of a bundle."""
    return f"{sender}/{recipient}/{name}/"


def envelope_name(digest: str) -> str:
    """Return the object name of an envelope."""
    return f"envelope-{digest.removeprefix('sha256:')}"
