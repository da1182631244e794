"""How the middle of a model becomes a lossy emulator: one module for each method."""

from offsite.emulator.heal import heal
from offsite.emulator.layer_drop import Layout, drop_layers

__all__ = ["Layout", "drop_layers", "heal"]
