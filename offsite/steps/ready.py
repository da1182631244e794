"""Checks before the work that its result could be published or exported.

A training may take days. Credentials that were mistyped are told before it, not after.
"""

from offsite.bundle import check_original
from offsite.exchange import Mailbox
from offsite.steps.disclosing import read_disclosed
from offsite.steps.export import check_place
from offsite.steps.feasibility import check_emulator_job, config_of
from offsite.steps.workspace import Workspace

_PROBE = ".offsite-check"
"""An object below a party's own prefix, where no bundle can lie. It is written and deleted."""


def check_ready(space: Workspace, mailbox: Mailbox) -> None:
    """Check that the result of a job could be published now.

    Raises:
        InputError: the peer is not pinned, a key is missing that the result needs, or something
            else is at the place where a plugged-in model is to go.
        NotAllowedError, StorageError: the exchange does not take what this party sends.
    """
    ring = mailbox.ring
    ring.newest("sign")
    if space.spec.plug_in is not None:
        check_place(space, mailbox)
        return
    for each in (mailbox.peers.get(space.spec.peer), ring):
        each.newest("encrypt")
    # in place of a unique name: an object that is left behind is written over next time
    probe = f"{mailbox.id}/{_PROBE}"
    mailbox.store.put(probe, b"offsite: a check\n")
    mailbox.store.delete([probe])


def check_possible(space: Workspace) -> None:
    """Check that the emulator of a job could be made of its model, as the work will check again.

    A model at the hub cannot be asked from here, and of one in a bucket the config alone.

    Raises:
        ModelError: it cannot.
        DisclosureError: it would keep more of the model than the party allows.
    """
    job, party = space.spec.distill, space.party
    if job is None or job.model.startswith("hf://"):
        return
    if not job.model.startswith("s3://"):
        check_original(party.path(job.model))
    check_emulator_job(party, job, config_of(party, job.model), read_disclosed(space))
