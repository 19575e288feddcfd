"""ADFA-LD: system calls of a Linux server in ordinary use, one trace a process (Creech and Hu 2013).

The archive holds text files of i386 call numbers. Of it the traces of ordinary use are taken, those for training and
those for validation, in the order of their names; the recorded attacks are left out. The npz file holds ``ids`` and
``offsets`` (trace i is ``ids[offsets[i]:offsets[i + 1]]``), the call names behind the ids (``vocab``) and each trace's
place in the archive (``trace``).
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from tracemend.datasets.base import Arrays, Data, Entry, by_trace, check, read_arrays, write_arrays
from tracemend.errors import DataError
from tracemend.trace.syscalls import call_name, table

FILE = "adfa_ld/adfa_ld_normal.npz"
KEYS = ("ids", "offsets", "vocab", "trace")
PARTS = ("Training_Data_Master", "Validation_Data_Master")
ARCH = "i386"
COMMIT = "58332c8d7dfbecb9f3e746c9f691623b91f51dfd"
URL = f"https://raw.githubusercontent.com/verazuo/a-labelled-version-of-the-ADFA-LD-dataset/{COMMIT}/ADFA-LD.zip"

#: Of ``canonical``: traces, their places in the archive and their call numbers.
DIGEST = "d0a72be389ea3f5d903b0c53b8e620b8a90b5cd35ba3c4f4bb771cf112350123"


def canonical(arrays: Arrays) -> Arrays:
    """The same content however its ids are numbered: i386 call numbers in place of ids. Raises DataError."""
    numbers = {name: number for number, name in table(ARCH).items()}
    unknown = [n for n in arrays["vocab"].tolist() if n not in numbers]
    if unknown:
        raise DataError(f"adfa: {unknown[0]!r} is no call of {ARCH}")
    codes = np.array([numbers[n] for n in arrays["vocab"].tolist()], np.uint16)
    trace = np.frombuffer("\n".join(arrays["trace"].tolist()).encode(), np.uint8)
    return {"calls": codes[arrays["ids"]], "offsets": arrays["offsets"].astype(np.int64), "trace": trace}


def read(name: str, folder: Path, length: int) -> Data:
    """The data set; ``length`` changes nothing. Raises DataError."""
    del length
    arrays = read_arrays(folder / FILE, name, KEYS)
    try:
        check(str(folder / FILE), canonical(arrays), DIGEST)
    except (IndexError, ValueError, TypeError, AttributeError) as e:
        raise DataError(f"{folder / FILE}: no traces of ADFA-LD: {e}") from e
    return by_trace(name, arrays)


def fetch(name: str, folder: Path, archive: Path | None = None, *, url: str = URL) -> Path:
    """Convert the archive, downloaded unless it is given, check it and keep it. Raises DataError.

    The archive itself has no checksum here: what is checked is what was read from it.
    """
    from tracemend.datasets.download import download

    with tempfile.TemporaryDirectory() as work:
        arrays = converted(archive or download(url, Path(work) / "ADFA-LD.zip"))
    check(name, canonical(arrays), DIGEST)
    return write_arrays(folder / FILE, arrays)


def converted(archive: Path) -> Arrays:
    """The arrays of a zip file that has the two folders of ordinary traces at any depth; raises DataError."""
    texts: dict[str, list[int]] = {}
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                place = PurePosixPath(member)
                # a Mac leaves a shadow "._NAME" beside each file that it packs
                if place.parent.name in PARTS and place.suffix == ".txt" and not place.name.startswith("."):
                    texts[f"{place.parent.name}/{place.name}"] = [int(n) for n in file.read(member).split()]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as e:
        raise DataError(f"{archive}: no archive of ADFA-LD: {e}") from e
    if not texts:
        raise DataError(f"{archive}: no archive of ADFA-LD: nothing in {' or '.join(PARTS)}")
    names = sorted(texts)
    calls = np.array([n for name in names for n in texts[name]], np.int64)
    numbers, ids, counts = np.unique(calls, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    place_of = np.argsort(order)
    vocab = np.array([call_name(int(n), ARCH) for n in numbers[order]])
    offsets = np.concatenate([[0], np.cumsum([len(texts[n]) for n in names])]).astype(np.int64)
    return {
        "ids": place_of[ids].astype(np.uint8 if len(numbers) <= 256 else np.uint16),
        "offsets": offsets,
        "vocab": vocab,
        "trace": np.array(names),
    }


ENTRIES = [
    Entry(
        "adfa",
        "ADFA-LD: processes of a Linux server in ordinary use, i386 calls",
        "https://research.unsw.edu.au/projects/adfa-ids-datasets",
        "free for research with citation; the authors keep the copyright",
        "Creech, Hu: Generation of a new IDS test dataset: Time to retire the KDD collection. WCNC 2013.",
        FILE,
        read,
        fetch,
        archive=True,
        note=f"fetched from {URL}; another copy: tracemend datasets fetch adfa --archive FILE.zip",
    )
]
