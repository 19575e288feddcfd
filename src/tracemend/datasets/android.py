"""Benign Android apps under strace, one trace an app: its main thread's system calls.

The npz file holds what ``adfa`` holds. How it was made from the public recordings isn't known here (which thread, which
lines were passed over), so it can't be fetched: it is read from a folder that has it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracemend.datasets.base import Data, Entry, by_trace, check, read_arrays
from tracemend.errors import DataError

FILE = "android/android_benign.npz"
KEYS = ("ids", "offsets", "vocab", "trace")
DIGEST = "b77734f0d93b4f33a1142ba69b0c64a6e5abcd47621822af4fe2311d22ab6ae6"


def read(name: str, folder: Path, length: int) -> Data:
    """The data set; ``length`` changes nothing. Raises DataError."""
    del length
    arrays = read_arrays(folder / FILE, name, KEYS)
    texts = {k: np.frombuffer("\n".join(map(str, arrays[k].ravel())).encode(), np.uint8) for k in ("vocab", "trace")}
    check(str(folder / FILE), {"ids": arrays["ids"], "offsets": arrays["offsets"], **texts}, DIGEST)
    try:
        return by_trace(name, arrays)
    except (IndexError, ValueError) as e:
        raise DataError(f"{folder / FILE}: no traces: {e}") from e


ENTRIES = [
    Entry(
        "android",
        "985 benign Android apps under strace, main thread",
        "https://github.com/AppAnalysis-BGSU/DynamicAnalysis",
        "no licence stated by the repository",
        "AppAnalysis-BGSU, DynamicAnalysis, folder Androzoo-Benign (apps of AndroZoo: Allix et al., MSR 2016).",
        FILE,
        read,
        note="can't be fetched, only read from a folder that has it",
    )
]
