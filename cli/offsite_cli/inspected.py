"""`offsite bundles inspect`: measure an emulator as a tuning job does before it reads any data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offsite.bundle import MANIFEST, check_emulator
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.exchange import EMULATOR_CHECKS, Reference, pull
from offsite.exchange.home import open_mailbox
from offsite.process.lifetime import uncollected
from offsite.store import disk_errors
from offsite_cli.keys import prompt_passphrase
from offsite_cli.options import HOME, Format, Home
from offsite_cli.output import Output, monitored, show_json, show_text

if TYPE_CHECKING:
    from offsite.inspection import Figure, Report


def inspect(
    target: Annotated[
        str, typer.Argument(help="The peer's emulator, as NAME or NAME@sha256:…; or a folder.")
    ],
    peer: Annotated[str | None, typer.Option(help="Name of the peer. Needed for a NAME.")] = None,
    exchange: Annotated[
        str | None,
        typer.Option(envvar="OFFSITE_EXCHANGE", help="Address of the exchange. For a NAME."),
    ] = None,
    home: Home = HOME,
    output: Format = Output.TEXT,
) -> None:
    """Look for signs that an emulator was built to memorize private data.

    Measures it on public text, as a tuning job does before it reads private data. Exits with 2 if
    it finds any. It is a filter: an emulator without them may still memorize.
    """
    # stdout is for the figures alone
    with (
        monitored(Output.TEXT) as monitor,
        _emulator(target, peer, exchange, home, monitor) as folder,
    ):
        report = _inspected(folder, monitor)
    if output is Output.JSON:
        show_json([_facts(figure) for figure in report.figures])
    else:
        for figure in report.figures:
            show_text(f"{'SUSPICIOUS' if figure.crossed else 'ok':<10}  {figure}")
    if report.crossed:
        raise report.refusal(target)


@contextmanager
def _emulator(
    target: str, peer: str | None, exchange: str | None, home: Path, monitor: Monitor
) -> Iterator[Path]:
    """Give the folder of an emulator; one from the exchange lasts for the `with` block."""
    if peer is None:
        yield _checked(Path(target))
        return
    if not exchange:
        raise InputError(f"set --exchange to the exchange that {target} of {peer} is in")
    mailbox = open_mailbox(
        home.expanduser().resolve(), exchange, os.environ, prompt_passphrase(home)
    )
    with TemporaryDirectory(prefix="offsite-inspect-") as scratch:
        opened = Path(scratch).resolve() / "emulator"
        envelope = mailbox.incoming(peer, Reference.parse(target))
        pull(mailbox, envelope, opened, EMULATOR_CHECKS, monitor)
        yield opened


def _checked(folder: Path) -> Path:
    with disk_errors(folder):
        if not folder.is_dir():
            raise InputError(
                f"there is no folder {folder}; for a bundle in the exchange, set --peer and "
                "--exchange"
            )
        if (folder / MANIFEST).exists():
            check_emulator(folder)
    return folder


def _inspected(folder: Path, monitor: Monitor) -> "Report":
    with uncollected():  # torch takes seconds to import
        from offsite.inspection import inspect
        from offsite.layers import load
    return inspect(load(folder), monitor)


def _facts(figure: "Figure") -> dict[str, Any]:
    sign = figure.expected
    return {
        "sign": figure.sign,
        "where": figure.where,
        "value": figure.json_value,
        sign.side: sign.bound,
        "suspicious": figure.crossed,
    }
