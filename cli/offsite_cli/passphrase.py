"""Asking for the passphrase of private keys, where the environment names no file of it.

Where there is no terminal nobody is waited for: what reads the keys says what is missing.
"""

import os
import sys
from pathlib import Path

import typer

from offsite.errors import InputError
from offsite.exchange.home import PASSPHRASE_FILE, ring_path
from offsite.sealing.ringfile import is_protected
from offsite.text import printable


def asked(home: Path) -> str | None:
    """Ask for the passphrase of a party's keys; None: there is no need, or nobody to ask."""
    path = ring_path(home.expanduser())
    if PASSPHRASE_FILE in os.environ or not sys.stdin.isatty() or not is_protected(path):
        return None
    return str(typer.prompt(f"passphrase of {printable(str(path))}", hide_input=True, err=True))


def new_passphrase() -> str:
    """Let somebody choose a passphrase, and type it twice.

    Raises:
        InputError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise InputError(
            f"there is no terminal to type a passphrase at; name a file of it in {PASSPHRASE_FILE}"
        )
    return str(typer.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))
