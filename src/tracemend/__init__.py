"""tracemend finds what a tracer lost, says so, and reconstructs it with every event flagged as inferred."""

__version__ = "0.1.0"

from tracemend.api import Imputer, load, mend, read, train
from tracemend.errors import ModelError, OutputError, TraceError, TracemendError
from tracemend.events import Gap, Trace
from tracemend.mended import Fill, Mended
from tracemend.mender import Mender, Proposal, Restored, Restorer
from tracemend.scanning import Scan, advise, scan

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
