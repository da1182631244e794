"""Types of an OffsiteJob. Job files are validated with them, and the CRD is generated from them.

Only fields that are implemented are listed; an unknown field is an error. Names are snake_case in
Python, and camelCase in YAML and JSON. `kubectl explain` shows the docstrings of the fields.
"""

from offsite.api.cluster import Resources, Runtime, Toleration
from offsite.api.distill import Distill, DistillTraining, Ends, Grant
from offsite.api.emulators import EMULATORS, Emulator, EmulatorSection, LayerDrop
from offsite.api.evaluation import LmEval
from offsite.api.job import JobSpec, Metadata, OffsiteJob
from offsite.api.limits import Limits
from offsite.api.plug_in import Accept, AlphaAuto, AlphaFactors, Export, PlugIn
from offsite.api.privacy import Privacy, Unit, sampling_rate
from offsite.api.references import JobReference, Use, claims_of
from offsite.api.release import EmulatorRelease, Release
from offsite.api.tune import Adapter, Augmentation, Base, Data, Head, Tune, TuneTraining
from offsite.api.values import (
    BUNDLE_PATTERN,
    MODEL_PATTERN,
    PATTERN_MEANING,
    RULES,
    Bundle,
    Section,
    cel,
    is_among,
)
from offsite.wire import NAME_PATTERN, Name

__all__ = [
    "BUNDLE_PATTERN",
    "EMULATORS",
    "MODEL_PATTERN",
    "NAME_PATTERN",
    "PATTERN_MEANING",
    "RULES",
    "Accept",
    "Adapter",
    "AlphaAuto",
    "AlphaFactors",
    "Augmentation",
    "Base",
    "Bundle",
    "Data",
    "Distill",
    "DistillTraining",
    "Emulator",
    "EmulatorRelease",
    "EmulatorSection",
    "Ends",
    "Export",
    "Grant",
    "Head",
    "JobReference",
    "JobSpec",
    "LayerDrop",
    "Limits",
    "LmEval",
    "Metadata",
    "Name",
    "OffsiteJob",
    "PlugIn",
    "Privacy",
    "Release",
    "Resources",
    "Runtime",
    "Section",
    "Toleration",
    "Tune",
    "TuneTraining",
    "Unit",
    "Use",
    "cel",
    "claims_of",
    "is_among",
    "sampling_rate",
]
