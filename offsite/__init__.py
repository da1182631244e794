"""offsite: tune a model that you may not see, on data that nobody else may see.

Offsite-Tuning (Xiao, Lin, Han 2023, arXiv 2302.04870) between two organizations. The names below
run its stages from Python, and load no torch until one of them runs:

    lab = offsite.Home("~/lab", exchange="/srv/exchange")
    offsite.distill("emulator", home=lab, peer="hospital", model="model", emulator={"blocks": 18})

ARCHITECTURE.md lists the modules. The package knows neither Kubernetes nor the terminal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from offsite.version import __version__

if TYPE_CHECKING:
    from offsite import errors, events
    from offsite.api import (
        Accept,
        Adapter,
        AlphaAuto,
        AlphaFactors,
        Base,
        Data,
        DistillTraining,
        EmulatorRelease,
        Ends,
        Export,
        Grant,
        Head,
        LayerDrop,
        LmEval,
        Privacy,
        Release,
        TuneTraining,
        Unit,
    )
    from offsite.client import Home, Result, distill, plug_in, tune
    from offsite.errors import OffsiteError
    from offsite.events import Metric

__all__ = [
    "Accept",
    "Adapter",
    "AlphaAuto",
    "AlphaFactors",
    "Base",
    "Data",
    "DistillTraining",
    "EmulatorRelease",
    "Ends",
    "Export",
    "Grant",
    "Head",
    "Home",
    "LayerDrop",
    "LmEval",
    "Metric",
    "OffsiteError",
    "Privacy",
    "Release",
    "Result",
    "TuneTraining",
    "Unit",
    "__version__",
    "distill",
    "errors",
    "events",
    "plug_in",
    "tune",
]

_MODULES = frozenset({"errors", "events"})
_HOMES = {
    **dict.fromkeys(("Home", "Result", "distill", "plug_in", "tune"), "client"),
    "Metric": "events",
    "OffsiteError": "errors",
}
"""Where the public names are; all others are types of `api`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: every command imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"offsite.{name}")
    return getattr(import_module(f"offsite.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
