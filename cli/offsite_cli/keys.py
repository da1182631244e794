"""`offsite keys`: make, show and rotate your own keys, and ask for their passphrase."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.exchange.home import (
    PASSPHRASE_FILE,
    check_no_keys,
    create_keys,
    keep_ring,
    own_ring,
    passphrase_of,
    ring_path,
)
from offsite.sealing import PublicRing, Ring, load_ring
from offsite.sealing.ringfile import is_protected
from offsite.store import disk_errors, locked, write_whole
from offsite.text import printable
from offsite.wire import canonical
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, show_info, show_json, show_text

app = typer.Typer(no_args_is_help=True, help="Manage your own keys.")


@app.command()
def init(
    party: Annotated[
        str, typer.Argument(help="Your party's id: lower-case letters, digits and hyphens.")
    ],
    home: Home = HOME,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt the keys with a passphrase.")
    ] = False,
) -> None:
    """Make the keys of a new party. The id cannot be changed later.

    Set OFFSITE_PASSPHRASE_FILE to a file with the passphrase of encrypted keys. Without it,
    commands ask for the passphrase on a terminal.
    """
    place = home.expanduser()
    check_no_keys(place)  # before asking for a passphrase
    ring = create_keys(place, party, os.environ, _prompt_new_passphrase() if passphrase else None)
    show_info(f"made the keys of {ring.id} in {ring_path(place)}")
    _show(ring.public(), Output.TEXT)


@app.command()
def show(home: Home = HOME, output: Format = Output.TEXT) -> None:
    """Show your keys, and the fingerprint to compare with your peers."""
    _show(_load(home).public(), output)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Path of the public file to write.")],
    home: Home = HOME,
) -> None:
    """Write your public file, which your peers need. It contains no secrets."""
    public = _load(home).public()
    with disk_errors(file):
        if not file.parent.is_dir():
            raise InputError(f"there is no folder {file.parent}; create it, or name another path")
    write_whole(file, canonical(public.wire()) + b"\n", shared=True)
    show_info(f"wrote {file}; its fingerprint is {public.fingerprint}")


@app.command()
def rotate(
    home: Home = HOME,
    overlap_days: Annotated[
        int,
        typer.Option(
            min=0, max=3650, help="Days for which signatures by the former keys stay valid."
        ),
    ] = 30,
) -> None:
    """Make newer keys. Bundles that were encrypted to the former keys still open."""
    _change(home, lambda ring: ring.rotated(timedelta(days=overlap_days)))


@app.command()
def revoke(
    entry: Annotated[str, typer.Argument(help="Id of the key, as `offsite keys show` lists it.")],
    home: Home = HOME,
) -> None:
    """Revoke a key. Your peers reject it once they have your newest public file."""
    _change(home, lambda ring: ring.revoked(entry))


def prompt_passphrase(home: Path) -> str | None:
    """Ask for the passphrase of a party's keys.

    Returns None if the keys have none, if `OFFSITE_PASSPHRASE_FILE` names it, or without a
    terminal. In the last case, opening the keys fails with an error that names the variable.
    """
    path = ring_path(home.expanduser())
    if PASSPHRASE_FILE in os.environ or not sys.stdin.isatty() or not is_protected(path):
        return None
    return str(typer.prompt(f"passphrase of {printable(str(path))}", hide_input=True, err=True))


def _prompt_new_passphrase() -> str:
    """Ask for a new passphrase, twice.

    Raises:
        InputError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise InputError(
            f"cannot ask for a passphrase without a terminal; set {PASSPHRASE_FILE} to a file that "
            "contains it, and leave out --passphrase"
        )
    return str(typer.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))


def _load(home: Path) -> Ring:
    return own_ring(home.expanduser(), os.environ, prompt_passphrase(home))


def _change(home: Path, change: Callable[[Ring], Ring]) -> None:
    lock = ring_path(home.expanduser()).with_suffix(".lock")
    secret = passphrase_of(os.environ) or prompt_passphrase(home)
    with locked(lock, "another process changes these keys"):
        ring = change(load_ring(ring_path(home.expanduser()), secret))
        keep_ring(home.expanduser(), ring, secret)
    show_info("give your peers your newest public file: offsite keys export FILE")
    _show(ring.public(), Output.TEXT)


def _show(public: PublicRing, output: Output) -> None:
    if output is Output.JSON:
        entries = [entry.wire() | {"keyset": None} for entry in public.entries]
        show_json({"id": public.id, "fingerprint": public.fingerprint, "keys": entries})
        return
    show_text(f"{public.id}: {public.fingerprint}")
    for entry in public.entries:
        until = f" until {entry.not_after:%Y-%m-%d}" if entry.not_after else ""
        state = " revoked" if entry.revoked_at else until
        show_text(f"  {entry.id}  {entry.purpose:7}  since {entry.not_before:%Y-%m-%d}{state}")
