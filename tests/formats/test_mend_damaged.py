"""Damaged input that can still be read can be mended and written, too: whole or in pieces, or an error says why not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest
from conftest import mostly_long
from printed import SEEDS as PRINTED
from test_ctf import damage, made

from tracemend.api import how
from tracemend.errors import OutputError, TracemendError
from tracemend.formats import chosen, pieces, read, text
from tracemend.formats.ctf import reader
from tracemend.mending.mended import Result
from tracemend.mending.options import Options
from tracemend.mending.pieces import mend_pieces
from tracemend.outputs import check, strip, write
from tracemend.trace.pieces import Size
from tracemend.whole import work_folder

DATA = Path(__file__).parents[1] / "data"
#: Recordings by their formats; what is printed by other programs is made up (printed.py), as CTF of random types is.
FILES = {
    "ftrace": ("ftrace_pipe.txt", "ftrace_syscalls.txt.xz", "trace_cmd_report.txt"),
    "perf": ("perf_lost.txt.xz", "perf_callchain.txt"),
    "strace": ("strace_ttt.txt", "strace_mixed.txt", "strace_comm.txt.xz"),
    "babeltrace": ("babeltrace1_lost.txt", "babeltrace2_lost.txt"),
    "bpf": ("bpftrace_lost.jsonl", "bpftrace_lost.txt", "opensnoop_lost.txt"),
    "perf-trace": ("perf_trace_lost.txt",),
    "perf.data": ("perf_lost.data.xz",),
    "perfetto": ("perfetto_lossy.pftrace.xz", "perfetto_packed.pftrace"),
    "trace.dat": ("trace_cmd.dat.xz",),
}
FORMATS = sorted({*FILES, *PRINTED, "ctf", "sequence"})
#: Put between the lines of a text: losses of all sorts, where there are too few.
LOSSES = [
    b"CPU:0 [LOST 3 EVENTS]\n",
    b"CPU:1 [LOST EVENTS]\n",
    b"CPU:0 [LOST 2500 EVENTS]\n",
    b"CPU:31999 [LOST 7 EVENTS]\n",
    b"  x 17 [000] 12.000001: PERF_RECORD_LOST lost 5\n",
    b"?\n",
    b"...\n",
]


@cache
def seeds(format: str) -> list[bytes]:
    found = [seed.encode() for seed in PRINTED.get(format, ())]
    for name in FILES.get(format, ()):
        with text.open_binary(DATA / name) as f:
            data = f.read()
        lines = data.splitlines(keepends=True)
        found.append(data if b"\0" in data else b"".join(lines[:300]))
    if format == "sequence":
        found.append(b"openat read read ? ? close\n")
        found.append(b"openat:enter\nopenat:exit\n...\n~read\n7\n-1\n" * 9)
    return found


def lay_down(format: str, rng: Random, path: Path) -> None:
    """Write a damaged trace."""
    if format == "ctf":
        trace, events, contexts = made(rng.randrange(1000))
        half = len(events) // 2
        packets = [trace.packet(events[:half], contexts=contexts[:half])] if half else []
        packets.append(
            trace.packet(events[half:], sequence=len(packets), contexts=contexts[half:], discarded=rng.randrange(9))
        )
        trace.write(path, [packets])
        hurt = rng.choice(sorted(path.iterdir()))
        hurt.write_bytes(damage(rng, hurt.read_bytes()))
        return
    data = rng.choice(seeds(format))
    if b"\0" not in data:
        lines = data.splitlines(keepends=True)
        for _ in range(rng.randrange(4)):
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(LOSSES))
        data = b"".join(lines)
    path.write_bytes(damage(rng, data) if rng.random() < 0.9 else data)


def attempt(format: str, seed: int, folder: Path) -> Result | None:
    """Mend it in one of many ways and write all there is; None where an error says why not."""
    why: TracemendError | None
    rng = Random(f"{format} {seed}")
    path, out = folder / "trace", folder / "out"
    lay_down(format, rng, path)
    options = Options(seed, rng.choice(["leave", "estimate"]), rng.choice([0, 0, 0.5]), 0, 0)
    model = rng.choice(["lookup", "mosaic"])
    if model == "mosaic":
        options = replace(options, hypotheses=rng.choice([0, 0, 2]))
    examples = [read(DATA / "strace_z.txt.xz")] if rng.random() < 0.3 else []
    way = replace(how(model, options, examples=examples, alone=True), suspect=rng.random() < 0.4)
    outputs = ["overlay", "report", "perfetto", "merged"]
    cuts = rng.choice([Size(), Size(40, 10), Size(7, 0), Size(150, 400)])
    try:
        found = chosen(path, rng.choice([None, format])).name
        try:
            check(path, found, out, outputs)
        except OutputError:
            outputs.remove("merged")
        with work_folder(folder / "work", {}) as work:
            mended = mend_pieces(pieces(path, found, cuts=cuts), way, work)
            paths = write(mended, out, outputs)
            assert mended.events == sum(map(len, mended.tables()))
        if "merged" in outputs:
            strip(out, folder / "back")
    except TracemendError as e:
        why = e
    else:
        why = None
    assert not (folder / "work").exists()
    if why is not None:
        assert "\n" not in str(why)
        return None
    assert all(p.exists() for p in paths)
    assert [f.gap for f in mended.fills] == list(range(len(mended.trace.gaps)))
    return mended


def many(format: str, numbers: range, folder: Path) -> int:
    """How many could be mended."""
    mended = 0
    for seed in numbers:
        own = folder / str(seed)
        own.mkdir()
        mended += attempt(format, seed, own) is not None
        shutil.rmtree(own)
    return mended


@pytest.mark.parametrize("format", mostly_long(FORMATS, 4))
def test_damaged_traces_are_mended(format: str, tmp_path: Path) -> None:
    assert many(format, range(3), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("format", FORMATS)
def test_many_damaged_traces_are_mended(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as if it were large: by compiled loops."""
    for name, value in {"CHUNK": 0, "MUCH": 0, "LARGE": 1 << 20}.items():
        monkeypatch.setattr(text, name, value)
    monkeypatch.setattr(reader, "LARGE", 0)
    many(format, range(10, 70), tmp_path)
