"""tracemend finds what a tracer lost, says so, and reconstructs it with every event flagged as inferred."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tracemend.api import Imputer, figures, load, mend, over_fills, train
    from tracemend.diffusion.restorer import Restorer
    from tracemend.errors import MissingError, ModelError, OutputError, TraceError, TracemendError
    from tracemend.formats import read
    from tracemend.losses.advice import advise
    from tracemend.losses.scanning import Scan, scan
    from tracemend.menders.base import Mender, Proposal, Restored
    from tracemend.mending.mended import Fill, Mended
    from tracemend.mending.options import Options
    from tracemend.reckoning.figures import Figures
    from tracemend.reckoning.fills import OverFills
    from tracemend.trace.events import Gap, Trace

#: Public names by home. They are imported at first use: who reads and scans waits for nothing else.
_HOMES = {
    "api": ("Imputer", "figures", "load", "mend", "over_fills", "train"),
    "diffusion.restorer": ("Restorer",),
    "errors": ("MissingError", "ModelError", "OutputError", "TraceError", "TracemendError"),
    "formats": ("read",),
    "losses.advice": ("advise",),
    "losses.scanning": ("Scan", "scan"),
    "menders.base": ("Mender", "Proposal", "Restored"),
    "mending.mended": ("Fill", "Mended"),
    "mending.options": ("Options",),
    "reckoning.figures": ("Figures",),
    "reckoning.fills": ("OverFills",),
    "trace.events": ("Gap", "Trace"),
}

__all__ = [
    "Figures",
    "Fill",
    "Gap",
    "Imputer",
    "Mended",
    "Mender",
    "MissingError",
    "ModelError",
    "Options",
    "OutputError",
    "OverFills",
    "Proposal",
    "Restored",
    "Restorer",
    "Scan",
    "Trace",
    "TraceError",
    "TracemendError",
    "advise",
    "figures",
    "load",
    "mend",
    "over_fills",
    "read",
    "scan",
    "train",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tracemend.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
