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
    prf,
    secret_key_access,
    signature,
    streaming_aead,
)
from tink.proto import (
    aes_gcm_hkdf_streaming_pb2,
    aes_gcm_pb2,
    common_pb2,
    ed25519_pb2,
    hkdf_prf_pb2,
    tink_pb2,
)

Keyset = dict[str, Any]
"""A keyset in Tink's JSON form."""

ENCRYPTION = hybrid.hybrid_key_templates.X_WING_HKDF_SHA256_HKDF_SHA256_AES_256_GCM
SIGNATURE = signature.signature_key_templates.ED25519
STREAM = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB

TinkError = tink.TinkError


@cache
def _register() -> None:
    for kind in (aead, hybrid, prf, signature, streaming_aead):
        kind.register()


def new_keyset(template: Any) -> Keyset:
    """Generate a keyset with one key."""
    _register()
    handle = tink.new_keyset_handle(template)
    return _dict(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def public_keyset(private: Keyset) -> Keyset:
    """Return the public half of a keyset."""
    public = _secret(private).public_keyset_handle()
    return _dict(json_proto_keyset_format.serialize_without_secret(public))


def encrypt(public: Keyset, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt to the owner of a key."""
    return bytes(_open(public).primitive(hybrid.HybridEncrypt).encrypt(plaintext, context))


def decrypt(private: Keyset, ciphertext: bytes, context: bytes) -> bytes:
    """Decrypt a ciphertext that is encrypted to us.

    Raises:
        TinkError: It is for another key, or was changed.
    """
    return bytes(_secret(private).primitive(hybrid.HybridDecrypt).decrypt(ciphertext, context))


def sign(private: Keyset, message: bytes) -> bytes:
    """Sign a message."""
    return bytes(_secret(private).primitive(signature.PublicKeySign).sign(message))


def verify(public: Keyset, signed: bytes, message: bytes) -> None:
    """Verify a signature.

    Raises:
        TinkError: It is not this key's signature of this message.
    """
    _open(public).primitive(signature.PublicKeyVerify).verify(signed, message)


def is_stream(keyset: Keyset) -> bool:
    """Return whether an untrusted keyset is one key of our kind, with our parameters."""
    try:
        (key,) = keyset["key"]
        data, template = key["keyData"], aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat()
        template.ParseFromString(STREAM.value)
        parsed = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey()
        parsed.ParseFromString(base64.b64decode(data["value"]))
    except Exception:  # parsers raise many kinds for untrusted bytes
        return False
    ours = (STREAM.type_url, template.params, template.key_size)
    return (data.get("typeUrl"), parsed.params, len(parsed.key_value)) == ours


def is_public(keyset: Keyset, purpose: str) -> bool:
    """Return whether an untrusted keyset works for its purpose."""
    try:
        if purpose == "encrypt":
            encrypt(keyset, b"", b"")  # only this detects a missing primary key
        else:
            _open(keyset).primitive(signature.PublicKeyVerify)
    except TinkError:
        return False
    return True


def stream(keyset: Keyset) -> streaming_aead.StreamingAead:
    """Return the streaming AEAD of a bundle's key."""
    return _secret(keyset).primitive(streaming_aead.StreamingAead)


def aead_of(key: bytes) -> aead.Aead:
    """Return the AEAD (AES-256-GCM) of a 32-byte key."""
    return _raw("AesGcmKey", aes_gcm_pb2.AesGcmKey(version=0, key_value=key)).primitive(aead.Aead)


def derive(private: Keyset, context: bytes) -> bytes:
    """Derive a 32-byte secret for another purpose from a private sign key: HKDF-SHA256 (RFC 5869).

    Args:
        context: The purpose. Secrets of two contexts tell nothing of each other, nor of the key.
    """
    data = private["key"][0]["keyData"]["value"]
    seed = ed25519_pb2.Ed25519PrivateKey.FromString(base64.b64decode(data)).key_value
    params = hkdf_prf_pb2.HkdfPrfParams(hash=common_pb2.SHA256)
    key = hkdf_prf_pb2.HkdfPrfKey(version=0, params=params, key_value=seed)
    return bytes(_raw("HkdfPrfKey", key).primitive(prf.PrfSet).primary().compute(context, 32))


def _raw(kind: str, key: Any) -> KeysetHandle:
    """Make a keyset of one symmetric key, whose operations have no prefix."""
    _register()
    raw = tink_pb2.Keyset(primary_key_id=1)
    data = tink_pb2.KeyData(
        type_url=f"type.googleapis.com/google.crypto.tink.{kind}",
        value=key.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    raw.key.add(
        key_data=data,
        status=tink_pb2.KeyStatusType.ENABLED,
        key_id=1,
        output_prefix_type=tink_pb2.OutputPrefixType.RAW,
    )
    return tink.proto_keyset_format.parse(raw.SerializeToString(), secret_key_access.TOKEN)


def _secret(keyset: Keyset) -> KeysetHandle:
    _register()
    return json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)


def _open(keyset: Keyset) -> KeysetHandle:
    _register()
    return json_proto_keyset_format.parse_without_secret(json.dumps(keyset))


def _dict(text: str) -> Keyset:
    keyset: Keyset = json.loads(text)
    return keyset
