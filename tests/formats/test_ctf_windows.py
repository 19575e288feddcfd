"""Mending by windows alone: what is read of a CTF trace around its gaps, and what is said of it."""

from __future__ import annotations

import bisect
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import odd_pairs, rng, threads_on_cpus
from ctf_made import Int, Made, Struct, Words
from slow_fill import Timelines
from typer.testing import CliRunner

from tracemend.cli.app import command_line
from tracemend.errors import TraceError
from tracemend.formats import read, read_windows
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.menders import MostFrequent
from tracemend.menders.base import CONTEXT
from tracemend.mending.constraints import FREE, OPEN, UNSEEN
from tracemend.mending.filling import Filling
from tracemend.mending.run import mend_trace
from tracemend.outputs import strip, write
from tracemend.trace.events import Gap, Partial, Trace
from tracemend.trace.vocabulary import universal

EVENTS, PACKET = 6000, 40


def kernel(folder: Path, seed: int = 0, losses: int = 3, threads: int = 6) -> Path:
    """A made-up trace of the kernel: packets of 40 events, of which a few lost events behind their last one."""
    whole = threads_on_cpus(rng(seed), EVENTS, threads=threads)
    codes, calls = whole.names
    kinds = [f"syscall_{('entry', 'exit')[p]}_{calls[c]}" for c, p in zip(codes, whole.phase, strict=True)]
    names = sorted(set(kinds))
    context = Struct([("_tid", Int(32, True, True, 10, 8)), ("_procname", Words(17))])
    trace = Made(Struct([("_ret", Int(64, True, True, 10, 8))]), True, context, names=tuple(names))
    draws, files = rng(seed + 1), []
    for cpu, rows in whole.streams.items():
        parts = [rows[at : at + PACKET] for at in range(0, len(rows), PACKET)]
        lossy = set(draws.choice(np.arange(4, len(parts) - 4), losses, replace=False).tolist())
        packets, discarded = [], 0
        for k, part in enumerate(parts):
            lost = int(draws.integers(3, 30)) if k in lossy else 0
            kept, discarded = part[: len(part) - lost].tolist(), discarded + lost
            about: dict[str, Any] = {"ids": [], "contexts": [], "cpu": cpu, "end": int(whole.time_ns[part[-1]]) + 1}
            for row in kept:
                about["ids"].append(names.index(kinds[row]))
                about["contexts"].append({"_tid": int(whole.tid[row]), "_procname": "task"})
            events = [(int(whole.time_ns[row]), {"_ret": row}) for row in kept]
            packets.append(trace.packet(events, sequence=k, discarded=discarded, **about))
        files.append(packets)
    return trace.write(folder, files)


def rows(trace: Trace) -> list[tuple[Any, ...]]:
    columns = ("time_ns", "cpu", "tid", "name", "phase", "args", "ret")
    return list(zip(*(trace.table[c].to_pylist() for c in columns), strict=True))


def place(gap: Gap) -> tuple[Any, ...]:
    return gap.cpu, gap.begin_ns, gap.end_ns, gap.count, gap.known


def partial(trace: Trace) -> Partial:
    assert trace.partial is not None
    return trace.partial


