"""Methods that compress the middle of a model into an emulator, one module each.

`method` says what a method does and how to add one; `heal` corrects what any of them made.
"""

from collections.abc import Mapping
from typing import Any

from offsite.emulator import layer_drop
from offsite.emulator.heal import heal
from offsite.emulator.method import Compressed, Method, share_of

__all__ = ["METHODS", "Compressed", "Method", "heal", "share_of"]

METHODS: Mapping[str, Method[Any]] = {"LayerDrop": layer_drop}
"""By the name that `emulator.method` of a job has for it."""
