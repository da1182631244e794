"""Envelopes and shards: a changed byte or a moved object is detected."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tink import aead, streaming_aead

from offsite.errors import BundleError
from offsite.sealing import (
    Envelope,
    Header,
    Ring,
    Shard,
    new_bundle_key,
    open_shard,
    read_envelope,
    seal_shard,
    write_envelope,
)
from offsite.sealing.envelope import GrantTerms
from offsite.sealing.primitives import new_keyset
from offsite.sealing.shards import place_of
from offsite.wire import canonical, now
from offsite_testing.parties import ring_of

LAB, HOSPITAL, CLINIC = (ring_of(name) for name in ("lab", "hospital", "clinic"))
KEY = new_bundle_key()


def header(**over: Any) -> Header:
    facts: dict[str, Any] = {
        "bundle": "0" * 32,
        "name": "emulator",
        "kind": "emulator",
        "sender": "lab",
        "recipient": "hospital",
        "job": "job-1",
        "sequence": 1,
        "created": now(),
        "grant": GrantTerms(max_uses=1),
        "shards": (Shard(file=0, number=0, count=1, sha256="0" * 64, size=3),),
    }
    return Header(**{**facts, **over})


def sent(**over: Any) -> Envelope:
    return write_envelope(header(**over), KEY, LAB, [HOSPITAL.public()])


ENVELOPE = sent()


def test_only_recipient_and_sender_unwrap_the_key() -> None:
    read = read_envelope(ENVELOPE.content, LAB.public())
    assert read == ENVELOPE
    assert read.bundle_key(HOSPITAL) == read.bundle_key(LAB) == KEY
    with pytest.raises(BundleError, match="not sealed to any key that clinic has"):
        read.bundle_key(CLINIC)


def test_a_bundle_opens_after_a_rotation_but_not_with_a_revoked_key() -> None:
    later = HOSPITAL.rotated(timedelta(days=1))
    assert ENVELOPE.bundle_key(later) == KEY
    with pytest.raises(BundleError, match="not sealed to any key"):
        ENVELOPE.bundle_key(later.revoked(HOSPITAL.newest("encrypt").id))


def test_an_envelope_reveals_nothing_of_the_plaintext() -> None:
    told = set(json.loads(ENVELOPE.content)["header"])
    assert told == {
        *("format", "bundle", "name", "kind", "sender", "recipient", "job", "sequence"),
        *("created", "grant", "parent", "shards"),
    }


@pytest.mark.parametrize("sender", [HOSPITAL, Ring.new("lab")])
def test_an_envelope_of_another_party_is_refused(sender: Ring) -> None:
    with pytest.raises(BundleError, match=r"not hospital|has no key"):
        read_envelope(ENVELOPE.content, sender.public())


@pytest.mark.parametrize(
    "template",
    [
        streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_4KB,
        streaming_aead.streaming_aead_key_templates.AES256_CTR_HMAC_SHA256_1MB,
        aead.aead_key_templates.AES256_GCM,
    ],
)
def test_a_key_of_another_kind_is_refused(template: Any) -> None:
    key = new_keyset(template)
    envelope = write_envelope(header(), key, LAB, [HOSPITAL.public()])
    with pytest.raises(BundleError, match="is of another kind, or has other parameters"):
        envelope.bundle_key(HOSPITAL)


def test_an_envelope_of_a_revoked_key_is_refused() -> None:
    later = LAB.rotated(timedelta(days=1))
    assert read_envelope(ENVELOPE.content, later.public())
    with pytest.raises(BundleError, match="was revoked"):
        read_envelope(ENVELOPE.content, later.revoked(LAB.newest("sign").id).public())


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(ENVELOPE.content)
    change(content)
    return canonical(content)


def left_over(text: str) -> str:
    """Set a bit that base64 does not read, where there is one."""
    bare = text.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(bare[-1]) ^ 1]
    return bare[:-1] + last + text[len(bare) :]


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "recipient": lambda e: e["header"].update(recipient="clinic"),
    "sequence": lambda e: e["header"].update(sequence=2),
    "grant": lambda e: e["header"].update(grant={"expires": None, "maxUses": None}),
    "shard": lambda e: e["header"]["shards"][0].update(sha256="1" * 64),
    "no shards": lambda e: e["header"].update(shards=[]),
    "parent": lambda e: e["header"].update(parent="sha256:" + "0" * 64),
    "keys swapped": lambda e: e["keys"].reverse(),
    "no keys": lambda e: e.update(keys=[]),
    "another signer": lambda e: e.update(signedBy="0" * 16),
    "no signature": lambda e: e.update(signature=""),
    "unknown field": lambda e: e.update(code="x"),
    "unknown format": lambda e: e["header"].update(format=2),
    "huge number": lambda e: e["header"].update(sequence=10**400),
    "name that climbs": lambda e: e["header"].update(name="../x"),
    "padded signature": lambda e: e.update(signature=e["signature"] + "="),
    "padded more": lambda e: e.update(signature=e["signature"] + "==="),
    "bits left over": lambda e: e.update(signature=left_over(e["signature"])),
    "year 10000": lambda e: e["header"].update(created="9999-12-31T23:59:59-01:00"),
    "year 0": lambda e: e["header"].update(created="0001-01-01T00:00:00+01:00"),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_envelope_is_refused(case: str) -> None:
    with pytest.raises(BundleError):
        read_envelope(edited(EDITS[case]), LAB.public())


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(json.loads(ENVELOPE.content)).encode(),
        ENVELOPE.content + b"\n",
        ENVELOPE.content.replace(b'"format":1', b'"format":1,"format":1'),
        b"[" * 100_000,
        b'{"header":' * 10_000,
        b"",
    ],
    ids=["spaced", "newline", "twice", "deep", "deeper", "empty"],
)
def test_an_envelope_has_one_encoding(content: bytes) -> None:
    with pytest.raises(BundleError):
        read_envelope(content, LAB.public())


@settings(max_examples=300)
@given(place=st.integers(0, len(ENVELOPE.content) - 1), byte=st.integers(1, 255))
def test_no_changed_byte_of_an_envelope_goes_unnoticed(place: int, byte: int) -> None:
    content = bytearray(ENVELOPE.content)
    content[place] ^= byte
    with pytest.raises(BundleError):
        read_envelope(bytes(content), LAB.public())


PLAIN = bytes(range(256)) * 5000
PLACE = place_of("0" * 32, 1, 0, 2)
SEALED = seal_shard(KEY, io.BytesIO(PLAIN), len(PLAIN), PLACE)


def opened(sealed: bytes, place: bytes = PLACE) -> bytes:
    target = io.BytesIO()
    open_shard(KEY, sealed, place, target)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, len(PLAIN)])
def test_a_shard_opens_to_what_was_sealed(size: int) -> None:
    assert opened(seal_shard(KEY, io.BytesIO(PLAIN), size, PLACE)) == PLAIN[:size]


@pytest.mark.parametrize(
    "place",
    [
        place_of("1" * 32, 1, 0, 2),
        place_of("0" * 32, 2, 0, 2),
        place_of("0" * 32, 1, 1, 2),
        place_of("0" * 32, 1, 0, 1),
    ],
)
def test_a_shard_opens_in_its_place_only(place: bytes) -> None:
    with pytest.raises(BundleError, match="cannot open a shard"):
        opened(SEALED, place)


@pytest.mark.parametrize(
    "sealed",
    [b"", SEALED[:1], SEALED[:-1], SEALED + b"x", SEALED[: 1 << 20], SEALED[40:]],
    ids=["nothing", "a byte", "one less", "one more", "a segment", "headless"],
)
def test_a_shard_of_another_length_does_not_open(sealed: bytes) -> None:
    with pytest.raises(BundleError, match="cannot open a shard"):
        opened(sealed)


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_no_changed_byte_of_a_shard_goes_unnoticed(place: float, byte: int) -> None:
    content = bytearray(SEALED)
    content[int(place * len(content))] ^= byte
    with pytest.raises(BundleError, match="cannot open a shard"):
        opened(bytes(content))


def test_a_file_that_becomes_shorter_is_told() -> None:
    with pytest.raises(BundleError, match="became shorter"):
        seal_shard(KEY, io.BytesIO(PLAIN[:10]), 11, PLACE)
