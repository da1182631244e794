"""The only module that calls Tink: keysets of one key each, as JSON, and their operations.

Hybrid encryption is X-Wing (ML-KEM-768 with X25519), signatures are Ed25519.
"""

import base64
import json
from functools import cache
from typing import Any

import tink
from tink import (
    KeysetHandle,
    aead,
    hybrid,
    json_proto_keyset_format,
    secret_key_access,
    signature,
    streaming_aead,
)
from tink.proto import aes_gcm_hkdf_streaming_pb2, aes_gcm_pb2, tink_pb2

Keyset = dict[str, Any]
"""A keyset in Tink's JSON form."""

ENCRYPTION = hybrid.hybrid_key_templates.X_WING_HKDF_SHA256_HKDF_SHA256_AES_256_GCM
SIGNATURE = signature.signature_key_templates.ED25519
STREAM = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB

TinkError = tink.TinkError


@cache
def _register() -> None:
    for kind in (aead, hybrid, signature, streaming_aead):
        kind.register()


def new_keyset(template: Any) -> Keyset:
    """Make a keyset of one new key."""
    _register()
    handle = tink.new_keyset_handle(template)
    return _dict(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def public_keyset(private: Keyset) -> Keyset:
    """Get the public half of a keyset."""
    public = _secret(private).public_keyset_handle()
    return _dict(json_proto_keyset_format.serialize_without_secret(public))


def encrypt(public: Keyset, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt to whoever has the private half."""
    return bytes(_open(public).primitive(hybrid.HybridEncrypt).encrypt(plaintext, context))


def decrypt(private: Keyset, ciphertext: bytes, context: bytes) -> bytes:
    """Decrypt what was encrypted to us.

    Raises:
        TinkError: it was not, or it was changed.
    """
    return bytes(_secret(private).primitive(hybrid.HybridDecrypt).decrypt(ciphertext, context))


def sign(private: Keyset, message: bytes) -> bytes:
    """Sign a message."""
    return bytes(_secret(private).primitive(signature.PublicKeySign).sign(message))


def verify(public: Keyset, signed: bytes, message: bytes) -> None:
    """Check a signature.

    Raises:
        TinkError: it is not this key's signature of this message.
    """
    _open(public).primitive(signature.PublicKeyVerify).verify(signed, message)


def is_stream(keyset: Keyset) -> bool:
    """Whether a keyset that somebody chose is one key of our kind, with our parameters."""
    try:
        (key,) = keyset["key"]
        data, template = key["keyData"], aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat()
        template.ParseFromString(STREAM.value)
        parsed = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey()
        parsed.ParseFromString(base64.b64decode(data["value"]))
    except Exception:  # whatever parsers raise of a stranger's bytes
        return False
    ours = (STREAM.type_url, template.params, template.key_size)
    return (data.get("typeUrl"), parsed.params, len(parsed.key_value)) == ours


def is_public(keyset: Keyset, purpose: str) -> bool:
    """Whether a keyset that somebody gave us can do what it is for."""
    try:
        if purpose == "encrypt":
            encrypt(keyset, b"", b"")  # one without a primary key is noticed by this alone
        else:
            _open(keyset).primitive(signature.PublicKeyVerify)
    except TinkError:
        return False
    return True


def stream(keyset: Keyset) -> streaming_aead.StreamingAead:
    """Get the streaming AEAD of a bundle's key."""
    return _secret(keyset).primitive(streaming_aead.StreamingAead)


def aead_of(key: bytes) -> aead.Aead:
    """Get the AEAD (AES-256-GCM) of 32 bytes that were derived elsewhere."""
    _register()
    raw = tink_pb2.Keyset(primary_key_id=1)
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmKey",
        value=aes_gcm_pb2.AesGcmKey(version=0, key_value=key).SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    raw.key.add(
        key_data=data,
        status=tink_pb2.KeyStatusType.ENABLED,
        key_id=1,
        output_prefix_type=tink_pb2.OutputPrefixType.RAW,
    )
    handle = tink.proto_keyset_format.parse(raw.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(aead.Aead)


def _secret(keyset: Keyset) -> KeysetHandle:
    _register()
    return json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)


def _open(keyset: Keyset) -> KeysetHandle:
    _register()
    return json_proto_keyset_format.parse_without_secret(json.dumps(keyset))


def _dict(text: str) -> Keyset:
    keyset: Keyset = json.loads(text)
    return keyset
