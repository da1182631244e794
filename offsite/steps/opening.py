"""The Open step: checks everything that is known before the work, and opens the bundle.

A bundle is verified, fetched, opened and checked before anything else reads it.
"""

import shutil
from functools import partial

from offsite.api import JobSpec, PlugIn
from offsite.bundle import (
    ADAPTER,
    AdapterFacts,
    EmulatorRecord,
    NewHead,
    Origin,
    admit_adapter,
    check_adapter,
)
from offsite.errors import BundleError, ModelError
from offsite.events import Monitor
from offsite.exchange import EMULATOR_CHECKS, Checks, Mailbox, Reference, pull
from offsite.sealing import Envelope
from offsite.steps.answers import answerable
from offsite.steps.classes import check_head
from offsite.steps.export import ORIGIN
from offsite.steps.floors import check_asked
from offsite.steps.workspace import Source, Workspace
from offsite.store import write_whole
from offsite.wire import canonical


def find_bundle(spec: JobSpec, mailbox: Mailbox) -> Envelope | None:
    """Find the envelope that a job opens, see `Mailbox.incoming`; None: its stage opens none."""
    reference = Reference.opened_by(spec)
    return mailbox.incoming(spec.peer, reference) if reference else None


def prepare(
    space: Workspace,
    source: Source | None,
    envelope: Envelope | None,
    mailbox: Mailbox,
    monitor: Monitor,
) -> None:
    """Check what is known before the work, and open the peer's bundle.

    It records in the workspace what the result is later checked against.

    Args:
        source: The model of a model owner's job; None: it is at a hub, which is not reachable here.
        envelope: The envelope to open; one that an earlier attempt opened is opened again.

    Raises:
        InputError: The job requests what the party does not allow.
        BundleError: The bundle is damaged, expired, for another party, or violates the emulator's
            record.
        StorageError: The store is unavailable.
    """
    if source is not None:
        space.know(source=source)
    if envelope is None:
        return
    shutil.rmtree(space.opened, ignore_errors=True)
    if space.spec.tune is not None:
        check_asked(space.party.limits, space.spec.tune)
        pull(mailbox, envelope, space.opened, EMULATOR_CHECKS, monitor)
        record = answerable(space.opened, envelope.digest, space.spec.tune, space.party.id)
        check_head(record, space.spec, space.spec.tune)
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
    assert isinstance(facts, AdapterFacts), "verified by pull"
    if (privacy := facts.privacy) is not None:
        monitor.log(
            f"{envelope.header.sender} states that {envelope.header.name} is differentially "
            f"private: ε {privacy.epsilon:.4g}, δ {privacy.delta:.2g} for each {privacy.unit}"
        )
    # compare the model with what this adapter may change, not with what any adapter may
    record = record.narrowed(facts.method, facts.scope, facts.targets)
    if facts.labels:
        head = NewHead.of_adapter(space.opened / ADAPTER, facts.labels)
        space.know(answered=record.with_new_head(), head=head)
    else:
        space.know(answered=record)
    origin = Origin(emulator=record.digest, adapter=envelope.digest, alpha=job.alpha)
    write_whole(space.folder / ORIGIN, canonical(origin.wire()))


def not_the_model(spec: JobSpec, record: EmulatorRecord) -> ModelError:
    """Build the error for a model that is not the one that the emulator was made from."""
    return ModelError(
        f"{spec.model} is not the model that the emulator {record.bundle} was made from, or its "
        "files have changed since; use the original files"
    )


def answered(space: Workspace, envelope: Envelope) -> EmulatorRecord:
    """Return our record of the emulator that an adapter answers.

    Raises:
        BundleError: It is no adapter, or its sender is not the emulator's recipient.
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
            f"{header.name} was made by {header.sender}, but the emulator that it answers was sent "
            f"to {record.recipient}; ask {record.recipient} to send it"
        )
    return record


def _adapter_checks(record: EmulatorRecord, envelope: Envelope, mailbox: Mailbox) -> Checks:
    """Build the checks of an adapter against the emulator's record and grant."""

    return Checks(
        admit=partial(admit_adapter, record=record),
        check=partial(check_adapter, record=record),
        count=partial(mailbox.ledger.use, record.digest, envelope.digest, record.grant),
    )
