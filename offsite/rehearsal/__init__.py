"""Rehearses an exchange in one process: all three stages, without keys, sealing or exchange.

A model owner learns what a setting is worth before it sends anything, on stand-in data for
its peer's. The stages' own functions do the work, so a rehearsal gives the exchange's figures.

`offsite.rehearsal.rehearse` does it. What is here reads and describes results, without torch.
"""

from offsite.rehearsal.result import Gain, Measured, Model, Rehearsed, Sizes
from offsite.rehearsal.setting import Setting, Splits
from offsite.rehearsal.summary import Repeated, Scored, Spread, Summary, spread

__all__ = [
    "Gain",
    "Measured",
    "Model",
    "Rehearsed",
    "Repeated",
    "Scored",
    "Setting",
    "Sizes",
    "Splits",
    "Spread",
    "Summary",
    "spread",
]
