"""What leaves the program after mending. One file an output, one entry here.

They go into one folder that appears whole or not at all. The input is only ever read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from tracemend.engines import HERE, Engine, Local, at_work
from tracemend.errors import OutputError, one_of
from tracemend.mending.mended import Mended, Result
from tracemend.outputs import figures, merged, overlay, perfetto, report
from tracemend.outputs.overlay import read_overlay
from tracemend.outputs.strip import strip
from tracemend.reckoning.figures import Figures
from tracemend.whole import whole_folder

__all__ = ["DEFAULT", "OUTPUTS", "check", "read_overlay", "strip", "write"]

#: Each writes its files into a folder and returns their paths; it raises OutputError or OSError.
OUTPUTS: dict[str, Callable[[Result, Path], list[Path]]] = {
    "overlay": overlay.write,
    "report": report.write,
    "merged": merged.write,
    "perfetto": perfetto.write,
}
DEFAULT = ("overlay", "report")

#: The names that an output folder may hold; one with anything else in it is never replaced.
_OURS = re.compile(
    "|".join(
        map(re.escape, (overlay.JSONL, overlay.PARQUET, overlay.HYPOTHESES, figures.NAME, report.NAME, perfetto.NAME))
    )
    + rf"|{merged.STEM}(?:\.[^/]+)?"
)


def write(
    mended: Result,
    out: Path,
    outputs: Sequence[str] = DEFAULT,
    force: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    made: Sequence[Figures] = (),
    engine: Engine = HERE,
) -> list[Path]:
    """Write the folder ``out`` with the named outputs (the overlay always) and return the paths of its files.
    ``progress`` is called with the name of each before it is written. made: figures, which get a file, too. engine:
    where outputs of a trace that was mended in pieces are written beside one another, if it has processes for that.

    The folder is written under another name beside ``out``, brought to disk and renamed. ``force`` replaces an ``out``
    that is an output folder of tracemend's with nothing else in it. Raises OptionError for an unknown output,
    WorkerError where a process that writes is killed, and OutputError: an ``out`` that exists, is, holds or lies in the
    input, a disk that is full or refuses, and what the outputs raise. Then nothing is left behind, and an ``out`` that
    was there is as it was.
    """
    trace = mended.trace
    try:
        source = trace.path or mended.provenance.get("input")
        check(None if source is None else Path(source), trace.format, out, outputs, force)
        target = out.resolve()
        with whole_folder(target, may_go=lambda: _may_go(out, target, force)) as work:
            chosen = [name for name in OUTPUTS if name == "overlay" or name in outputs]
            writing = _Writing(mended, work, made, tuple(outputs))
            paths = []
            # what is held would have to be sent, and takes no time
            if len(chosen) > 1 and isinstance(engine, Local) and not (engine.alone or isinstance(mended, Mended)):
                progress(", ".join(chosen))
                with at_work(replace(engine, jobs=min(engine.jobs, len(chosen))), writing) as crew:
                    # what takes longest first
                    tasks = {name: crew.submit(_Writing.one, name) for name in reversed(chosen)}
                    paths += [path for name in chosen for path in tasks[name].result()]
            else:
                for name in chosen:
                    progress(name)
                    pa.default_memory_pool().release_unused()  # to the system, before more is taken from it
                    paths += writing.one(name)
            if made:
                figures.write(made, work / figures.NAME)
                paths.append(work / figures.NAME)
    except OSError as e:
        raise OutputError(f"{out}: can't be written: {e.strerror or e}") from e
    return [out / path.name for path in paths]


@dataclass(frozen=True)
class _Writing:
    """What the outputs of one folder have in common."""

    mended: Result
    work: Path
    made: Sequence[Figures]
    outputs: tuple[str, ...]

    def one(self, name: str) -> list[Path]:
        """Write one output; the paths of its files."""
        if name == "report":
            return report.write(self.mended, self.work, made=self.made, outputs=self.outputs)
        return OUTPUTS[name](self.mended, self.work)


def check(source: Path | None, format: str, out: Path, outputs: Sequence[str] = DEFAULT, force: bool = False) -> None:
    """Raises OutputError for what can't be written, as far as that is known before anything was computed: an ``out``
    that exists or whose parent doesn't, one that is the input, an input that can't be merged with; OptionError for an
    unknown output.

    source: the trace's file or folder, of this format; None for one that was never read from anywhere.
    """
    for name in outputs:
        one_of("output", name, OUTPUTS)
    target = out.resolve()
    if source is not None:
        _refuse_input(source.resolve(), out, target)
    _refuse_existing(out, target, force)
    if not target.parent.is_dir():
        raise OutputError(f"{out}: there is no folder {target.parent}")
    if "merged" in outputs and source is not None:
        merged.refuse(source, format)


def _refuse_input(source: Path, out: Path, target: Path) -> None:
    if target == source or target in source.parents or source in target.parents:
        raise OutputError(f"{out}: is, holds or lies in the input {source.name}; choose another folder")


def _may_go(out: Path, target: Path, force: bool) -> bool:
    """Whether what turned up at the output's place while it was written may be replaced."""
    try:
        _refuse_existing(out, target, force)
    except OutputError:
        return False
    return True


def _refuse_existing(out: Path, target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not force:
        raise OutputError(f"{out}: exists already; --force (in Python: force=True) replaces an output folder")
    if not target.is_dir():
        raise OutputError(f"{out}: is not a folder; not replaced")
    held = sorted(p.name for p in target.iterdir())
    if not held:
        return
    try:
        overlay.read_header(target / overlay.JSONL)
    except OutputError:
        raise OutputError(f"{out}: is no output folder of tracemend's; not replaced") from None
    foreign = [name for name in held if not _OURS.fullmatch(name)]
    if foreign:
        raise OutputError(f"{out}: holds {foreign[0]}, which tracemend didn't write; not replaced")
