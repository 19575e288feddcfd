"""tracemend finds what a tracer lost, says so, and reconstructs it with every event flagged as inferred."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tracemend import library as library
    from tracemend.api import Mended, evaluate, figures, load, mend, over_fills, train
    from tracemend.api.imputer import Imputer
    from tracemend.diffusion.restorer import Restorer
    from tracemend.errors import MissingError, ModelError, OptionError, OutputError, TraceError, TracemendError
    from tracemend.formats import read
    from tracemend.judging.evaluation import Evaluation
    from tracemend.losses.advice import Advice, Advices, advise
    from tracemend.losses.scanning import Scan, scan
    from tracemend.losses.verdict import Losses, Verdict
    from tracemend.menders.base import Mender, Proposal, Restored
    from tracemend.mending.mended import Fill
    from tracemend.mending.options import Options
    from tracemend.outputs import read_overlay, strip
    from tracemend.reckoning.figures import Figures
    from tracemend.reckoning.fills import OverFills
    from tracemend.trace.events import Gap, Trace

#: Public names by home. They are imported at first use: who reads and scans waits for nothing else.
_HOMES = {
    "api": ("Mended", "evaluate", "figures", "load", "mend", "over_fills", "train"),
    "api.imputer": ("Imputer",),
    "diffusion.restorer": ("Restorer",),
    "errors": ("MissingError", "ModelError", "OptionError", "OutputError", "TraceError", "TracemendError"),
    "formats": ("read",),
    "judging.evaluation": ("Evaluation",),
    "losses.advice": ("Advice", "Advices", "advise"),
    "losses.scanning": ("Scan", "scan"),
    "losses.verdict": ("Losses", "Verdict"),
    "menders.base": ("Mender", "Proposal", "Restored"),
    "mending.mended": ("Fill",),
    "mending.options": ("Options",),
    "outputs": ("read_overlay", "strip"),
    "reckoning.figures": ("Figures",),
    "reckoning.fills": ("OverFills",),
    "trace.events": ("Gap", "Trace"),
}

__all__ = [
    "Advice",
    "Advices",
    "Evaluation",
    "Figures",
    "Fill",
    "Gap",
    "Imputer",
    "Losses",
    "Mended",
    "Mender",
    "MissingError",
    "ModelError",
    "OptionError",
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
    "Verdict",
    "advise",
    "evaluate",
    "figures",
    "load",
    "mend",
    "over_fills",
    "read",
    "read_overlay",
    "scan",
    "strip",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "library":
        return import_module("tracemend.library")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tracemend.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
