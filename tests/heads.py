"""Small pairs that are real: what the recordings of the repository begin with."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest
from conftest import DEMO

from tracemend.formats import read
from tracemend.recording import Pair, align

TIME = re.compile(r" (\d+\.\d+): sys_")


def head(name: str, lines: int, folder: Path) -> Path:
    """Write the first lines of a lossy recording, and of its complete one as much; for lines at which nothing is just
    being lost. Of ``deploy`` 1,800 lines have two gaps of 84 events, 2,700 lines four of 672."""
    recording = DEMO.parent / name
    if not recording.is_dir():
        pytest.skip(f"recordings/{name} isn't there")
    with open(recording / "lossy.txt") as file:
        kept = [next(file) for _ in range(lines)]
    end = max(float(found[1]) for line in kept if (found := TIME.search(line)))
    folder.mkdir()
    (folder / "lossy.txt").write_text("".join(kept))
    with lzma.open(recording / "complete.txt.xz", "rt") as file, lzma.open(folder / "complete.txt.xz", "wt") as out:
        out.writelines(line for line in file if float(TIME.findall(line)[0]) <= end)
    return folder


def pair_of(folder: Path) -> Pair:
    """The two of them, with nothing but what is missing between them."""
    pair = align(read(folder / "lossy.txt"), read(folder / "complete.txt.xz"))
    assert len(pair.lossy) + pair.lost == len(pair.complete)
    assert pair.lost > 0
    return pair
