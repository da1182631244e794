"""Rehearses an exchange in one process: all three stages, without keys, sealing or exchange.

A model owner learns what a setting is worth before it sends anything, on data that stands in for
its peer's. The stages' own functions do the work, so a rehearsal gives what the exchange would.
"""

from offsite.rehearsal.emulator import Emulator, delete_emulator
from offsite.rehearsal.rehearse import emulator_of, rehearse, repeat
from offsite.rehearsal.result import Gain, Measured, Rehearsed, Repeated, Sizes, Spread, spread
from offsite.rehearsal.setting import Setting, Splits

__all__ = [
    "Emulator",
    "Gain",
    "Measured",
    "Rehearsed",
    "Repeated",
    "Setting",
    "Sizes",
    "Splits",
    "Spread",
    "delete_emulator",
    "emulator_of",
    "rehearse",
    "repeat",
    "spread",
]
