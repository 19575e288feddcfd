"""Traces laid out as LTTng's kernel tracer does it, made from recordings: read as these are, and as babeltrace2 reads
them."""

from __future__ import annotations

import lzma
from dataclasses import replace

import numpy as np
import pytest
from babeltrace import judged
from conftest import ROOT
from lttng_kernel_made import LAYOUT, write
from test_ctf import assert_as_judged

from tracemend.formats import read
from tracemend.judging.kernel import FIELDS
from tracemend.judging.transitions import impossible
from tracemend.judging.views import of_trace
from tracemend.reckoning.events import recorded
from tracemend.recording.pairs import read as read_pair
from tracemend.trace.events import Trace
from tracemend.trace.fields import kernel_name, values

DATA = ROOT / "tests" / "data"
#: Events of the whole machine that are enough here.
MOST = 4000


@pytest.fixture(scope="module", params=["whole", "lossy"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Trace]:
    """A recording, and the trace that is read from the CTF made from it."""
    folder = tmp_path_factory.mktemp("made")
    if request.param == "whole":
        (folder / "whole.txt").write_bytes(lzma.decompress((DATA / "kernel_whole.txt.xz").read_bytes()))
        whole = read(folder / "whole.txt")
        recording = replace(whole, table=whole.table.slice(0, MOST))
    else:
        recording = read_pair(DATA / "kernel_pair.parquet").told().lossy
    return recording, read(write(recording, folder / "ctf"))


def test_the_reader_tells_what_was_recorded(both: tuple[Trace, Trace]) -> None:
    recording, made = both
    assert (made.tracer, len(made)) == ("lttng", len(recording))
    assert [(g.cpu, g.count) for g in made.gaps] == [(g.cpu, g.count) for g in recording.gaps]
    for cpu, rows in recording.streams.items():
        own = made.streams[cpu]
        for name in ("time_ns", "tid", "phase"):
            assert (getattr(made, name)[own] == getattr(recording, name)[rows]).all(), name
        names = [[t.names[1][c] for c in t.names[0][r]] for t, r in ((made, own), (recording, rows))]
        assert names[0] == [LAYOUT[n][0] if n in LAYOUT else n for n in names[1]]
        assert (made.table["comm"].take(own).to_pylist()) == recording.table["comm"].take(rows).to_pylist()


def test_fields_have_the_kernels_names_and_values(both: tuple[Trace, Trace]) -> None:
    recording, made = both
    twin = np.empty(len(recording), np.int64)
    for cpu, rows in recording.streams.items():
        twin[rows] = made.streams[cpu]
    for name in set(recording.names[1]) & FIELDS.keys():
        rows, texts = values(recording, name, FIELDS[name])
        found, others = values(made, name, FIELDS[name])
        order = np.argsort(twin[rows])
        assert twin[rows[order]].tolist() == found.tolist()
        for field, text in texts.items():
            assert text.take(order).to_pylist() == others[field].to_pylist(), (name, field)
    calls = [n for n in ("read", "openat") if n in recording.names[1]]
    assert calls
    for name in calls:
        rows, texts = values(recording, name, ["ret"])
        found, others = values(made, name, ["ret"])
        assert texts["ret"].take(np.argsort(twin[rows])).to_pylist() == others["ret"].to_pylist()


def test_views_are_those_of_the_recording(both: tuple[Trace, Trace]) -> None:
    views = []
    for trace in both:
        views.append(of_trace(trace, inside=recorded(trace)))
        assert not any(len(f.at) for f in impossible(views[-1]))
    first, second = views
    assert len(first.switches) == len(second.switches) > 0
    for cpu in np.unique(first.cpu).tolist():
        for name in ("prev", "next", "state"):
            sides = [getattr(v, name)[v.cpu[v.switches] == cpu].tolist() for v in views]
            assert sides[0] == sides[1]
        sides = [v.woken[v.cpu[v.wakeups] == cpu].tolist() for v in views]
        assert sides[0] == sides[1]
        assert all((a == b).all() for a, b in zip(*(v.running[cpu] for v in views), strict=True))


def test_babeltrace_reads_the_same(both: tuple[Trace, Trace]) -> None:
    _, made = both
    assert made.path is not None
    ((events, lost, error),) = judged(made.path)
    assert error == ""
    assert_as_judged(made, events, lost)
    assert {kernel_name(e["name"]) for e in events} >= {"sched_switch", "sched_wakeup"}
