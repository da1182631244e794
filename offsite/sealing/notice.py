"""Notices: a sealed message to the peer that a stage failed.

What it says is wrapped as a bundle's key is, and always of one size: the store learns that a stage
failed, not why.
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
"""Bytes of its envelope. An honest one has about ten thousand."""
_SIZE = 2048
"""Bytes of what it says, filled up with spaces."""
_LONGEST = 400
"""Characters of its message, of four bytes each at most."""
_REASON = r"^[A-Z][A-Za-z0-9]{0,63}$"
UNDISCLOSED = "StageFailed"
"""The reason of every failure once private data was read. A more exact one would leak the data."""
Stage = Literal["Distill", "Tune", "PlugIn"]


class Disclosure(StrEnum):
    """How much a peer is told when a stage has failed for good."""

    NONE = "None"
    REASON = "Reason"
    """The stage, and the reason in one word. A message may name paths, or quote data."""
    MESSAGE = "Message"
    """The error's message too, for failures before private data was read."""

    def of(self, message: str) -> str:
        """Give what may be told of an error's message."""
        return message if self is Disclosure.MESSAGE else ""


def _printable(text: str) -> str:
    if text != printable(text):
        raise ValueError("holds characters that would change what a terminal shows")
    return text


class Notice(Part):
    """What a notice says. Of a failure once private data was read it has no message."""

    stage: Stage
    reason: str = Field(pattern=_REASON)
    message: Annotated[str, AfterValidator(_printable)] = Field("", max_length=_LONGEST)

    @classmethod
    def of(cls, stage: Stage, reason: str, message: str) -> "Notice":
        """Describe any failure. What does not fit is cut, what cannot be shown is escaped."""
        if reason == UNDISCLOSED or not re.fullmatch(_REASON, reason):
            return cls(stage=stage, reason=UNDISCLOSED)
        words = printable(" ".join(message.split()))
        return cls(
            stage=stage,
            reason=reason,
            message=words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…",
        )

    @property
    def content(self) -> bytes:
        """Its one encoding."""
        return canonical(self.wire()).ljust(_SIZE)

    def said(self, header: Header) -> str:
        """Say it in a sentence, to whoever reads its envelope."""
        at, why = f"{header.created:%Y-%m-%d %H:%M} UTC", f"{self.reason}: {self.message}"
        return (
            f"{header.sender} says that its {self.stage} {header.name} failed on {at}: "
            f"{why.removesuffix(': ')}"
        )


def write_notice(header: Header, notice: Notice, ring: Ring, peer: PublicRing) -> Envelope:
    """Seal what a notice says to its recipient and to ourselves, and sign it.

    Raises:
        InputError: somebody has no key left.
    """
    return wrap(header, notice.content, ring, (peer, ring.public()))


def open_notice(envelope: Envelope, ring: Ring) -> Notice:
    """Open what a notice says, as the recipient or as the sender.

    Raises:
        BundleError: it is no notice, is for somebody else, or says what no notice says.
    """
    header = envelope.header
    remedy = f"ask {header.sender} what became of its job"
    if header.kind != "notice":
        raise BundleError(
            f"{header.name} of {header.sender} is an {header.kind}, not a notice; {remedy}"
        )
    content = envelope.unwrapped(ring)
    try:
        notice = Notice.model_validate_json(content)
    except (ValidationError, ValueError) as error:
        raise BundleError(f"the notice of {header.sender} cannot be read; {remedy}") from error
    if notice.content != content:
        raise BundleError(f"the notice of {header.sender} is not in its one encoding; {remedy}")
    return notice
