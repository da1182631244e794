"""What goes wrong between this command and a cluster, by exit code."""

from offsite.errors import OffsiteError


class ClusterError(OffsiteError):
    """The cluster failed; a retry may help."""


class ClusterUnreachable(ClusterError):
    """Nobody answers, or no cluster is named."""

    exit_code = 4


class ClusterBusy(ClusterError):
    """The API server answers that it cannot now, as while it is upgraded."""


AWAY = (ClusterUnreachable, ClusterBusy)
"""What passes, for who follows something."""


class ClusterRefusal(ClusterError):
    """The cluster does not know who asks, or does not let them."""

    exit_code = 4
    retryable = False


class AlreadyThere(ClusterError):
    """There is an object of that name."""


class Modified(ClusterError):
    """Somebody else has changed the object since it was read."""


class WaitedTooLong(OffsiteError):
    """What was waited for did not happen in the time that was given."""

    exit_code = 3
