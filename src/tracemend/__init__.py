"""tracemend finds what a tracer lost, says so, and reconstructs it with every event flagged as inferred."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tracemend.api import Imputer, load, mend, train
    from tracemend.errors import ModelError, OutputError, TraceError, TracemendError
    from tracemend.events import Gap, Trace
    from tracemend.formats import read
    from tracemend.mended import Fill, Mended
    from tracemend.mender import Mender, Proposal, Restored, Restorer
    from tracemend.scanning import Scan, advise, scan

#: Public names by home. They are imported at first use, so that reading and scanning never wait for PyTorch.
_HOMES = {
    "api": ("Imputer", "load", "mend", "train"),
    "errors": ("ModelError", "OutputError", "TraceError", "TracemendError"),
    "events": ("Gap", "Trace"),
    "formats": ("read",),
    "mended": ("Fill", "Mended"),
    "mender": ("Mender", "Proposal", "Restored", "Restorer"),
    "scanning": ("Scan", "advise", "scan"),
}

__all__ = [
    "Fill",
    "Gap",
    "Imputer",
    "Mended",
    "Mender",
    "ModelError",
    "OutputError",
    "Proposal",
    "Restored",
    "Restorer",
    "Scan",
    "Trace",
    "TraceError",
    "TracemendError",
    "advise",
    "load",
    "mend",
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
