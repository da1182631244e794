"""`offsite peers`: pin the public keys of other parties."""

import os
from pathlib import Path
from typing import Annotated

import typer

from offsite.apiversion import API_VERSION
from offsite.errors import InputError
from offsite.exchange.home import dns_label, peers_of, pin
from offsite.sealing.publicfile import read_public
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, show_info, show_json, show_text, show_yaml

app = typer.Typer(no_args_is_help=True, help="Manage the public keys of other parties.")

_COMPARE = "compare the fingerprint with your peer over another channel"

PublicFile = Annotated[
    Path, typer.Argument(help="Public file of the peer, from `offsite keys export`.")
]
PeerName = Annotated[
    str | None, typer.Option(help="Your own name for the peer. Defaults to its id.")
]


@app.command()
def add(
    file: PublicFile,
    alias: PeerName = None,
    home: Home = HOME,
) -> None:
    """Pin the keys of a peer, or replace them by newer keys that the pinned ones signed.

    Compare the fingerprint with your peer over another channel, such as a call.
    """
    name, place = dns_label("peer name", alias) if alias else None, home.expanduser()
    before = {each.fingerprint for each in peers_of(place).all().values()}
    ring = pin(place, _read(file), str(file), name, os.environ)
    former = before - {each.fingerprint for each in peers_of(place).all().values()}
    what = f"pinned {ring.id}"
    if former:
        what = f"replaced the keys of {ring.id} ({former.pop()}) by newer ones"
    show_info(f"{what}; {_COMPARE}")
    show_text(f"{ring.id}: {ring.fingerprint}")


@app.command()
def manifest(
    file: PublicFile,
    name: PeerName = None,
) -> None:
    """Print an OffsitePeer for a cluster. Pipe it to `kubectl apply -f -`.

    Compare the fingerprint with your peer over another channel, such as a call.
    """
    text = _read(file)
    ring = read_public(text, str(file))
    show_info(f"{ring.id}: {ring.fingerprint}; {_COMPARE}")
    content = {
        "apiVersion": API_VERSION,
        "kind": "OffsitePeer",
        "metadata": {"name": dns_label("peer name", name) if name else ring.id},
        "spec": {"id": ring.id, "public": text.decode()},
    }
    show_yaml(content)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {file}") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


@app.command("list")
def list_(home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List the pinned peers."""
    found = peers_of(home.expanduser()).all()
    if output is Output.JSON:
        show_json(
            [
                {"alias": alias, "id": ring.id, "fingerprint": ring.fingerprint}
                for alias, ring in found.items()
            ]
        )
        return
    if not found:
        show_info("no peers yet; add one with: offsite peers add FILE")
    for alias, ring in found.items():
        show_text(f"{alias} ({ring.id}): {ring.fingerprint}")


@app.command()
def remove(
    alias: Annotated[
        str, typer.Argument(help="Name of the peer, as `offsite peers list` shows it.")
    ],
    home: Home = HOME,
) -> None:
    """Remove the pinned keys of a peer."""
    peers_of(home.expanduser()).remove(dns_label("peer name", alias))
    show_info(f"removed {alias}")
