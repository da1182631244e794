"""`offsite bundles`: what lies in the exchange between you and your peers."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from offsite.bundle import (
    AdapterFacts,
    admit_emulator,
    check_emulator,
    check_whole,
    read_manifest,
)
from offsite.errors import BundleError, InputError, OffsiteError
from offsite.exchange import (
    WHOLE,
    Auditor,
    Checks,
    Mailbox,
    Outgoing,
    Reference,
    pull,
    push,
    withdraw,
)
from offsite.exchange.home import dns_label, ledger_of, open_mailbox, open_witness
from offsite.sealing import Envelope, Header, Notice, open_notice
from offsite.store import disk_errors
from offsite_cli.disclosed import disclosed
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Exchange, Format, Home
from offsite_cli.output import Output, monitored, show_info, show_json, show_text

app = typer.Typer(no_args_is_help=True, help="Manage the encrypted bundles in the exchange.")

Peer = Annotated[str, typer.Option(help="The other party.")]


def _open(home: Path, exchange: str, secret: str | None) -> Mailbox:
    return open_mailbox(home.expanduser().resolve(), exchange, os.environ, secret)


def _watch(home: Path, exchange: str) -> Auditor:
    return open_witness(home.expanduser().resolve(), exchange, os.environ)


@app.command("push")
def push_(
    folder: Annotated[Path, typer.Argument(help="A bundle: files and their manifest.json.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Seal an adapter and send it. Cut off and run again, it goes on where it was.

    An emulator is sent by `offsite run`, which keeps the record that its adapters are checked by.
    """
    secret = prompt_passphrase(home)
    with monitored(output) as monitor:
        mailbox = _open(home, exchange, secret)
        check_whole(folder)
        manifest, digest = read_manifest(folder)
        recipient = mailbox.peers.get(peer).id
        if (manifest.made_by, manifest.made_for) != (mailbox.id, recipient):
            raise BundleError(
                f"{folder} was made by {manifest.made_by} for {manifest.made_for}, not by "
                f"{mailbox.id} for {recipient}; name the one that it was made for: --peer"
            )
        if not isinstance(manifest.facts, AdapterFacts):
            raise InputError(
                f"{folder} is an {manifest.facts.kind}: `offsite run` sends it, and keeps the "
                "record without which no adapter for it is accepted"
            )
        job = ledger_of(home.expanduser()).job(recipient, digest)
        sent = push(mailbox, Outgoing(folder, peer, job, manifest.facts.answers), monitor)
        monitor.artifact(manifest.name, sent.digest, sent.uri, manifest.size)


