"""Computes what a stage will need, before anything is loaded: memory, operations, bytes.

From the sizes in a model's config.json, the row of its family, and the job. No torch: the command
`offsite plan` uses it, and the step `Open`, which runs where no torch is installed.
"""

from offsite.sizing.amounts import amount_of, bytes_of
from offsite.sizing.limits import REQUEST, Limit
from offsite.sizing.phase import Needs, Phase
from offsite.sizing.remedies import Remedy, explained, remedies_for
from offsite.sizing.setting import Machine
from offsite.sizing.sources import count_examples, count_positions, subject_in
from offsite.sizing.stages import Data, Subject, needs_of

__all__ = [
    "REQUEST",
    "Data",
    "Limit",
    "Machine",
    "Needs",
    "Phase",
    "Remedy",
    "Subject",
    "amount_of",
    "bytes_of",
    "count_examples",
    "count_positions",
    "explained",
    "needs_of",
    "remedies_for",
    "subject_in",
]
