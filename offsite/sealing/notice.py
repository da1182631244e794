"""Notices: sealed messages to the peer about a failed stage.

The content is wrapped like a bundle's key, and padded to a constant size: the store learns that a
stage failed, but not why.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from offsite.errors import BundleError
from offsite.sealing.envelope import Envelope, Header, wrap
from offsite.sealing.identity import PublicRing, Ring
from offsite.text import printable
from offsite.wire import Part, canonical

LARGEST_NOTICE = 16 << 10
"""Limit for an envelope in bytes. A valid one has about ten thousand."""
_SIZE = 2048
"""Size of the content in bytes, padded with spaces."""
_LONGEST = 400
"""Characters of the message, of at most four bytes each."""
_REASON = r"^[A-Z][A-Za-z0-9]{0,63}$"
UNDISCLOSED = "StageFailed"
"""The reason of every failure after private data was read. A more exact one would leak the data."""
SUSPICIOUS = "SuspiciousEmulator"
"""The reason of an emulator that failed inspection, which comes before private data is read. It has
no message: the figures would tell an attacker what to change."""
Stage = Literal["Distill", "Tune", "PlugIn"]


class Disclosure(StrEnum):
    """How much a peer learns about a stage that failed for good."""

    NONE = "None"
    REASON = "Reason"
    """The stage, and the reason in one word. A message may contain paths, or quote data."""
    MESSAGE = "Message"
    """Also the error's message, for failures before private data was read."""

    def of(self, message: str) -> str:
        """Return the part of an error's message to disclose."""
        return message if self is Disclosure.MESSAGE else ""


def _printable(text: str) -> str:
    if text != printable(text):
        raise ValueError("holds characters that would change what a terminal shows")
    return text


class Notice(Part):
    """The content of a notice. It has no message for failures after private data was read."""

    stage: Stage
    reason: str = Field(pattern=_REASON)
    message: Annotated[str, AfterValidator(_printable)] = Field("", max_length=_LONGEST)

    @classmethod
    def of(cls, stage: Stage, reason: str, message: str) -> "Notice":
        """Describe a failure. Long text is cut, unprintable characters are escaped."""
        if reason == UNDISCLOSED or not re.fullmatch(_REASON, reason):
            return cls(stage=stage, reason=UNDISCLOSED)
        words = "" if reason == SUSPICIOUS else printable(" ".join(message.split()))
        return cls(
            stage=stage,
            reason=reason,
            message=words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…",
        )

    @property
    def content(self) -> bytes:
        """The canonical encoding, padded."""
        return canonical(self.wire()).ljust(_SIZE)

    def sentence(self, header: Header) -> str:
        """Return the notice as a sentence."""
        at, why = f"{header.created:%Y-%m-%d %H:%M} UTC", f"{self.reason}: {self.message}"
        return (
            f"{header.sender} reports that its {self.stage} {header.name} failed on {at}: "
            f"{why.removesuffix(': ')}"
        )


def write_notice(header: Header, notice: Notice, ring: Ring, peer: PublicRing) -> Envelope:
    """Seal a notice to its recipient and to ourselves, and sign it.

    Raises:
        InputError: A party has no valid key.
    """
    return wrap(header, notice.content, ring, (peer, ring.public()))


def open_notice(envelope: Envelope, ring: Ring) -> Notice:
    """Open a notice, as the recipient or the sender.

    Raises:
        BundleError: It is not a notice, is for another party, or its content is not valid.
    """
    header = envelope.header
    remedy = f"ask {header.sender} about its job"
    if header.kind != "notice":
        raise BundleError(
            f"{header.name} of {header.sender} is an {header.kind}, not a notice; {remedy}"
        )
    content = envelope.unwrapped(ring)
    try:
        notice = Notice.model_validate_json(content)
    except (ValidationError, ValueError) as error:
        raise BundleError(f"cannot read the notice of {header.sender}; {remedy}") from error
    if notice.content != content:
        raise BundleError(
            f"the notice of {header.sender} was changed: its encoding is not canonical; {remedy}"
        )
    return notice
