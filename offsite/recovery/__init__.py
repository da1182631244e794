"""Measures how much of a full model's skill can be recovered from its emulators.

The attacker holds an emulator, or the union of all emulators of the model, and has public data and
a budget of training steps, but no teacher. An `Attacker` runs all attacks, `recover` is one of
them, and a `Yardstick` measures skill. Used by the release gate of a Distill job and by
`offsite attack recover`.
"""

from offsite.recovery.attacker import Attacker, Held
from offsite.recovery.attacks import Budget, recover
from offsite.recovery.corpus import Corpus
from offsite.recovery.skill import Recovered, Yardstick
from offsite.release.capability import HOW

__all__ = ["HOW", "Attacker", "Budget", "Corpus", "Held", "Recovered", "Yardstick", "recover"]
