"""All deliberate errors, one class for each decision of a caller.

    OffsiteError              exit code 1: failed, a retry may help
    ├── InterruptedStage          stopped by a signal after its checkpoint was written
    ├── StorageError              the disk or the store did not take or give the bytes
    │   ├── NotFoundError             there is no such object, as far as we may know
    │   ├── UnreachableError          exit code 4: the store cannot be reached
    │   └── NotAllowedError           exit code 4: the store refuses; a retry cannot help
    └── InputError            exit code 2: wrong input, a retry cannot help
        ├── DiskFullError         no space is left; somebody must make room
        ├── SpecError             the job file, or a policy
        ├── DisclosureError       an emulator would disclose too much; it has to be made anew
        ├── DataError             the training or evaluation data
        ├── ModelError            the model owner's model
        │   └── UnknownFamilyError    its architecture has no row in the table
        └── BundleError           what the other party sent
            └── NotSentError          it sent nothing of that name yet

Messages name the thing and the remedy, in lower case and without a full stop, since they stand
behind `offsite: error:`. They may quote what a peer wrote: whoever reads them gets it escaped. Each
argument of an error is a line, and nothing in it can begin another one. Anything that is not an
`OffsiteError` is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from typing import ClassVar

from offsite.text import printable


class OffsiteError(Exception):
    """A failure that a retry may mend."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = True
    """Whether the same command may succeed when it is run again."""

    def __str__(self) -> str:
        """Give the message, and each further argument on a line of its own, indented."""
        return "\n  ".join(printable(str(each)) for each in self.args)


class InterruptedStage(OffsiteError):
    """A signal stopped the stage; it goes on from its checkpoint when run again."""


class StorageError(OffsiteError):
    """The disk or the store did not take or give the bytes."""


class NotFoundError(StorageError):
    """The store has no such object, as far as this account may know."""


class UnreachableError(StorageError):
    """The store cannot be reached, or answers nothing for too long."""

    exit_code: ClassVar[int] = 4


class NotAllowedError(StorageError):
    """The store refuses: wrong credentials, no permission, a clock that is off, TLS."""

    exit_code: ClassVar[int] = 4
    retryable: ClassVar[bool] = False


class InputError(OffsiteError):
    """The input is wrong; the same command fails again until somebody mends it."""

    exit_code: ClassVar[int] = 2
    retryable: ClassVar[bool] = False


class DiskFullError(InputError):
    """No space is left; the same command fails again until somebody makes room."""


class SpecError(InputError):
    """The job file, or a policy, is wrong. Carries every problem that was found."""

    def __init__(self, source: str, problems: Sequence[str], what: str = "job") -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source} is not a valid {what}:", *problems)


class DisclosureError(InputError):
    """An emulator would disclose more than its owner allows, over all jobs and peers.

    What was made of it is of no more use: it has to be made anew, with other blocks.
    """


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
    """A bundle is damaged, not what it claims to be, or holds what it may not hold."""


class NotSentError(BundleError):
    """The other party sent no such bundle, or not yet."""
