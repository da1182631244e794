"""What everything on the wire shares: strict JSON objects, names, digests, instants, base64."""

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
"""It becomes a path in the exchange and a name in Kubernetes."""


class Part(BaseModel):
    """A JSON object, in camelCase. Unknown fields are errors, and no value is converted."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )

    def wire(self) -> dict[str, Any]:
        """Get the object as it is written."""
        return self.model_dump(mode="json", by_alias=True)


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _whole_second(value: datetime) -> datetime:
    # with room for sums on both sides, and four digits on the wire
    if not _FIRST <= value < _LAST:
        raise ValueError("is not of the years 2000 to 8999")
    return value.astimezone(UTC).replace(microsecond=0)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_whole_second),
    PlainSerializer(lambda value: value.strftime("%Y-%m-%dT%H:%M:%SZ"), when_used="json"),
]
"""A second in UTC, RFC 3339 on the wire."""


def now() -> datetime:
    """Get the present second."""
    return _whole_second(datetime.now(UTC))


def _base64(value: str) -> str:
    try:
        content = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from error
    # padding too much and bits left over would give one content several encodings
    if text_of(content) != value:
        raise ValueError("is not the one encoding of its content in base64")
    return value


Base64 = Annotated[str, AfterValidator(_base64)]


def text_of(content: bytes) -> str:
    """Encode bytes as base64."""
    return base64.b64encode(content).decode("ascii")


def bytes_of(text: str) -> bytes:
    """Decode base64."""
    return base64.b64decode(text, validate=True)


def canonical(value: Any) -> bytes:
    """Encode JSON so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(content: bytes) -> str:
    """Name bytes by their SHA-256, as `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