def assert_windows(folder: Path) -> tuple[Trace, Trace]:
    """The same gaps, and of the events those that were in the spans, all of them."""
    whole, some = read(folder), read_windows(folder, CONTEXT)
    assert whole.partial is None
    assert [place(g) for g in some.gaps] == [place(g) for g in whole.gaps]
    of_whole = iter(rows(whole))
    assert all(row in of_whole for row in rows(some))  # in order
    spans = partial(some).spans
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    for trace in (whole, some):
        inside = np.zeros(len(trace), bool)
        for low, high in spans:
            inside |= (low <= trace.time_ns) & (trace.time_ns <= high)
        found = [r for r, yes in zip(rows(trace), inside.tolist(), strict=True) if yes]
        if trace is whole:
            expected = found
    assert found == expected
    return whole, some


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_gaps_and_their_surroundings_are_those_of_the_whole(tmp_path: Path, seed: int) -> None:
    whole, some = assert_windows(kernel(tmp_path / "trace", seed))
    assert partial(some).packets_read < partial(some).packets / 2
    runs = [Filling(t, MostFrequent(), universal().extended(t)) for t in (whole, some)]
    for a, b in zip(whole.gaps, some.gaps, strict=True):
        (left, right), (l2, r2) = runs[0].around.of(a, CONTEXT), runs[1].around.of(b, CONTEXT)
        for x, y in ((left, l2), (right, r2)):
            assert (x.ids == y.ids).all()
            assert (x.tids == y.tids).all()
    cuts = {cpu: set(at) for cpu, at in partial(some).cuts.items()}
    assert any(cuts.values())
    for cpu, stream in some.streams.items():  # neighbours in the whole trace are neighbours unless there is a cut
        at = np.searchsorted(whole.time_ns[whole.streams[cpu]], some.time_ns[stream])
        holes = set((np.flatnonzero(np.diff(at) > 1) + 1).tolist())
        assert holes == cuts.get(cpu, set())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_what_lies_beyond_a_window_asks_nothing_of_a_thread(tmp_path: Path, seed: int) -> None:
    """A thread's obligations are what its neighbouring events in the whole trace ask for, or none; never others."""
    whole, some = assert_windows(kernel(tmp_path / "trace", seed, threads=40))
    vocabulary = universal().extended(whole)
    known, run = (
        Timelines(whole, vocabulary.encode(whole).astype(np.int64), vocabulary),
        Filling(some, MostFrequent(), vocabulary),
    )
    tids = np.array([-1, *sorted(set(whole.tid.tolist()))])
    free = 0
    for a, b in zip(whole.gaps, some.gaps, strict=True):
        nominal = np.linspace(a.begin_ns + 1, a.end_ns - 1, 9).astype(np.int64)
        threads, _ = run.timelines.threads_of(b, tids, nominal)
        for tid, begin, end, low, high in zip(*(threads[k].tolist() for k in (0, 1, 2, 5, 6)), strict=True):
            if tid not in known.lines:
                continue
            line = known.lines[tid]
            times = [time for time, _ in line.times]
            at = bisect.bisect(times, a.begin_ns if low == OPEN else low)
            until = bisect.bisect_left(times, a.end_ns if high == OPEN else high)
            before = line.states[at - 1] if at else UNSEEN
            after = line.required[until] if until < len(times) else FREE
            assert begin in (UNSEEN, before)
            assert end in (FREE, after)
            free += (begin, end) != (before, after)
    assert free


@pytest.mark.long
def test_fills_are_consistent_within_the_windows(tmp_path: Path) -> None:
    some = read_windows(kernel(tmp_path / "trace"), CONTEXT)
    mended = mend_trace(some)
    assert mended.inferred.num_rows == some.lost > 0
    assert mended.filled == len(some.gaps)
    for low, high in partial(some).spans:
        inside = (low <= some.time_ns) & (some.time_ns <= high)
        part = Trace(some.path, some.format, some.table.filter(inside))
        times = mended.inferred["time_ns"].to_numpy()
        fill = mended.inferred.filter((low <= times) & (times <= high))
        assert odd_pairs(part, type(mended)(part, fill, (), {})) == []
    assert mended.provenance["windows"]["events_read"] == len(some)


@pytest.mark.long
def test_packets_elsewhere_are_not_decoded(tmp_path: Path) -> None:
    """Proven by damage: their events' class is one that isn't there."""
    folder = kernel(tmp_path / "trace")
    before = rows(read_windows(folder, CONTEXT))
    stream = folder / "stream_0"
    data = bytearray(stream.read_bytes())
    at = 24 + 48 + 4  # header, context, cpu
    data[at : at + 4] = b"\xff" * 4
    stream.write_bytes(data)
    with pytest.raises(TraceError, match="stream_0: byte 76: an event is damaged"):
        read(folder, strict=True)
    assert rows(read_windows(folder, CONTEXT)) == before


@pytest.mark.long
def test_a_trace_without_gaps(tmp_path: Path) -> None:
    folder = kernel(tmp_path / "trace", losses=0)
    some = read_windows(folder, CONTEXT)
    assert len(some) == 0 == partial(some).packets_read
    done = CliRunner().invoke(
        command_line(), ["mend", str(folder), "-o", str(tmp_path / "out"), "--window-only", "--model", "lookup"]
    )
    assert done.exit_code == 0, done.output
    assert "No gap to fill" in done.output


