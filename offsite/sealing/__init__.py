"""Identities, envelopes and sealed shards. All cryptography is Tink's."""

from offsite.sealing.envelope import Envelope, Header, Shard, read_envelope, write_envelope
from offsite.sealing.identity import PublicRing, Ring
from offsite.sealing.notice import (
    SUSPICIOUS,
    UNDISCLOSED,
    Disclosure,
    Notice,
    open_notice,
    write_notice,
)
from offsite.sealing.ringfile import load_ring, save_ring
from offsite.sealing.shards import SHARD_SIZE, new_bundle_key, open_shard, seal_shard

__all__ = [
    "SHARD_SIZE",
    "SUSPICIOUS",
    "UNDISCLOSED",
    "Disclosure",
    "Envelope",
    "Header",
    "Notice",
    "PublicRing",
    "Ring",
    "Shard",
    "load_ring",
    "new_bundle_key",
    "open_notice",
    "open_shard",
    "read_envelope",
    "save_ring",
    "seal_shard",
    "write_envelope",
    "write_notice",
]
