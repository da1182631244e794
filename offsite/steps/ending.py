"""Completes a stage: sends its result to the peer, or exports the plugged-in model."""

from offsite.events import Monitor
from offsite.exchange import Mailbox
from offsite.steps.export import export_model, resume_export
from offsite.steps.publishing import resume_send, send
from offsite.steps.workspace import Workspace


def finish(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> None:
    """Send or export the result. Raises what `send` or `export_model` raises."""
    if space.spec.plug_in is None:
        send(space, mailbox, monitor)
    else:
        export_model(space, space.spec.plug_in, mailbox, monitor)


def resume(space: Workspace, mailbox: Mailbox, monitor: Monitor) -> bool:
    """Complete what an earlier attempt began.

    Returns:
        Whether the result is published; if not, it has to be made.
    """
    if space.spec.plug_in is None:
        return resume_send(space, mailbox, monitor)
    return resume_export(space, space.spec.plug_in, mailbox, monitor)
