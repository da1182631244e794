"""Bundles, the folders that parties exchange: model folders with a manifest.

`manifest` describes the contents of a bundle, `record` is what its sender keeps of it, and
`emulator` and `adapter` check a received one before it is opened. No torch: the steps with keys do
without it.
"""

from offsite.bundle.adapter import ADAPTER, admit_adapter, check_adapter
from offsite.bundle.companions import check_companions
from offsite.bundle.emulator import admit_emulator, check_emulator
from offsite.bundle.files import check_whole
from offsite.bundle.head import HeadRecord, NewHead, head_of, labelled
from offsite.bundle.manifest import (
    MANIFEST,
    AdapterFacts,
    EmulatorFacts,
    Manifest,
    PrivacyFacts,
    is_plain,
    read_manifest,
    write_manifest,
)
from offsite.bundle.original import check_original, check_tensors, files_read
from offsite.bundle.provenance import PROVENANCE, Origin, check_plugged_in, write_provenance
from offsite.bundle.record import BlockRecord, EmulatorRecord, largest_rank, outside_of, read_record
from offsite.bundle.strip import strip_companions

__all__ = [
    "ADAPTER",
    "MANIFEST",
    "PROVENANCE",
    "AdapterFacts",
    "BlockRecord",
    "EmulatorFacts",
    "EmulatorRecord",
    "HeadRecord",
    "Manifest",
    "NewHead",
    "Origin",
    "PrivacyFacts",
    "admit_adapter",
    "admit_emulator",
    "check_adapter",
    "check_companions",
    "check_emulator",
    "check_original",
    "check_plugged_in",
    "check_tensors",
    "check_whole",
    "files_read",
    "head_of",
    "is_plain",
    "labelled",
    "largest_rank",
    "outside_of",
    "read_manifest",
    "read_record",
    "strip_companions",
    "write_manifest",
    "write_provenance",
]
