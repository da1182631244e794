"""Checks before the work that its result could be published or exported.

Training may take days, so wrong credentials must be reported before it.
"""

from offsite.bundle import check_original
from offsite.exchange import Mailbox
from offsite.steps.disclosing import read_disclosed
from offsite.steps.export import check_place
from offsite.steps.feasibility import check_emulator_job, config_of
from offsite.steps.workspace import Workspace

_PROBE = ".offsite-check"
"""A temporary object below the party's own prefix, with a name that no bundle can have."""


def check_ready(space: Workspace, mailbox: Mailbox) -> None:
    """Check that the result of a job could be published now.

    Raises:
        InputError: The peer is not pinned, a required key is missing, or the target of a plugged-in
            model is taken.
        NotAllowedError, StorageError: The exchange does not accept writes of this party.
    """
    ring = mailbox.ring
    ring.newest("sign")
    if space.spec.plug_in is not None:
        check_place(space, mailbox)
        return
    for each in (mailbox.peers.get(space.spec.peer), ring):
        each.newest("encrypt")
    # a fixed name, so that the next check overwrites a leftover
    probe = f"{mailbox.id}/{_PROBE}"
    mailbox.store.put(probe, b"offsite: a check\n")
    mailbox.store.delete([probe])


def check_possible(space: Workspace) -> None:
    """Check that the emulator of a job could be made from its model; the work checks again.

    A model at the hub is not reachable from here, and of a model in a bucket only the config is
    read.

    Raises:
        ModelError: It cannot be made.
        DisclosureError: It would keep more of the model than the party allows.
    """
    job, party = space.spec.distill, space.party
    if job is None or job.model.startswith("hf://"):
        return
    if not job.model.startswith("s3://"):
        check_original(party.path(job.model))
    config = config_of(party, job.model)
    check_emulator_job(party.limits, job, config, read_disclosed(space))
