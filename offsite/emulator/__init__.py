"""Methods that compress the middle of a model into an emulator, one module each."""

from offsite.emulator.heal import heal
from offsite.emulator.layer_drop import Layout, drop_layers

__all__ = ["Layout", "drop_layers", "heal"]