@app.command("pull")
def pull_(
    name: Annotated[str, typer.Argument(help="The bundle: NAME, or NAME@sha256:…")],
    folder: Annotated[Path, typer.Argument(help="Where to put it; must not be there yet.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Fetch a bundle that a peer sent, check it and open it."""
    secret = prompt_passphrase(home)
    with monitored(output) as monitor:
        with disk_errors(folder):
            if folder.exists():
                raise InputError(f"{folder} already exists; choose another folder")
        mailbox = _open(home, exchange, secret)
        envelope = mailbox.incoming(peer, Reference.parse(name))
        # what an adapter may hold is for plug-in to say, by the record of its emulator
        emulator = envelope.header.kind == "emulator"
        checks = Checks(admit_emulator, check_emulator) if emulator else WHOLE
        manifest = pull(mailbox, envelope, folder.resolve(), checks, monitor)
        monitor.artifact(manifest.name, envelope.digest, folder.resolve().as_uri(), manifest.size)


@app.command("list")
def list_(exchange: Exchange, home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List what is between you and your peers."""
    found = list(_sound(_watch(home, exchange).envelopes()))
    if output is Output.JSON:
        show_json([_facts(envelope) for envelope in found])
        return
    if not found:
        show_info("no bundles between you and your peers")
    for envelope in found:
        show_text(_line(envelope))


@app.command()
def notices(exchange: Exchange, home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List the stages that failed, as you and your peers told each other. Needs your keys."""
    ring = _open(home, exchange, prompt_passphrase(home)).ring
    found: list[tuple[Header, Notice]] = []
    for envelope in _sound(_watch(home, exchange).notices()):
        try:
            found.append((envelope.header, open_notice(envelope, ring)))
        except BundleError as error:
            show_info(f"passed over: {error}")
    if output is Output.JSON:
        show_json([_told(header) | notice.wire() for header, notice in found])
        return
    if not found:
        show_info("no stage failed, as far as you and your peers told each other")
    for header, notice in found:
        show_text(f"{header.sender} → {header.recipient}  {notice.said(header)}")


def _told(header: Header) -> dict[str, object]:
    wire = header.wire()
    return {key: wire[key] for key in ("sender", "recipient", "name", "created", "parent")}


def _sound(found: Iterable[Envelope | OffsiteError]) -> Iterator[Envelope]:
    """Pass over what is not as it should be, and say so."""
    for each in found:
        if isinstance(each, OffsiteError):
            show_info(f"passed over: {each}")
        else:
            yield each


@app.command()
def show(
    digest: Annotated[str, typer.Argument(help="The envelope: sha256:…")],
    exchange: Exchange,
    home: Home = HOME,
) -> None:
    """Show what an envelope says, as JSON."""
    envelope = _watch(home, exchange).read(_envelope(digest))
    show_json(_facts(envelope) | {"header": envelope.header.wire()})


@app.command()
def verify(
    target: Annotated[str, typer.Argument(help="An envelope (sha256:…), or a plugged-in model.")],
    exchange: Exchange,
    home: Home = HOME,
    chain: Annotated[
        bool, typer.Option("--chain", help="Show the way to the emulator that it began with.")
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Check signatures, and the digest of every shard or file. Needs public keys alone."""
    with monitored(output) as monitor:
        auditor = _watch(home, exchange)
        if _is_folder(Path(target)):
            provenance, links = auditor.model(Path(target))
            show_info(
                f"{target} is as {provenance.made_by} signed it, alpha {provenance.origin.alpha:g}"
            )
        else:
            envelope = auditor.verify(_envelope(target), monitor)
            links = auditor.chain(envelope.digest) if chain else [envelope]
    shown = links if chain else links[:1]
    if output is Output.JSON:
        show_json([_facts(link) for link in shown])
        return
    for link in shown:
        show_text(_line(link))


@app.command("rm")
def rm(
    name: Annotated[str, typer.Argument(help="The bundle that you sent.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
) -> None:
    """Take a bundle back: delete its shards, and publish a signed notice that it is gone."""
    sent = withdraw(_open(home, exchange, prompt_passphrase(home)), peer, dns_label("bundle", name))
    show_info(f"took {name} back; whoever fetched it before still has it ({sent.digest})")


app.command("disclosed")(disclosed)


def _is_folder(path: Path) -> bool:
    with disk_errors(path):
        return path.is_dir()


def _envelope(text: str) -> str:
    if not re.fullmatch("sha256:[0-9a-f]{64}", text):
        raise InputError(
            f"{text!r} is neither an envelope (sha256: and 64 digits) nor the folder of a model"
        )
    return text


def _facts(envelope: Envelope) -> dict[str, object]:
    header = envelope.header.wire()
    shards = header.pop("shards")
    size = sum(shard["size"] for shard in shards)
    return {"digest": envelope.digest, "shards": len(shards), "sizeBytes": size, **header}


def _line(envelope: Envelope) -> str:
    header = envelope.header
    size = sum(shard.size for shard in header.shards) / 1e6
    return (
        f"{header.sender} → {header.recipient}  {header.kind} {header.name}  "
        f"#{header.sequence}  {size:.1f} MB  {header.created:%Y-%m-%d %H:%M}  {envelope.digest}"
    )
