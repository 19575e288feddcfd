"""Binary traces that their own tools turn into text: ``perf.data`` by perf.

The tool's text goes to a temporary file and through the text's reader; line numbers are those of the text.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats import perf
from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.text import UNPACKING, decode, open_binary
from tracemend.trace.events import Trace

#: A tool that takes longer hangs (seconds).
PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that prints a trace as text, the file's magic number, and the reader of that text."""

    command: tuple[str, ...]
    magic: bytes
    fill: Callable[[Builder, Path], None]
    format: str

    @property
    def name(self) -> str:
        return " ".join(self.command[:2])

    def recognise(self, head: bytes) -> bool:
        """Whether the file starts with the magic number."""
        return head.startswith(self.magic)

    def print_text(self, path: Path, folder: Path) -> tuple[Path, str]:
        """The trace as a file of text in ``folder``, and what else the tool had to say.

        Raises TraceError if the tool is missing, fails or hangs.
        """
        if shutil.which(self.command[0]) is None:
            raise TraceError(path, 0, f"reading this file takes {self.command[0]}, which is not installed")
        text, complaints = folder / "text", folder / "complaints"
        with open(text, "wb") as out, open(complaints, "wb") as err:
            try:
                done = subprocess.run(
                    [*self.command, "-i", str(self._unpacked(path, folder))],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    timeout=PATIENCE,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise TraceError(path, 0, f"{self.name} took longer than {PATIENCE:g} s") from None
            except OSError as e:
                raise TraceError(path, 0, f"{self.name} can't be run: {e.strerror or e}") from e
        words = decode(complaints.read_bytes()[-2000:]).splitlines()
        complaint = "; ".join(w.strip() for w in words if w.strip())
        if done.returncode:
            raise TraceError(path, 0, f"{self.name} failed ({done.returncode}): {complaint or 'it gave no reason'}")
        return text, complaint

    def _unpacked(self, path: Path, folder: Path) -> Path:
        """The file itself, or a copy in ``folder`` where it is compressed: the tools don't unpack."""
        with open(path, "rb") as f:
            if f.read(len(self.magic)) == self.magic:
                return path.absolute()
        copy = folder / "unpacked"
        try:
            with open_binary(path) as packed, open(copy, "wb") as out:
                shutil.copyfileobj(packed, out)
        except UNPACKING as e:
            raise TraceError(path, 0, f"can't unpack it: {e}") from e
        return copy

    def read(self, path: Path, options: Options) -> Trace:
        """Let the tool print the trace and read what it prints; raises TraceError."""
        builder = Builder(path, self.format, options)
        with tempfile.TemporaryDirectory(prefix="tracemend-") as folder:
            text, complaint = self.print_text(path, Path(folder))
            try:
                self.fill(builder, text)
            except TraceError as e:  # whatever is wrong with the text, the user knows only the file it was made from
                raise TraceError(path, e.line, e.message) from None
        if complaint and not builder.rows and not builder.marks:
            raise TraceError(path, 0, f"{self.name} printed no events: {complaint}")
        builder.provenance["read_by"] = " ".join(self.command)
        return builder.finish()


PERF = Tool(("perf", "script", "--ns", "--show-lost-events"), b"PERFILE2", perf.fill, "perf.data")
EVIDENCE = Evidence(
    marks="records of type LOST, LOST_SAMPLES and AUX (truncated)",
    complete="none of these records: the kernel writes one whenever a ring buffer had no room",
)
PERF_DATA = Format(PERF.format, "perf.data (takes perf)", PERF.recognise, PERF.read, EVIDENCE, "perf")
