"""`offsite peers`: whose keys you trust."""

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


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The public file of `offsite keys export`.")],
    alias: Annotated[str | None, typer.Option(help="Your own name for the peer.")] = None,
    home: Home = HOME,
) -> None:
    """Pin the keys of a peer, or take newer ones that the newest pinned key signed.

    Compare the fingerprint with your peer over another channel.
    """
    name, place = dns_label("party", alias) if alias else None, home.expanduser()
    before = {each.fingerprint for each in peers_of(place).all().values()}
    ring = pin(place, _read(file), str(file), name, os.environ)
    former = before - {each.fingerprint for each in peers_of(place).all().values()}
    what = f"pinned {ring.id}"
    if former:
        what = f"newer keys of {ring.id} took the place of those with {former.pop()}"
    show_info(f"{what}; compare the fingerprint with your peer by telephone")
    show_text(f"{ring.id}: {ring.fingerprint}")


@app.command()
def manifest(
    file: Annotated[Path, typer.Argument(help="The public file of `offsite keys export`.")],
    name: Annotated[str | None, typer.Option(help="Your own name for the peer.")] = None,
) -> None:
    """Print a peer as an OffsitePeer, for a cluster: … | kubectl apply -f -.

    Compare the fingerprint with your peer over another channel.
    """
    text = _read(file)
    ring = read_public(text, str(file))
    show_info(f"{ring.id}: {ring.fingerprint}; compare it with your peer by telephone")
    content = {
        "apiVersion": API_VERSION,
        "kind": "OffsitePeer",
        "metadata": {"name": dns_label("party", name) if name else ring.id},
        "spec": {"id": ring.id, "public": text.decode()},
    }
    show_yaml(content)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error}") from error


@app.command("list")
def list_(home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List the peers whose keys are pinned."""
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
        show_info("no peers yet; add one: offsite peers add")
    for alias, ring in found.items():
        show_text(f"{alias} ({ring.id}): {ring.fingerprint}")


@app.command()
def remove(
    alias: Annotated[str, typer.Argument(help="The peer, as `offsite peers list` names it.")],
    home: Home = HOME,
) -> None:
    """Forget the keys of a peer."""
    peers_of(home.expanduser()).remove(dns_label("party", alias))
    show_info(f"forgot {alias}")
