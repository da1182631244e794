"""What can be known before the work: whether its result could be sent, or brought to its place.

A training may take days. Credentials that were mistyped are told before it, not after.
"""

from offsite.exchange import Mailbox
from offsite.steps.export import refuse_taken_place
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
        refuse_taken_place(space, mailbox)
        return
    for each in (mailbox.peers.get(space.spec.peer), ring):
        each.newest("encrypt")
    # in place of a unique name: an object that is left behind is written over next time
    probe = f"{mailbox.id}/{_PROBE}"
    mailbox.store.put(probe, b"offsite: a check\n")
    mailbox.store.delete([probe])
