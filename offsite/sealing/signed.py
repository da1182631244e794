"""A JSON object that a party signed."""

from typing import ClassVar

from pydantic import Field

from offsite.wire import Base64, Part, canonical


class Signed(Part):
    """A part that its party signed."""

    domain: ClassVar[bytes]
    """What keeps the signature of one kind from being one of another."""
    signed_by: str = Field(max_length=64)
    signature: Base64

    @property
    def signed(self) -> bytes:
        """What the signature covers: everything else."""
        wire = self.wire()
        del wire["signature"]
        return self.domain + canonical(wire)
