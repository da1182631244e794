"""A JSON object that a party signed."""

from typing import ClassVar

from pydantic import Field

from offsite.wire import Base64, Part, canonical


class Signed(Part):
    """A signed object."""

    domain: ClassVar[bytes]
    """Separates the signatures of different kinds of objects."""
    signed_by: str = Field(max_length=64)
    signature: Base64

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers: everything else."""
        wire = self.wire()
        del wire["signature"]
        return self.domain + canonical(wire)
