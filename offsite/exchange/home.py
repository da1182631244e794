"""A party's home folder: whose it is, whom it knows, and the exchange that it uses."""

from collections.abc import Mapping
from pathlib import Path

from offsite.exchange.books import Books
from offsite.exchange.mailbox import Mailbox
from offsite.sealing import load_ring
from offsite.sealing.peers import Peers
from offsite.store import FolderStore
from offsite.store.open import open_store
from offsite.store.private import read_private
from offsite.store.s3 import refuse_same_place

_PASSPHRASE = "OFFSITE_PASSPHRASE_FILE"


def ring_path(home: Path) -> Path:
    """Name the file of a party's private keys."""
    return home / "keys" / "ring.json"


def peers_of(home: Path) -> Peers:
    """Get the peers that a party has pinned."""
    return Peers(home / "peers")


def passphrase_of(environ: Mapping[str, str]) -> str | None:
    """Read the passphrase of the private keys, if the environment names a file of it.

    Raises:
        InputError: there is no such file, or others may read it.
    """
    if _PASSPHRASE not in environ:
        return None
    return read_private(Path(environ[_PASSPHRASE]), "passphrase").decode().rstrip("\n")


def open_mailbox(home: Path, exchange: str, environ: Mapping[str, str]) -> Mailbox:
    """Open a party's side of an exchange.

    Args:
        exchange: `file:///path` or `s3://bucket`; of an S3 store, `OFFSITE_EXCHANGE_ENDPOINT` and
            the like say more.

    Raises:
        InputError: no keys, a wrong passphrase, an exchange that is not known, or one that is
            the party's own home.
    """
    store = open_store(exchange, "OFFSITE_EXCHANGE", environ)
    refuse_same_place(store, FolderStore(home))
    return Mailbox(
        ring=load_ring(ring_path(home), passphrase_of(environ)),
        peers=peers_of(home),
        store=store,
        books=Books(home / "books"),
        scratch=home / "journals",
    )
