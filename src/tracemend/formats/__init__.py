"""How a trace lies on disk, and which losses it shows. One file a format, one entry here.

A format is recognised by its content, never by the file's name.

A trace may be a folder (CTF), which is recognised by the file of metadata in it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from traceback import clear_frames

from tracemend.errors import TraceError, number, one_of
from tracemend.formats.ahead import ahead
from tracemend.formats.base import Format, Options, cores
from tracemend.formats.cutting import Sink
from tracemend.formats.text import MUCH, read_head
from tracemend.trace.events import Glance, Trace
from tracemend.trace.pieces import USUAL, Piece, Size, cut
from tracemend.trace.syscalls import DEFAULT_ARCH, architectures


class _Formats(MutableMapping[str, Format]):
    """Formats by their names. What reads one is imported when it is looked at: all of them take a tenth of a second."""

    def __init__(self, names: Iterable[str]) -> None:
        self._found: dict[str, Format | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Format:
        found = self._found[name]
        if found is None:
            module = import_module(f"{__name__}.{MODULES.get(name, name)}")
            found = self._found[name] = module.FORMAT
        return found

    def __setitem__(self, name: str, format: Format) -> None:
        self._found[name] = format

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


#: Modules that can't have their format's name.
MODULES = {"trace.dat": "tracedat", "perf.data": "perfdata", "perf-trace": "perf_trace"}
#: In the order in which they are tried: magic numbers first, the least demanding text last.
FORMATS = _Formats(
    (
        "parquet",
        "trace.dat",
        "etl",
        "perf.data",
        "ctf",
        "tracerpt",
        "perfetto",
        "systrace",
        "ftrace",
        "perf",
        "babeltrace",
        "sysdig",
        "perf-trace",
        "strace",
        "bpf",
        "sequence",
    )
)

#: The end of what is said of a file that is no trace.
CHOICE = f"; --format takes one of {', '.join(FORMATS)}"

#: What is said of a folder that is no trace.
FOLDERS = (
    "a folder, but no trace by itself. Folders that are traces: those of CTF, as LTTng writes them (with a file "
    "metadata), and those of perf record --threads (with a file data). Else name a file; tracemend scan tells which "
    "files of a folder are traces"
)


def recognise(path: Path) -> Format:
    """The first format whose content test the file (or a folder's metadata) passes; raises TraceError if none does."""
    if path.is_dir():
        heads = [read_head(f) for f in (path / "data", *sorted(path.rglob("metadata"))) if f.is_file()]
        for candidate in FORMATS.values():
            if candidate.folder and any(map(candidate.recognise, heads)):
                return candidate
        raise TraceError(path, 0, FOLDERS)
    head = read_head(path)
    if not head.strip():
        raise TraceError(path, 0, "the file is empty")
    found = known(head)
    if found is not None:
        return found
    from tracemend.formats.lookalikes import looks_like

    what = looks_like(head)
    seems = f" ({what})" if what else ""
    raise TraceError(path, 1, f"no known trace format{seems}{CHOICE}")


def known(head: bytes) -> Format | None:
    """The first format that takes these first bytes of a file for its own."""
    return next((f for f in FORMATS.values() if f.recognise(head)), None)


def read(
    path: str | Path, format: str | None = None, *, arch: str = "x86_64", strict: bool = False, jobs: int | None = None
) -> Trace:
    """Read a trace. The format is recognised by content unless named; ``arch`` names raw system-call numbers.

    ``jobs``: threads that large texts are read in, by default as many as there are processors.
    Raises TraceError (with file and line) for what can't be read, OptionError for an unknown format or architecture.

    >>> read("recordings/shell/lossy.txt").lost
    3957
    """
    path = _path(path)
    return _read(path, chosen(path, format, arch), _options(arch, strict, jobs))


def held(trace: Trace | str | Path) -> Trace:
    """The trace itself, or the one that lies at a path. Raises as ``read`` does, and TypeError for anything else."""
    return trace if isinstance(trace, Trace) else read(trace)


def in_pieces(trace: Trace | str | Path) -> Iterator[Piece]:
    """The pieces of a trace, or of the one that lies at a path; raises as ``held`` does."""
    return cut(trace, USUAL) if isinstance(trace, Trace) else pieces(_path(trace))


def _path(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"takes a trace (tracemend.read gives one) or the path of one, not {type(path).__name__}")
    return Path(path)


def _options(arch: str, strict: bool, jobs: int | None) -> Options:
    if jobs is not None:
        number("jobs", jobs, 1, whole=True)
    return Options(arch, strict, jobs or cores())


def _read(path: Path, format: Format, options: Options) -> Trace:
    try:
        with _digest(path, options.jobs > 1 and size(path) > MUCH) as digest:
            trace = format.read(path, options)
            return _identified(trace, path, format, digest())
    except TraceError as e:
        clear_frames(e.__traceback__)  # what readers hold open is closed now, not when the error is forgotten
        raise
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e


def pieces(
    path: str | Path,
    format: str | None = None,
    *,
    arch: str = "x86_64",
    strict: bool = False,
    jobs: int | None = None,
    cuts: Size = USUAL,
) -> Iterator[Piece]:
    """Read a trace piece by piece, in bounded memory where its format is ``in_pieces``: others are read as a whole and
    then cut.

    Reading goes on in a thread, a piece ahead, with one of ``jobs`` only while a piece is awaited; it stops where the
    caller does. ``cuts``: how large pieces are.
    Raises as ``read`` does.
    """
    path, options = Path(path), _options(arch, strict, jobs)
    found = chosen(path, format, arch)
    if not found.in_pieces:
        yield from cut(_read(path, found, options), cuts)
        return

    def fill(take: Callable[[Piece], None]) -> None:
        sink = Sink(cuts, take)
        trace = _read(path, found, replace(options, sink=sink))
        take(replace(sink.rest or Piece.whole(trace), trace=trace))

    yield from ahead(fill, in_step=options.jobs == 1)


def read_windows(
    path: str | Path, context: int, format: str | None = None, *, arch: str = "x86_64", strict: bool = False
) -> Trace:
    """Read, of a trace in packets (CTF), only what lies around its gaps: ``Trace.partial`` says what.

    context: events on each side of a gap on its own stream; of all other streams everything of the same time.
    Raises TraceError for what can't be read, and for a format without packets. Damage in packets that aren't read goes
    unnoticed.
    """
    path, options = Path(path), Options(arch, strict)
    try:
        found = chosen(path, format, arch)
        if found.windows is None:
            raise TraceError(path, 0, f"windows alone can be read only of {', '.join(windowed())}")
        return _identified(found.windows(path, options, context), path, found, sha256(path))
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e


def windowed() -> list[str]:
    """The names of the formats of which windows alone can be read."""
    return [f.name for f in FORMATS.values() if f.windows is not None]


@contextmanager
def _digest(path: Path, at_once: bool) -> Iterator[Callable[[], str]]:
    """Gives the SHA-256 of a file when asked for it; ``at_once``: a thread begins with it now."""
    unwanted = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(sha256, path, unwanted) if at_once else None
        try:
            yield lambda: begun.result() if begun else sha256(path)
        finally:
            unwanted.set()


def _identified(trace: Trace, path: Path, format: Format, digest: str) -> Trace:
    about = {**trace.provenance, "sha256": digest, "bytes": size(path)}
    return replace(trace, tracer=trace.tracer or format.tracer, provenance=about)


def glance(path: str | Path, format: str | None = None, *, strict: bool = False) -> Glance:
    """What a trace in packets (CTF) lost, by the packets' headers: no event is read.

    Raises TraceError (with file and byte) for what can't be read, and for a format without packets.
    """
    path, options = Path(path), Options(strict=strict)
    try:
        one = chosen(path, format, options.arch)
        if one.glance is None:
            able = ", ".join(f.name for f in FORMATS.values() if f.glance is not None)
            raise TraceError(path, 0, f"{one.name} has no packets with headers to look at, only {able}")
        return one.glance(path, options)
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e


def chosen(path: Path, format: str | None = None, arch: str = DEFAULT_ARCH) -> Format:
    """The format of that name, or the one recognised. Raises TraceError for a path that can't be, OptionError for a
    name that no format or architecture has."""
    try:
        if not path.is_file() and not path.is_dir():
            raise TraceError(path, 0, "no such file" if not path.exists() else "not a file")
    except OSError as e:
        raise TraceError(path, 0, e.strerror or str(e)) from e
    one_of("architecture", arch, architectures())
    found = recognise(path) if format is None else FORMATS[one_of("format", format, FORMATS)]
    if path.is_dir() and not found.folder:
        raise TraceError(path, 0, f"not a file, as {found.name} takes it")
    return found


def files(path: Path) -> list[Path]:
    """The file itself, or all files in and below a folder, in order."""
    return [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(f.stat().st_size for f in files(path))


def sha256(path: Path, unwanted: threading.Event | None = None) -> str:
    """The SHA-256 of the file as it lies on disk, or of all files in a folder one after the other, in hexadecimal.

    ``unwanted``: set where nobody waits for it any longer.
    """
    digest = hashlib.sha256()
    for file in files(path):
        with open(file, "rb") as f:
            while (block := f.read(1 << 20)) and not (unwanted and unwanted.is_set()):
                digest.update(block)
    return digest.hexdigest()
