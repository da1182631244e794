"""Ends a stage: publishes its result to the peer, or exports the plugged-in model."""

from offsite.events import Monitor
from offsite.exchange import Mailbox
from offsite.steps.export import already_delivered, deliver
from offsite.steps.publishing import already_published, send
from offsite.steps.workspace import Workspace


def end(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Bring the result to where it belongs; raises what `send` or `deliver` does."""
    (send if space.spec.plug_in is None else deliver)(space, mailbox, monitor)


def has_ended(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Look whether an earlier attempt did so, and tell the artifact that it made."""
    look = already_published if space.spec.plug_in is None else already_delivered
    return look(space, mailbox, monitor)
