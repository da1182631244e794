"""All deliberate errors, one class for each decision of a caller.

    OffsiteError              exit code 1: failed, a retry may help
    ├── InterruptedStage          stopped by a signal after its checkpoint was written
    ├── AwaitingApproval          exit code 5: another person has to approve the result first
    ├── StorageError              the disk or the store failed
    │   ├── NotFoundError             the object does not exist, or is not visible to us
    │   ├── UnreachableError          exit code 4: the store does not answer
    │   └── NotAllowedError           exit code 4: the store refuses; a retry cannot help
    └── InputError            exit code 2: wrong input, a retry cannot help
        ├── DiskFullError         no space is left; free some space
        ├── SpecError             the job file, or a policy
        ├── ApprovalError         exit code 4: the result is rejected, or is not what was approved
        ├── DisclosureError       an emulator would disclose too much; make another one
        ├── ReleaseRefused        a result did not pass the audits before its publication
        ├── DataError             the training or evaluation data
        ├── ModelError            the model owner's model
        │   └── UnknownFamilyError    its architecture has no row in the table
        └── BundleError           what the other party sent
            ├── NotSentError          the other party has not sent it yet
            └── SuspiciousEmulator    an emulator may be built to memorize private data

Messages name the thing and the remedy, in lower case and without a full stop, since they follow
`offsite: error:`. They may quote text of a peer, which is escaped when shown. Each argument of an
error is one line, and cannot begin another one. Any other exception is a bug, and keeps its
traceback.
"""

from collections.abc import Sequence
from typing import ClassVar

from offsite.text import printable


class OffsiteError(Exception):
    """A failure that a retry may fix."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = True
    """Whether the same command may succeed when run again."""

    def __str__(self) -> str:
        """Return the message, with each further argument on an indented line."""
        return "\n  ".join(printable(str(each)) for each in self.args)


class InterruptedStage(OffsiteError):
    """A signal stopped the stage; it resumes from its checkpoint when run again."""


class AwaitingApproval(OffsiteError):
    """The result is ready. Another person has to approve it before it is sent."""

    exit_code: ClassVar[int] = 5


class StorageError(OffsiteError):
    """The disk or the store failed."""


class NotFoundError(StorageError):
    """The object does not exist, or is not visible to this account."""


class UnreachableError(StorageError):
    """The store does not answer, or not in time."""

    exit_code: ClassVar[int] = 4


class NotAllowedError(StorageError):
    """The store refuses: wrong credentials, no permission, a wrong clock, or TLS."""

    exit_code: ClassVar[int] = 4
    retryable: ClassVar[bool] = False


class InputError(OffsiteError):
    """The input is wrong; the same command fails until it is fixed."""

    exit_code: ClassVar[int] = 2
    retryable: ClassVar[bool] = False


class DiskFullError(InputError):
    """No space is left; the same command fails until space is freed."""


class SpecError(InputError):
    """The job file, or a policy, is wrong. Carries all problems found."""

    def __init__(self, source: str, problems: Sequence[str], what: str = "job") -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source} is not a valid {what}:", *problems)


class ApprovalError(InputError):
    """The result may not be sent: it is rejected, or it is not what was approved."""

    exit_code: ClassVar[int] = 4


class DisclosureError(InputError):
    """An emulator would disclose more than its owner allows, over all jobs and peers.

    It cannot be used: make another one, with other blocks.
    """


class ReleaseRefused(InputError):
    """A result did not pass the audits before its publication. Names each figure."""


class DataError(InputError):
    """The training or evaluation data is wrong."""


class ModelError(InputError):
    """The model owner's model cannot be used."""


class UnknownFamilyError(ModelError):
    """The architecture has no row in the family table."""

    def __init__(self, model_type: str, known: Sequence[str]) -> None:
        if model_type == "None":
            super().__init__("config.json has no model_type, so its architecture is unknown")
            return
        super().__init__(
            f"offsite does not support the architecture {model_type!r} yet; supported: "
            f"{', '.join(known)}; CONTRIBUTING.md says how to add one"
        )


class BundleError(InputError):
    """A bundle is damaged, not what it claims to be, or has content that is not allowed."""


class NotSentError(BundleError):
    """The other party has not sent such a bundle yet."""


class SuspiciousEmulator(BundleError):
    """A peer's emulator has properties of one that is built to memorize private data.

    Raised before any private data is read, so the peer may learn of it.
    """
