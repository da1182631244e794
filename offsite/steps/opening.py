"""The first step: check what can be known before the work, and open what the peer sent.

What was sent is verified, fetched, opened and checked before anything reads it.
"""

import shutil
from functools import partial

from offsite.api import JobSpec
from offsite.bundle import (
    EmulatorRecord,
    admit_adapter,
    admit_emulator,
    check_adapter,
    check_emulator,
)
from offsite.errors import BundleError
from offsite.events import Monitor
from offsite.exchange import Checks, Mailbox, Reference, pull
from offsite.sealing import Envelope
from offsite.steps.floors import check_asked
from offsite.steps.workspace import Workspace


def find_bundle(spec: JobSpec, mailbox: Mailbox) -> Envelope | None:
    """Find the envelope that a job opens, as `Mailbox.incoming`; None: its stage opens none."""
    sections = (spec.tune and spec.tune.bundle, spec.plug_in and spec.plug_in.adapter)
    named = next((bundle for bundle in sections if bundle), None)
    return mailbox.incoming(spec.peer, Reference.parse(named)) if named else None


def open_bundle(space: Workspace, envelope: Envelope, mailbox: Mailbox, monitor: Monitor) -> None:
    """Open what a job asks for into its workspace; what an earlier attempt opened is opened anew.

    Raises:
        InputError: the job asks for what the party does not allow.
        BundleError: it may not be used: damaged, expired, of another party, or not what the record
            of the emulator allows.
        StorageError: the store did not give it.
    """
    shutil.rmtree(space.opened, ignore_errors=True)
    if space.spec.tune is not None:
        check_asked(space.party.limits, space.spec.tune)
        checks = Checks(admit_emulator, check_emulator)
    else:
        record = answered(space, envelope)
        space.answer(record)
        checks = _adapter_checks(record, envelope, mailbox)
    pull(mailbox, envelope, space.opened, checks, monitor)


def answered(space: Workspace, envelope: Envelope) -> EmulatorRecord:
    """Find what we remember of the emulator that an adapter answers.

    Raises:
        BundleError: it is no adapter, or was not made by whom the emulator was made for.
    """
    header = envelope.header
    if header.kind != "adapter" or header.parent is None:
        raise BundleError(
            f"the bundle {header.name} is an {header.kind}, not an adapter; name one that "
            f"{header.sender} tuned"
        )
    record = space.party.record(header.parent)
    if header.sender != record.recipient:
        raise BundleError(
            f"{header.name} was made by {header.sender}, but the emulator that it answers was made "
            f"for {record.recipient}; ask {record.recipient} to send it"
        )
    return record


def _adapter_checks(record: EmulatorRecord, envelope: Envelope, mailbox: Mailbox) -> Checks:
    """Check an adapter against the emulator's record, and count the use of its grant."""

    return Checks(
        admit=partial(admit_adapter, record=record),
        check=partial(check_adapter, record=record),
        count=partial(mailbox.books.use, record.digest, envelope.digest, record.grant),
    )
