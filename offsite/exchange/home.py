"""A party's home folder: its identity, its peers, and the exchange that it uses."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from offsite.api import NAME_PATTERN, PATTERN_MEANING
from offsite.errors import InputError
from offsite.exchange.audit import Auditor
from offsite.exchange.ledger import HomeLedger
from offsite.exchange.mailbox import Mailbox
from offsite.sealing import PublicRing, Ring, load_ring, save_ring
from offsite.sealing.peers import Peers
from offsite.sealing.publicfile import read_public
from offsite.store import FolderStore, disk_errors, tighten, write_whole
from offsite.store.artifact_store import FolderArtifactStore
from offsite.store.open import open_store, refuse_same_place
from offsite.store.private import read_private
from offsite.wire import canonical

PASSPHRASE_FILE = "OFFSITE_PASSPHRASE_FILE"
"""Environment variable that names a file with the passphrase of the private keys."""


def ring_path(home: Path) -> Path:
    """Return the path of a party's private keys."""
    return home / "keys" / "ring.json"


def public_path(home: Path) -> Path:
    """Return the path of the public file's copy, which is used where no private key is needed."""
    return home / "keys" / "public.json"


def create_keys(
    home: Path, party: str, environ: Mapping[str, str], passphrase: str | None = None
) -> Ring:
    """Create the keys of a new party.

    Args:
        passphrase: Encrypts the keys, unless the environment names a passphrase file.

    Raises:
        InputError: The home already has keys, or the party's id is not a DNS label.
    """
    check_no_keys(home)
    ring = Ring.new(dns_label("party", party))
    keep_ring(home, ring, passphrase or passphrase_of(environ))
    return ring


def check_no_keys(home: Path) -> None:
    """Check that a home has no keys, which new keys would replace.

    Raises:
        InputError: It has keys.
    """
    path = ring_path(home)
    if path.exists():
        raise InputError(
            f"{path} already exists; make newer keys with `offsite keys rotate`, or choose another "
            "home folder"
        )


def dns_label(what: str, text: str) -> str:
    """Check the name of a party or a bundle.

    Raises:
        InputError: It is not a DNS label.
    """
    if not re.fullmatch(NAME_PATTERN, text):
        raise InputError(f"{what} {text!r} must be {PATTERN_MEANING[NAME_PATTERN]}")
    return text


def keep_ring(home: Path, ring: Ring, passphrase: str | None) -> None:
    """Write a party's keys and its public file; if the disk is full, neither."""
    public = public_path(home)
    fresh = public.with_name("public.json.next")
    try:
        write_whole(fresh, _public_file(ring))
        save_ring(ring, ring_path(home), passphrase)
        tighten(home)
        fresh.replace(public)
    finally:
        with suppress(OSError):  # report the original error
            fresh.unlink()


def own_ring(home: Path, environ: Mapping[str, str], passphrase: str | None = None) -> Ring:
    """Read a party's keys, and repair its public file after an interrupted write.

    Raises:
        InputError: As for `load_ring`.
        StorageError: The disk is not readable or writable.
    """
    ring, public = (
        load_ring(ring_path(home), passphrase_of(environ) or passphrase),
        public_path(home),
    )
    with disk_errors(public):
        if public.is_file() and public.read_bytes() != _public_file(ring):
            write_whole(public, _public_file(ring))
    return ring


def _public_file(ring: Ring) -> bytes:
    return canonical(ring.public().wire()) + b"\n"


def open_auditor(home: Path, exchange: str, environ: Mapping[str, str]) -> Auditor:
    """Open an exchange for auditing, with the public keys of a home.

    Raises:
        InputError: There are too few keys, or the exchange's address is not valid.
    """
    rings, own = list(peers_of(home).all().values()), own_public(home, environ)
    if own is not None:
        rings.append(own)
    if len(rings) < 2:
        raise InputError(
            f"{home} lacks the public keys of two parties; add them with `offsite peers add`"
        )
    store = open_store(exchange, "OFFSITE_EXCHANGE", environ)
    return Auditor(store, rings, own.id if own else None)


def own_public(home: Path, environ: Mapping[str, str]) -> PublicRing | None:
    """Return a party's own public keys; None: this home has none, as an auditor's."""
    path = public_path(home)
    if path.is_file():
        return read_public(path.read_bytes(), str(path))
    if ring_path(home).is_file():  # mounted from a Secret, which has only the ring
        return load_ring(ring_path(home), passphrase_of(environ)).public()
    return None


def peers_of(home: Path) -> Peers:
    """Return the pinned peers of a home."""
    return Peers(home / "peers")


def ledger_of(home: Path) -> HomeLedger:
    """Return the ledger in a home."""
    return HomeLedger(home / "books")


def pin(
    home: Path, content: bytes, source: str, alias: str | None, environ: Mapping[str, str]
) -> PublicRing:
    """Pin a peer's keys, as `Peers.add`, unless the peer is the party itself.

    Raises:
        InputError: The keys have the party's own id; else as for `Peers.add`.
    """
    own = own_public(home, environ)
    if own is not None and own.id == read_public(content, source).id:
        raise InputError(f"{source} has your own id; a peer needs another id")
    return peers_of(home).add(content, source, alias)


def passphrase_of(environ: Mapping[str, str]) -> str | None:
    """Read the passphrase from the file that the environment names; None: it names none.

    Raises:
        InputError: The file is missing, readable by others, or has no text.
    """
    if PASSPHRASE_FILE not in environ:
        return None
    path = Path(environ[PASSPHRASE_FILE])
    try:
        passphrase = read_private(path, f"passphrase ({PASSPHRASE_FILE})").decode().rstrip("\n")
    except UnicodeDecodeError:  # drop the cause, which contains the passphrase
        raise InputError(f"the passphrase in {path} is not UTF-8 text") from None
    if not passphrase:
        raise InputError(f"there is no passphrase in {path}: its first line is empty")
    return passphrase


def open_mailbox(
    home: Path, exchange: str, environ: Mapping[str, str], passphrase: str | None = None
) -> Mailbox:
    """Open a party's side of an exchange.

    Args:
        exchange: `file:///path` or `s3://bucket`. For S3, variables such as
            `OFFSITE_EXCHANGE_ENDPOINT` apply.
        passphrase: Passphrase of the private keys, unless the environment names a file.

    Raises:
        InputError: There are no keys, the passphrase is wrong, or the exchange's address is not
            valid or is the party's own home.
    """
    store = open_store(exchange, "OFFSITE_EXCHANGE", environ)
    refuse_same_place(store, FolderStore(home), "your home folder")
    ring = own_ring(home, environ, passphrase)
    tighten(home)
    return Mailbox(
        ring=ring,
        peers=peers_of(home),
        store=store,
        ledger=ledger_of(home),
        scratch=home / "journals",
        journals=FolderArtifactStore(home / "journals"),
    )
