"""`offsite keys`: who you are."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from offsite.exchange.home import (
    check_no_keys,
    create_keys,
    keep_ring,
    own_ring,
    passphrase_of,
    ring_path,
)
from offsite.sealing import PublicRing, Ring, load_ring
from offsite.store import locked, write_whole
from offsite.wire import canonical
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, say, show_json, show_text
from offsite_cli.passphrase import asked, new_passphrase

app = typer.Typer(no_args_is_help=True, help="Your own keys.")


@app.command()
def init(
    party: Annotated[str, typer.Argument(help="Your id: a DNS label, chosen once.")],
    home: Home = HOME,
    ask: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase to keep them under.")
    ] = False,
) -> None:
    """Make the keys of a new party.

    OFFSITE_PASSPHRASE_FILE names a file with a passphrase to keep them under. Where it is not set,
    a terminal is asked whenever keys that are under one are used.
    """
    place = home.expanduser()
    check_no_keys(place)  # before a passphrase is typed for nothing
    ring = create_keys(place, party, os.environ, new_passphrase() if ask else None)
    say(f"made the keys of {ring.id} in {ring_path(place)}")
    _show(ring.public(), Output.TEXT)


@app.command()
def show(home: Home = HOME, output: Format = Output.TEXT) -> None:
    """Show your keys, and the fingerprint to read out to a peer."""
    _show(_load(home).public(), output)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write it; your peers need it.")],
    home: Home = HOME,
) -> None:
    """Write your public file. There is nothing secret in it."""
    public = _load(home).public()
    write_whole(file, canonical(public.wire()) + b"\n", shared=True)
    say(f"wrote {file}; its fingerprint is {public.fingerprint}")


@app.command()
def rotate(
    home: Home = HOME,
    overlap_days: Annotated[
        int,
        typer.Option(
            min=0, max=3650, help="How long the former keys count for what is on its way."
        ),
    ] = 30,
) -> None:
    """Make newer keys. What was sealed to the former ones still opens."""
    _change(home, lambda ring: ring.rotated(timedelta(days=overlap_days)))


@app.command()
def revoke(
    entry: Annotated[str, typer.Argument(help="The key's id, as `offsite keys show` lists it.")],
    home: Home = HOME,
) -> None:
    """Make a key count for nothing, from when your peers have your newest public file."""
    _change(home, lambda ring: ring.revoked(entry))


def _load(home: Path) -> Ring:
    return own_ring(home.expanduser(), os.environ, asked(home))


def _change(home: Path, change: Callable[[Ring], Ring]) -> None:
    lock = ring_path(home.expanduser()).with_suffix(".lock")
    secret = passphrase_of(os.environ) or asked(home)
    with locked(lock, "another process changes these keys"):
        ring = change(load_ring(ring_path(home.expanduser()), secret))
        keep_ring(home.expanduser(), ring, secret)
    say("give your peers the newest public file: offsite keys export FILE")
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
