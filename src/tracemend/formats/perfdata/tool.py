"""perf itself, which prints the events of a ``perf.data`` as text."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tracemend.errors import TraceError
from tracemend.formats.perfdata.file import ATTR, ATTRS, Described, pack
from tracemend.formats.text import decode

COMMAND = ("perf", "script", "--ns", "--show-lost-events")
#: A perf that takes longer hangs (seconds).
PATIENCE = 3600.0
#: Bytes of the attributes that versions of perf know.
SIZES = (136, 128, 120, 112, 104, 96, 80, 72, 64)


def print_text(path: Path, folder: Path) -> tuple[Path, str]:
    """The trace as a file of text in ``folder``, and what else perf had to say.

    Raises TraceError if perf is missing, fails or hangs.
    """
    if shutil.which(COMMAND[0]) is None:
        raise TraceError(path, 0, "perf is not installed")
    text, complaints = folder / "text", folder / "complaints"
    with open(text, "wb") as out, open(complaints, "wb") as err:
        try:
            done = subprocess.run(
                [*COMMAND, "-i", str(path.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TraceError(path, 0, f"perf script took longer than {PATIENCE:g} s") from None
        except OSError as e:
            raise TraceError(path, 0, f"perf script can't be run: {e.strerror or e}") from e
    words = decode(complaints.read_bytes()[-2000:]).splitlines()
    complaint = "; ".join(w.strip() for w in words if w.strip())
    if done.returncode:
        raise TraceError(path, 0, f"perf script failed ({done.returncode}): {complaint or 'it gave no reason'}")
    return text, complaint


def narrowed(file: IO[bytes], found: Described, copy: Path) -> Iterator[int]:
    """Make copies of a file for an older perf, one after the other, whose attributes are cut to a size that it may
    know; gives each one's size. None is made that would lose anything: what is cut off is all zero."""
    if found.piped:
        return
    for size in (s for s in SIZES if s < found.attr_size):
        if any(any(attr.raw[size:]) for attr in found.attrs):
            return
        file.seek(0)
        with open(copy, "wb") as out:
            shutil.copyfileobj(file, out)
            at = out.tell() + -out.tell() % 8
            out.write(bytes(at - out.tell()))
            for attr in found.attrs:
                own = bytearray(attr.raw[:size])
                own[4:8] = pack(found.order, size, 4)
                out.write(own + b"".join(pack(found.order, n, 8) for n in attr.ids_at))
            out.seek(ATTR)
            out.write(pack(found.order, size + 16, 8))
            out.seek(ATTRS)
            out.write(pack(found.order, at, 8) + pack(found.order, (size + 16) * len(found.attrs), 8))
        yield size
