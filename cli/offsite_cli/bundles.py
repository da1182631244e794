"""`offsite bundles`: list, send, fetch, verify and withdraw the bundles in the exchange."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from offsite.bundle import AdapterFacts, check_whole, read_manifest
from offsite.errors import BundleError, InputError, OffsiteError
from offsite.exchange import (
    EMULATOR_CHECKS,
    WHOLE,
    Auditor,
    Mailbox,
    Outgoing,
    Reference,
    pull,
    push,
    withdraw,
)
from offsite.exchange.home import dns_label, ledger_of, open_auditor, open_mailbox
from offsite.sealing import Envelope, Header, Notice, open_notice
from offsite.store import disk_errors
from offsite_cli.disclosed import disclosed
from offsite_cli.inspected import inspect
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Exchange, Format, Home
from offsite_cli.output import Output, monitored, show_info, show_json, show_text
from offsite_cli.trace import trace

app = typer.Typer(no_args_is_help=True, help="Manage the encrypted bundles in the exchange.")

Peer = Annotated[str, typer.Option(help="Name of the peer, as `offsite peers list` shows it.")]


def _open_mailbox(home: Path, exchange: str, secret: str | None) -> Mailbox:
    return open_mailbox(home.expanduser().resolve(), exchange, os.environ, secret)


def _open_audit(home: Path, exchange: str) -> Auditor:
    return open_auditor(home.expanduser().resolve(), exchange, os.environ)


@app.command("push")
def push_(
    folder: Annotated[Path, typer.Argument(help="Folder of the bundle, with its manifest.json.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Encrypt, sign and send an adapter.

    Run it again to resume an interrupted upload. `offsite run` sends emulators, since it keeps the
    record that is needed to accept adapters for them.
    """
    secret = prompt_passphrase(home)
    with monitored(output) as monitor:
        mailbox = _open_mailbox(home, exchange, secret)
        check_whole(folder)
        manifest, digest = read_manifest(folder)
        recipient = mailbox.peers.get(peer).id
        if (manifest.made_by, manifest.made_for) != (mailbox.id, recipient):
            raise BundleError(
                f"{folder} was made by {manifest.made_by} for {manifest.made_for}, not by "
                f"{mailbox.id} for {recipient}; set --peer to {manifest.made_for}"
            )
        if not isinstance(manifest.facts, AdapterFacts):
            raise InputError(
                f"{folder} is an {manifest.facts.kind}; send it with `offsite run`, which keeps "
                "the record that is needed to accept adapters for it"
            )
        job = ledger_of(home.expanduser()).job(recipient, digest)
        sent = push(mailbox, Outgoing(folder, peer, job, manifest.facts.answers), monitor)
        monitor.artifact(manifest.name, sent.digest, sent.uri, manifest.size)


