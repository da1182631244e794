"""Inspects a peer's emulator before private data meets it.

A malicious emulator can be built so that the adapter that is tuned in it stores the private text
or images: a neuron that fires on one event alone has a gradient that is a copy of what that event
reads. Inspection measures signs of this on public text or images. It is a filter, not a proof: an
attacker who knows its bounds can build an emulator within them. Only differential privacy bounds
what an adapter reveals. docs/inspection.md has the signs, their bounds, and the figures of honest
emulators and of traps.
"""

from offsite.inspection.inspect import inspect
from offsite.inspection.signs import SIGNS, Figure, Report, Sign, check_inspected

__all__ = ["SIGNS", "Figure", "Report", "Sign", "check_inspected", "inspect"]
