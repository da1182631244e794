"""offsite: tune a model that you may not see, on data that nobody else may see.

Offsite-Tuning (Xiao, Lin, Han 2023, arXiv 2302.04870) between two organizations. The names below
run its stages from Python, and load no torch until one of them runs:

    lab = offsite.Home("~/lab", exchange="/srv/exchange")
    offsite.distill("emulator", home=lab, peer="hospital", model="model", emulator={"blocks": 18})

ARCHITECTURE.md lists the modules. The package knows neither Kubernetes nor the terminal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offsite import errors
    from offsite.api import (
        Accept,
        Adapter,
        Data,
        DistillTraining,
        Ends,
        Export,
        Grant,
        LayerDrop,
        TuneTraining,
    )
    from offsite.client import Home, Metric, Result, distill, plug_in, tune
    from offsite.errors import OffsiteError

__version__ = "0.1.0"

__all__ = [
    "Accept",
    "Adapter",
    "Data",
    "DistillTraining",
    "Ends",
    "Export",
    "Grant",
    "Home",
    "LayerDrop",
    "Metric",
    "OffsiteError",
    "Result",
    "TuneTraining",
    "__version__",
    "distill",
    "errors",
    "plug_in",
    "tune",
]

_CLIENT = frozenset({"Home", "Metric", "Result", "distill", "plug_in", "tune"})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: every command imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _CLIENT:
        return getattr(import_module("offsite.client"), name)
    errors = import_module("offsite.errors")
    if name == "errors":
        return errors
    return getattr(errors if name == "OffsiteError" else import_module("offsite.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