@app.command("pull")
def pull_(
    name: Annotated[str, typer.Argument(help="The bundle, as NAME or NAME@sha256:…")],
    folder: Annotated[Path, typer.Argument(help="Folder to create for its files.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Fetch a bundle of a peer, verify it and decrypt it."""
    secret = prompt_passphrase(home)
    with monitored(output) as monitor:
        with disk_errors(folder):
            if folder.exists():
                raise InputError(f"{folder} already exists; choose another folder")
        mailbox = _open_mailbox(home, exchange, secret)
        envelope = mailbox.incoming(peer, Reference.parse(name))
        # plug-in checks the tensors of an adapter, by the emulator's record
        emulator = envelope.header.kind == "emulator"
        checks = EMULATOR_CHECKS if emulator else WHOLE
        manifest = pull(mailbox, envelope, folder.resolve(), checks, monitor)
        monitor.artifact(manifest.name, envelope.digest, folder.resolve().as_uri(), manifest.size)


@app.command("list")
def list_(exchange: Exchange, home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List the bundles between you and your peers."""
    found = list(_report_invalid(_open_audit(home, exchange).envelopes()))
    if output is Output.JSON:
        show_json([_facts(envelope) for envelope in found])
        return
    if not found:
        show_info("no bundles between you and your peers")
    for envelope in found:
        show_text(_line(envelope))


@app.command()
def notices(exchange: Exchange, home: Home = HOME, output: Format = Output.TEXT) -> None:
    """List the notices of failed stages that your peers sent. Needs your keys."""
    ring = _open_mailbox(home, exchange, prompt_passphrase(home)).ring
    found: list[tuple[Header, Notice]] = []
    for envelope in _report_invalid(_open_audit(home, exchange).notices()):
        try:
            found.append((envelope.header, open_notice(envelope, ring)))
        except BundleError as error:
            show_info(f"skipped: {error}")
    if output is Output.JSON:
        show_json([_header_facts(header) | notice.wire() for header, notice in found])
        return
    if not found:
        show_info("no failed stages were reported between you and your peers")
    for header, notice in found:
        show_text(f"{header.sender} → {header.recipient}  {notice.sentence(header)}")


def _header_facts(header: Header) -> dict[str, object]:
    wire = header.wire()
    return {key: wire[key] for key in ("sender", "recipient", "name", "created", "parent")}


def _report_invalid(found: Iterable[Envelope | OffsiteError]) -> Iterator[Envelope]:
    """Yield the valid envelopes, and report the invalid ones."""
    for each in found:
        if isinstance(each, OffsiteError):
            show_info(f"skipped: {each}")
        else:
            yield each


@app.command()
def show(
    digest: Annotated[str, typer.Argument(help="Digest of the envelope: sha256:…")],
    exchange: Exchange,
    home: Home = HOME,
) -> None:
    """Show the header of an envelope, the signed index of a bundle, as JSON."""
    envelope = _open_audit(home, exchange).read(_envelope(digest))
    show_json(_facts(envelope) | {"header": envelope.header.wire()})


@app.command()
def verify(
    target: Annotated[
        str,
        typer.Argument(help="Digest of an envelope (sha256:…), or a plugged-in model's folder."),
    ],
    exchange: Exchange,
    home: Home = HOME,
    chain: Annotated[
        bool, typer.Option("--chain", help="Also verify and show the bundles that it derives from.")
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Verify a bundle or a plugged-in model.

    Checks the signature and all digests. Needs only public keys.
    """
    with monitored(Output.TEXT) as monitor:  # stdout is for the bundles alone
        auditor = _open_audit(home, exchange)
        if _is_folder(Path(target)):
            provenance, links = auditor.model(Path(target))
            show_info(
                f"{target} matches the signature of {provenance.made_by}, {provenance.origin}"
            )
        else:
            envelope = auditor.verify(_envelope(target, ", and no folder"), monitor)
            links = auditor.chain(envelope.digest) if chain else [envelope]
    shown = links if chain else links[:1]
    if output is Output.JSON:
        show_json([_facts(link) for link in shown])
        return
    for link in shown:
        show_text(_line(link))


@app.command("rm")
def rm(
    name: Annotated[str, typer.Argument(help="Name of a bundle that you sent.")],
    peer: Peer,
    exchange: Exchange,
    home: Home = HOME,
) -> None:
    """Withdraw a bundle that you sent.

    Deletes its encrypted files, and publishes a signed notice of the withdrawal.
    """
    sent = withdraw(
        _open_mailbox(home, exchange, prompt_passphrase(home)), peer, dns_label("bundle", name)
    )
    show_info(f"withdrew {name} ({sent.digest}); a peer that fetched it before still has it")


for _command in (disclosed, inspect, trace):
    app.command()(_command)


def _is_folder(path: Path) -> bool:
    with disk_errors(path):
        return path.is_dir()


def _envelope(text: str, instead: str = "") -> str:
    if not re.fullmatch("sha256:[0-9a-f]{64}", text):
        raise InputError(
            f"{text!r} is not the digest of an envelope (sha256: and 64 hex digits){instead}; "
            "`offsite bundles list` shows the digests"
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