def test_a_loss_that_nothing_is_beside(tmp_path: Path) -> None:
    """A stream without events before its loss, one without any behind it, and one that has no event at all."""
    trace = Made(Struct([("n", Int(32, False, True, 10, 8))]), True)
    streams = [
        [trace.packet([], discarded=3, begin=100, end=500), trace.packet([(600, {"n": 1})], sequence=1, discarded=3)],
        [trace.packet([(90, {"n": 2}), (300, {"n": 3})], discarded=2, end=700, cpu=1)],
        [trace.packet([], discarded=9, begin=200, end=400, cpu=2)],
    ]
    whole, some = assert_windows(trace.write(tmp_path, streams))
    assert len(some) == len(whole) == 3
    assert sorted((g.cpu, g.count) for g in some.gaps) == [(0, 3), (1, 2), (2, 9)]


def test_real_recordings(lttng_recordings: dict[str, Path]) -> None:
    for name in ("discard", "overwrite"):
        _, some = assert_windows(lttng_recordings[name])
        assert some.gaps
        assert len(some)


# what is said


@pytest.mark.long
def test_the_command_says_that_only_windows_were_read(tmp_path: Path) -> None:
    folder, out = kernel(tmp_path / "trace"), tmp_path / "out"
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    words = ["mend", str(folder), "-o", str(out), "--window-only", "--model", "lookup", "--merged"]
    done = CliRunner().invoke(command_line(), words)
    assert done.exit_code == 0, done.output
    some = read_windows(folder, CONTEXT)
    said = partial(some).sentence(len(some))
    assert f"{len(some):,} events in {partial(some).packets_read} of {partial(some).packets} packets" in said
    assert said.capitalize() in done.output
    assert said.capitalize() in (out / "report.html").read_text()
    assert "survived" not in re.sub(r"(?s)<style>.*?</style>", "", (out / "report.html").read_text()).split("</p>")[0]
    header = json.loads((out / "overlay.jsonl").read_text().splitlines()[0])
    assert header["windows"] == partial(some).as_dict(len(some))
    assert read_metadata(out / "merged" / "metadata").env["tracemend_windows"] == said
    strip(out, tmp_path / "back")
    assert {f.name: f.read_bytes() for f in (tmp_path / "back").iterdir()} == before
    whole = mend_trace(read(folder))
    write(whole, tmp_path / "whole")
    assert "windows" not in json.loads((tmp_path / "whole" / "overlay.jsonl").read_text().splitlines()[0])


@pytest.mark.long
@pytest.mark.parametrize("option", ["--suspect", "--perfetto"])
def test_what_needs_the_whole_trace_is_refused(tmp_path: Path, option: str) -> None:
    folder = kernel(tmp_path / "trace", losses=1)
    done = CliRunner().invoke(
        command_line(), ["mend", str(folder), "-o", str(tmp_path / "out"), "--window-only", option]
    )
    assert done.exit_code == 2
    assert f"{option} needs the whole trace" in done.output
    assert not (tmp_path / "out").exists()


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_text("read write close ? ? read\n")
    done = CliRunner().invoke(command_line(), ["mend", str(path), "-o", str(tmp_path / "out"), "--window-only"])
    assert done.exit_code == 2
    assert "for ctf only, and this is sequence" in done.output
    with pytest.raises(TraceError, match="windows alone can be read only of ctf"):
        read_windows(path, CONTEXT)


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "time_t timestamp_begin; time_t timestamp_end;",
            "time_t other_begin; time_t other_end;",
            "can only be read whole",
        ),
        (
            'name = "syscall_exit_',
            'name = "exit_syscall"; model.emf.uri = "',
            "tells which call",
        ),
    ],
)
def test_traces_that_can_only_be_read_whole(tmp_path: Path, old: str, new: str, why: str) -> None:
    folder = kernel(tmp_path / "trace", losses=1)
    text = (folder / "metadata").read_text()
    assert old in text
    (folder / "metadata").write_text(text.replace(old, new, 1))
    with pytest.raises(TraceError, match=why):
        read_windows(folder, CONTEXT)
