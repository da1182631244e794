"""The Open step: checks everything that can be known before the work, and opens the bundle.

What was sent is verified, fetched, opened and checked before anything reads it.
"""

import shutil
from functools import partial

from offsite.api import JobSpec, PlugIn
from offsite.bundle import (
    AdapterFacts,
    EmulatorRecord,
    Origin,
    admit_adapter,
    admit_emulator,
    check_adapter,
    check_emulator,
)
from offsite.errors import BundleError, ModelError
from offsite.events import Monitor
from offsite.exchange import Checks, Mailbox, Reference, pull
from offsite.sealing import Envelope
from offsite.steps.answers import answerable
from offsite.steps.export import ORIGIN
from offsite.steps.floors import check_asked
from offsite.steps.workspace import Source, Workspace
from offsite.store import write_whole
from offsite.wire import canonical


def find_bundle(spec: JobSpec, mailbox: Mailbox) -> Envelope | None:
    """Find the envelope that a job opens, as `Mailbox.incoming`; None: its stage opens none."""
    return mailbox.incoming(spec.peer, Reference.opened_by(spec)) if spec.bundle else None


def prepare(
    space: Workspace,
    source: Source | None,
    envelope: Envelope | None,
    mailbox: Mailbox,
    monitor: Monitor,
) -> None:
    """Find out what can be known before the work, and open what the peer sent.

    What is written into the workspace on the way is what the result is checked against.

    Args:
        source: the model of a model owner's job; None: it is at a hub, out of reach.
        envelope: of what the job opens; what an earlier attempt opened is opened anew.

    Raises:
        InputError: the job asks for what the party does not allow.
        BundleError: what was sent may not be used: damaged, expired, of another party, or not what
            the record of the emulator allows.
        StorageError: the store did not give it.
    """
    if source is not None:
        space.know(source=source)
    if envelope is None:
        return
    shutil.rmtree(space.opened, ignore_errors=True)
    if space.spec.tune is not None:
        check_asked(space.party.limits, space.spec.tune)
        pull(mailbox, envelope, space.opened, Checks(admit_emulator, check_emulator), monitor)
        record = answerable(space.opened, envelope.digest, space.spec.tune, space.party.id)
        space.know(answered=record)
    elif space.spec.plug_in is not None:
        _open_adapter(space, space.spec.plug_in, source, envelope, mailbox, monitor)


def _open_adapter(
    space: Workspace,
    job: PlugIn,
    source: Source | None,
    envelope: Envelope,
    mailbox: Mailbox,
    monitor: Monitor,
) -> None:
    record = answered(space, envelope)
    if source is not None and source.digest != record.model_digest:
        raise not_the_model(space.spec, record)
    checks = _adapter_checks(record, envelope, mailbox)
    facts = pull(mailbox, envelope, space.opened, checks, monitor).facts
    assert isinstance(facts, AdapterFacts), "it was checked"
    # the model is compared by this: what this adapter may change, not what any may
    space.know(answered=record.model_copy(update={"allowed": ((facts.method, facts.scope),)}))
    origin = Origin(emulator=record.digest, adapter=envelope.digest, alpha=job.alpha)
    write_whole(space.folder / ORIGIN, canonical(origin.wire()))


def not_the_model(spec: JobSpec, record: EmulatorRecord) -> ModelError:
    """Make the error of a job whose model is not the one that its adapter is for."""
    return ModelError(
        f"{spec.model} is not the model that the emulator {record.bundle} was made from, or its "
        "files have changed since; use the original files"
    )


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
        count=partial(mailbox.ledger.use, record.digest, envelope.digest, record.grant),
    )
