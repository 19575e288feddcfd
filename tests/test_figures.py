"""Figures of traces, corrected after losses: oracles, that they add up, what is exact, and what people see."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from commands import run
from conftest import ROOT, make_trace, right, threads_on_cpus
from heads import head
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend import api
from tracemend.diffusion.gaps import lose
from tracemend.engines import Local
from tracemend.errors import ModelError, OutputError
from tracemend.formats import parquet, read
from tracemend.judging.downstream import of_trace
from tracemend.mending.mended import HYPOTHESES, INFERRED, Mended
from tracemend.mending.options import Options
from tracemend.reckoning import lasting
from tracemend.reckoning.counting import Count, Counted
from tracemend.reckoning.events import Surviving
from tracemend.reckoning.events import recorded as recorded_threads
from tracemend.reckoning.intervals import DRAWS, FEW, spread
from tracemend.reckoning.making import Reckoning
from tracemend.reckoning.reading import explained, table
from tracemend.reckoning.tally import BY, CALLS, CELLS, CPU, EVENTS, TIME, UNTIL, Asked, Tally
from tracemend.reckoning.whole import reckon
from tracemend.recording import pairs
from tracemend.trace.events import PHASES, SCHEMA, Gap, Trace
from tracemend.trace.fields import SWITCH, numbers, values
from tracemend.trace.pieces import Piece, Size, cut

ALL = Asked(BY)


def tally(trace: Trace, asked: Asked = ALL) -> Tally:
    made = Tally.of(Surviving(Piece.whole(trace)).events(), asked, trace.nested)
    made.close(int(trace.time_ns.max(initial=0)))
    return made


def by_hand(trace: Trace, by: str, width: int) -> dict[Any, list[int]]:
    """The slow way: calls, time in calls and events, event by event."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    open_call: dict[int, tuple[int, int, str]] = {}
    names, phases = trace.table["name"].to_pylist(), trace.table["phase"].to_pylist()

    def key(row: int) -> Any:
        own = (names[row], int(trace.tid[row]), int(trace.cpu[row]), int(trace.time_ns[row]) // width)
        return own[BY.index(by)]

    for row in np.argsort(trace.time_ns, kind="stable").tolist():
        found[key(row)][2] += 1
        tid = int(trace.tid[row])
        if phases[row] == "enter":
            found[key(row)][0] += 1
            open_call[tid] = row, int(trace.time_ns[row]), names[row]
        elif phases[row] == "exit":
            enter = open_call.pop(tid, None)
            if enter and enter[2] == names[row]:
                found[key(enter[0])][1] += int(trace.time_ns[row]) - enter[1]
            elif by in ("call", "thread"):
                found[key(row)][0] += 1
    return dict(found)


def columns(made: Tally, by: str, *which: int) -> dict[Any, list[int]]:
    return {k: [row[i] for i in which] for k, row in made.counts[by].items() if any(row[i] for i in which)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY))
def test_a_tally_is_what_is_counted_event_by_event(seed: int, by: str) -> None:
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 300, threads=5, cpus=3)
    broken, _ = lose(whole, rng, longest=20)
    for trace in (whole, broken):
        made = tally(trace)
        assert columns(made, by, CALLS, TIME, EVENTS) == by_hand(trace, by, made.width)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_calls_are_those_that_fills_are_judged_by(seed: int) -> None:
    rng = np.random.default_rng(seed)
    broken, _ = lose(threads_on_cpus(rng, 300), rng, longest=20)
    made, told = tally(broken), of_trace(broken)
    calls: Counter[str] = Counter()
    for (_, name), n in told.calls.items():
        calls[name] += n
    assert {k: n for k, (n,) in columns(made, "call", CALLS).items()} == calls
    assert {k: ns for k, (ns,) in columns(made, "call", TIME).items()} == told.time_ns


def kernel_trace() -> Trace:
    """The beginning of a real recording of a whole machine, complete."""
    trace = read(ROOT / "corpus" / "kernel" / "compress-0.parquet")
    return replace(trace, table=trace.table.slice(0, 3000))


def test_cpu_time_is_what_is_counted_event_by_event() -> None:
    trace = kernel_trace()
    rows, found = values(trace, SWITCH, ("next_pid",))
    following = dict(zip(rows.tolist(), numbers(found["next_pid"]).tolist(), strict=True))
    assert following
    assert recorded_threads(trace) is None
    running: dict[int, tuple[int, int]] = {}
    by_thread: Counter[int] = Counter()
    by_cpu: Counter[int] = Counter()
    for row in np.argsort(trace.time_ns, kind="stable").tolist():
        cpu, now = int(trace.cpu[row]), int(trace.time_ns[row])
        who, since = running.get(cpu, (0, now))
        if who:
            by_thread[who] += now - since
            by_cpu[cpu] += now - since
        running[cpu] = following.get(row, int(trace.tid[row])), now
    made = tally(trace)
    assert {k: ns for k, (ns,) in columns(made, "thread", CPU).items()} == +by_thread
    assert "cpu_ns" in tracemend.figures(trace, "thread", 2).names
    assert "cpu_ns" not in tracemend.figures(trace, "call", 2).names
    assert {k: ns for k, (ns,) in columns(made, "cpu", CPU).items()} == +by_cpu
    assert sum(ns for (ns,) in columns(made, "time", CPU).values()) == by_cpu.total()


def counted(trace: Trace, size: Size, asked: Asked) -> Counted:
    whole = Counted(Count(asked, 2))
    for piece in cut(trace, size):
        whole.take(whole.count(piece, None))
    whole.close(int(trace.time_ns.max(initial=0)))
    return whole


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32), events=st.sampled_from([7, 20, 33, 80]), span=st.booleans())
def test_any_cut_gives_the_same_tally(seed: int, events: int, span: bool) -> None:
    rng = np.random.default_rng(seed)
    trace, _ = lose(threads_on_cpus(rng, 150, threads=5, cpus=3), rng, longest=20)
    times = np.sort(rng.choice(trace.time_ns, 2)).tolist()
    asked = Asked(BY, (times[0], times[1]) if span else None)
    whole, cut_up = counted(trace, Size(10**6), asked), counted(trace, Size(events, 20), asked)
    assert cut_up.observed == whole.observed
    assert cut_up.fills[1].counts["call"] == whole.observed.counts["call"]
    assert cut_up.comms == whole.comms


def drawn_right(whole: Trace, lossy: Trace, lost: list[Any], draws: int = 2) -> Mended:
    """A mended trace of which all draws are what was lost."""
    mended = right(whole, lossy, lost)
    bare = mended.inferred.drop_columns("confidence")
    tables = [bare.add_column(1, "hypothesis", pa.array([h] * len(bare), pa.int32())) for h in range(draws)]
    table = pa.concat_tables(tables).cast(HYPOTHESES)
    return replace(mended, hypotheses=table, provenance={"options": {"hypotheses": draws}, "seed": 0})


def reckoning(mended: Mended, asked: Asked = ALL, draws: int = 2) -> Reckoning:
    made = Counted(Count(asked, draws))
    made.take(made.count(Piece.whole(mended.trace), mended))
    made.close(mended.outline.end_ns)
    return Reckoning(made, mended)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY), span=st.booleans())
def test_right_draws_give_the_figures_of_what_happened(seed: int, by: str, span: bool) -> None:
    """And what no gap touches is exact: there what survived is all that happened."""
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 300, threads=5, cpus=3)
    lossy, lost = lose(whole, rng, longest=20)
    times = np.sort(rng.choice(whole.time_ns, 2)).tolist()
    asked = Asked(("call", by), (times[0], times[1]) if span else None)
    with mock.patch.object(lasting, "PLAUSIBLE", 1e-300):  # made-up times are no call's
        made = reckoning(drawn_right(whole, lossy, lost), asked).figures(by, 7)
    truth = reckoning(Mended(whole, INFERRED.empty_table(), (), {}), asked)
    real = truth.figures(by, 7)
    assert all(real.table["exact"].to_pylist())

    def rows(figures: tracemend.Figures, column: str) -> dict[Any, Any]:
        found = pa.concat_tables([figures.table, figures.total]).to_pylist()
        return {(r["figure"], r["key"], r["tid"], r["begin_ns"]): r[column] for r in found if r["estimate"]}

    assert rows(made, "estimate") == rows(real, "observed")
    for row in made.table.to_pylist():
        if row["exact"]:
            assert row["low"] == row["observed"] == row["estimate"] == row["high"]
        assert row["figure"] == "time_ns" or row["observed"] <= row["low"] <= row["estimate"] <= row["high"]


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1 << 32), by=st.sampled_from(["call", "thread"]), phase=st.sampled_from(["enter", "instant"])
)
def test_a_call_needs_two_of_the_lost_events(seed: int, by: str, phase: str) -> None:
    """However wrong draws are: here they say that each lost event was a call, or none was. The losses are made up."""
    whole = read(ROOT / "corpus" / "ls-du-2.parquet")
    begin = seed % (len(whole) - 2000)
    whole = replace(whole, table=whole.table.slice(begin, 2000))
    lossy, lost = lose(whole, np.random.default_rng(seed), longest=100)
    mended = drawn_right(whole, lossy, lost)
    assert mended.hypotheses is not None
    entered = pa.array([phase] * len(mended.hypotheses)).dictionary_encode().cast(HYPOTHESES.field("phase").type)
    at = HYPOTHESES.get_field_index("phase")
    wrong = mended.hypotheses.set_column(at, HYPOTHESES.field("phase"), entered)
    made = reckoning(replace(mended, hypotheses=wrong)).figures(by)
    truth = reckoning(Mended(whole, INFERRED.empty_table(), (), {})).figures(by)
    (real,) = (row["observed"] for row in truth.total.to_pylist() if row["figure"] == "calls")
    total = {row["figure"]: row for row in made.total.to_pylist()}
    events, calls = total["events"], total["calls"]
    assert events["low"] == events["high"] == len(whole)
    assert len(whole) / 2 <= calls["low"] <= calls["estimate"] <= calls["high"]
    assert (calls["low"] <= real) if phase == "instant" else (real <= calls["high"])
    assert calls["high"] < calls["observed"] + 0.6 * (len(whole) - len(lossy)) + 20


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a real lossy recording."""
    return head("shell", 1800, tmp_path_factory.mktemp("heads") / "shell") / "lossy.txt"


@pytest.mark.long
def test_an_intact_span_is_exact(shell: Path) -> None:
    trace = read(shell)
    # the longest time between all gaps
    edges = sorted({*(g.begin_ns for g in trace.gaps), *(g.end_ns for g in trace.gaps)})
    begin, end = max(
        (
            (a + 1, b - 1)
            for a, b in pairwise([int(trace.time_ns[0]), *edges, int(trace.time_ns[-1])])
            if not any(g.begin_ns < b and g.end_ns > a for g in trace.gaps)
        ),
        key=lambda span: span[1] - span[0],
    )
    intact = tracemend.figures(trace, "thread", 2, span=(begin, end))
    for name in ("events", "calls", "errors"):
        rows = intact.of(name).to_pylist()
        assert all(row["exact"] and row["low"] == row["high"] == row["observed"] for row in rows)
    inside = (trace.time_ns >= begin) & (trace.time_ns <= end)
    assert sum(intact.of("events")["observed"].to_pylist()) == inside.sum() > 100
    whole = tracemend.figures(trace, "thread", 2)
    assert not any(whole.table["exact"].to_pylist())


@pytest.mark.long
def test_draws_agree_with_the_tracer_s_counts(shell: Path) -> None:
    """How many events there were on each cpu the tracer counted: no range is needed."""
    trace = read(shell)
    made = tracemend.figures(shell, "cpu", 3)
    rows = {row["cpu"]: row for row in made.of("events").to_pylist()}
    for cpu, kept in trace.streams.items():
        lost = sum(gap.count or 0 for gap in trace.gaps if gap.cpu == cpu)
        row = rows[cpu]
        assert (row["observed"], row["low"], row["estimate"], row["high"]) == (len(kept), *[len(kept) + lost] * 3)
    assert repr(made) == "<Figures by cpu: calls, time_ns, errors, events of 2, from 3 draws>"
    assert made.to_pandas().shape == (made.table.num_rows, len(made.table.column_names))
    for by in ("call", "thread"):
        every = tracemend.figures(shell, by, 2).table
        few = every.filter(pc.is_in(every["figure"], pa.array(["calls", "events", "errors"])))
        assert pc.all(pc.less_equal(few["high"], pc.add(few["observed"], trace.lost))).as_py()


@pytest.mark.long
@pytest.mark.parametrize("machine", [False, True])
def test_draws_that_are_only_counted_count_as_those_that_are_shown(shell: Path, machine: bool) -> None:
    """Of them less is found: no arguments, no confidence. Fewer hypotheses take no draws from the figures."""
    recorded = ROOT / "corpus" / "kernel" / "pairs" / "sort-3-kernel_overwrite.parquet"
    trace = pairs.read(recorded).lossy if machine else read(shell)
    said = []
    for options in (Options(), Options(hypotheses=1), Options(hypotheses=2)):
        mended, count = replace(api.how(options=options), count=Count(ALL, 2)).counted(Piece.whole(trace))
        kept = [] if mended.hypotheses is None else pc.unique(mended.hypotheses["hypothesis"]).to_pylist()
        assert kept == list(range(options.hypotheses))
        assert {fill.agreement is None for fill in mended.fills} == {not kept}
        said.append(count)
    assert said[0] == said[1] == said[2]
    assert said[0] is not None
    assert json.loads(said[0].to_pybytes())["fills"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY), share=st.floats(0, 1))
def test_what_is_not_believed_of_durations_is_the_same_in_two_parts(seed: int, by: str, share: float) -> None:
    """Made-up times, of which many are too long for their calls."""
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 200, threads=4, cpus=2)
    lossy, lost = lose(whole, rng, longest=20)
    events = Surviving(Piece.whole(lossy)).events(right(whole, lossy, lost).inferred, set())
    asked, at = Asked((by,)), round(share * len(events))
    apart = [name for name, value in vars(events).items() if isinstance(value, np.ndarray)]
    parts = [replace(events, **{k: getattr(events, k)[own] for k in apart}) for own in (slice(at), slice(at, None))]
    joined, made = Tally(asked, {by: {}}), Tally.of(events, asked)
    for part in parts:
        joined.take(Tally.of(part, asked))
    for tally in (joined, made):
        tally.coarsen(max(joined.width, made.width))
        tally.close(int(whole.time_ns[-1]))
    assert {k: v for k, v in joined.counts[by].items() if any(v[:UNTIL])} == {
        k: v for k, v in made.counts[by].items() if any(v[:UNTIL])
    }


@pytest.mark.parametrize(("late_ns", "unknown"), [(1000, 0), (3600 * 10**9, 1)])
def test_a_call_with_an_inferred_side_that_lasts_too_long_counts_as_a_usual_one(late_ns: int, unknown: int) -> None:
    """Made up: a thread reads for a microsecond each time; the last exit is lost, and was so late in all draws."""
    times = [2000 * k + 1000 * phase for k in range(500) for phase in (0, 1)]
    rows = [(t, 0, 7, "read", k % 2) for k, t in enumerate(times)]
    begin = rows[-2][0]
    end = begin + late_ns + 5
    whole = make_trace(
        [*rows[:-1], (begin + late_ns, 0, 7, "read", 1), (end, 0, 7, "write", 0), (end + 1, 0, 7, "write", 1)]
    )
    at = len(rows) - 1
    kept = np.delete(np.arange(len(whole)), at)
    gap = Gap(0, 0, at - 1, at, begin, end, 1, "counted", 1)
    lossy = replace(whole, table=whole.table.take(pa.array(kept)), gaps=(gap,))
    made = reckoning(drawn_right(whole, lossy, [np.array([at])])).figures("call")
    (row,) = (r for r in made.of("time_ns").to_pylist() if r["key"] == "read")
    assert row["unknown"] == unknown
    assert row["estimate"] - row["observed"] == row["inferred"]
    assert 500 < row["inferred"] < 2000
    assert any("unknown" in sentence for sentence in explained(made)) == bool(unknown)
    assert made.as_dict()["total"][1]["unknown"] == unknown


def test_what_nobody_counted_has_no_upper_end(shell: Path) -> None:
    trace = read(shell)
    trace = trace.with_gaps(tuple(replace(g, count=None, known="uncounted") for g in trace.gaps))
    made = tracemend.figures(trace, "call", 2)
    assert set(made.table["high"].to_pylist()) == {None}
    assert made.table["estimate"].to_pylist() == made.table["observed"].to_pylist()
    assert len(made.notes) == 1
    assert "no figure" in made.notes[0]
    for name in ("calls", "errors", "time_ns"):
        rows = table(made, name, 3).rows
        assert {tuple(row[-3::2]) for row in rows if row[-1]} == {("unknown", "unknown")}
        assert all(row[-2].endswith(" or more") for row in rows if row[-1])
    assert any(said.startswith("Or more: ") for said in explained(made))


@pytest.mark.long
def test_tables_hold_what_was_there_and_cpus_in_their_order(shell: Path) -> None:
    made = tracemend.figures(shell, "call", 2)
    few = table(made, "errors", 2)
    there = [row for row in made.of("errors").to_pylist() if row["estimate"]]
    assert few.rows[2][0] == f"{len(there) - 2} more"
    cpus = tracemend.figures(shell, "cpu", 2)
    keys = cpus.of("events")["cpu"].to_pylist()
    assert keys == sorted(keys) == [int(row[0]) for row in table(cpus, "events", 9).rows[:-1]]
    assert table(cpus, "events", 1).rows[0][0] == str(
        max(cpus.of("events").to_pylist(), key=lambda r: r["estimate"])["cpu"]
    )


@pytest.mark.long
def test_a_figure_of_one_s_own(shell: Path) -> None:
    trace = read(shell)
    calls = tracemend.over_fills(trace, lambda t: of_trace(t).calls.total(), 3)
    assert calls.observed == of_trace(trace).calls.total()
    assert len(calls.values) == 3
    assert calls.observed < calls.low <= calls.estimate <= calls.high
    assert calls.estimate == pytest.approx(
        next(r["estimate"] for r in tracemend.figures(trace, "call", 3).total.to_pylist())
    )

    def by_name(t: tracemend.Trace) -> dict[str, int]:
        if "inferred" in t.table.column_names:
            assert sum(t.table["inferred"].to_pylist()) == trace.lost == t.provenance["inferred"]
            recorded = t.table.filter(pc.invert(t.table["inferred"])).select(SCHEMA.names)
            assert recorded.to_pylist() == trace.table.to_pylist()
            with pytest.raises(OutputError, match="inferred"):
                parquet.write(t, shell.parent / "no recording")
        return dict(Counter(t.table["name"].to_pylist()))

    assert calls.unknown <= calls.observed
    named = tracemend.over_fills(trace, by_name, 2)
    assert all(named.low[k] <= named.estimate[k] <= named.high[k] for k in named.observed)
    assert sum(named.values[0].values()) == len(trace) + trace.lost
    with pytest.raises(ModelError, match="number"):
        tracemend.over_fills(trace, lambda t: "many", 2)


@pytest.mark.long
def test_what_people_see(shell: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.parquet"
    done = run("figures", shell, "--draws", "2", "--top", "3", "-o", file)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[4].split() == ["call", "observed", "about", "range", "lost"]
    assert max(map(len, lines[2:])) <= 120
    written = pq.read_table(file)
    assert set(written["by"].to_pylist()) == {"call", "total"}
    assert json.loads(written.schema.metadata[b"tracemend"])["draws"] == 2
    again = run("figures", shell, "-o", file)
    assert (again.returncode, "--force" in again.stderr) == (1, True)
    document = json.loads(run("figures", shell, "--draws", "2", "--json", "--by", "thread").stdout)
    assert document["lost"]
    assert {row["figure"] for row in document["figures"]} == {"calls", "time_ns", "errors", "events"}


def test_mend_says_what_changed(shell: Path, tmp_path: Path) -> None:
    done = run("mend", shell, "-o", tmp_path / "out")
    told = r"^`\w+`: [\d,]+ observed, about [\d,]+ \([\d,]+ to [\d,]+\) happened"
    assert re.search(told, done.stdout, re.MULTILINE)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("overlay.jsonl", "overlay.parquet", "report.html", "figures.parquet")
    }
    report = (tmp_path / "out" / "report.html").read_text()
    assert "observed, about" in report
    assert "<caption>Calls by thread</caption>" in report
    assert f"By {FEW} fills of every gap" in done.stdout
    assert f"takes {DRAWS}, and longer" in done.stdout
    there = run("figures", tmp_path / "out", "--json")
    assert "lie in it" in there.stderr
    held = pq.read_table(tmp_path / "out" / "figures.parquet").to_pylist()
    rows = [r for r in held if r["by"] == "call"]
    assert [r["estimate"] for r in json.loads(there.stdout)["figures"]] == [r["estimate"] for r in rows]
    again = run("figures", tmp_path / "out", "--by", "cpu", "--json")
    assert "What follows is about" in again.stderr
    assert json.loads(again.stdout)["draws"] == DRAWS
    assert run("mend", shell, "-o", tmp_path / "out", "--force", "--no-figures").returncode == 0
    assert not (tmp_path / "out" / "figures.parquet").exists()


@pytest.mark.long
def test_what_a_refused_gap_lost_counts_in_figures_all_the_same(shell: Path, tmp_path: Path) -> None:
    """What isn't sure event by event can be in its counts."""
    said = {}
    for name, more in (("all", ()), ("sure", ("--refuse", "0.5", "--hypotheses", "2")), ("none", ("--refuse", "1"))):
        done = run("mend", shell, "-o", tmp_path / name, "--json", *more)
        assert done.returncode == 0
        said[name] = json.loads(done.stdout)
    trace = read(shell)
    for name, document in said.items():
        refused = [g for g in document["gaps"] if g["status"] == "refused"]
        assert bool(refused) == (name != "all")
        assert [g["drawn"] for g in refused] == [g["count"] for g in refused]
        assert document["events"] == sum(g["count"] for g in document["gaps"]) - sum(g["count"] for g in refused)
        by_call = document["figures"][0]
        (events,) = [r for r in by_call["total"] if r["figure"] == "events"]
        assert events["estimate"] == len(trace) + trace.lost
        assert all(r["high"] is not None for r in by_call["figures"])
        assert any("refused" in note for note in by_call["notes"]) == (name != "all")
        assert not any("stay open" in note for note in by_call["notes"])
    open_gaps = {g["gap"] for g in said["sure"]["gaps"] if g["status"] == "refused"}
    assert not open_gaps & set(pq.read_table(tmp_path / "sure" / "hypotheses.parquet")["gap"].to_pylist())
    assert not open_gaps & set(pq.read_table(tmp_path / "sure" / "overlay.parquet")["gap"].to_pylist())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--by", "foo"], 1, "one of call, thread, process, cpu, time"),
        (["--by", "process"], 1, "ask by thread"),
        (["--span", "1"], 2, "FROM..TO"),
        (["--span", "nan..2"], 2, "FROM..TO"),
        (["--span", "..1e99999999"], 2, "FROM..TO"),
        (["--span", "2..1"], 1, "ends before it begins"),
        (["--span", "1..2"], 1, "it goes from "),
        (["-o", "/nowhere/x.parquet"], 1, "no folder"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(shell: Path, arguments: list[str], code: int, said: str) -> None:
    done = run("figures", shell, *arguments)
    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("# tracer: nop\n#\n", "exact"),
        ("openat\nread\nread\nclose\n", "whether that is all nobody can tell"),
        ('1 1.000000 read(3, "", 8) = -1 EIO (Input/output error) <0.5>\n1 2.000000 close(3) = 0 <0.1>\n', "exact"),
        (
            "# tracer: nop\n#\n x-5 [000] d..1 1.000000: sys_read(fd: 3)\n x-5 [000] d..1 2.000000: sys_read(fd: 3)\n",
            "",
        ),
    ],
    ids=["empty", "without phases", "strace", "enters alone"],
)
def test_other_traces(tmp_path: Path, text: str, seen: str) -> None:
    """Made-up ones."""
    path = tmp_path / "trace"
    path.write_text(text)
    for by in BY:
        done = run("figures", path, "--by", by)
        assert done.returncode == 0
        assert seen in done.stdout


@pytest.mark.long
def test_a_gap_where_nothing_can_be_copied_beside_one_where_much_can() -> None:
    trace = read(ROOT / "tests" / "data" / "ftrace_pipe.txt")
    made = tracemend.figures(trace, "cpu", 2)
    assert sum(made.of("events")["estimate"].to_pylist()) == len(trace) + trace.lost


def in_pieces(shell: Path, jobs: int) -> tracemend.Figures:
    """With pieces that have no gap."""
    with TemporaryDirectory() as folder:
        way = replace(api.how(), engine=Local(jobs))
        return reckon(cut(read(shell), Size(600, 100)), way, Count(ALL, 2), lambda: Path(folder)).figures("cpu")


@pytest.mark.long
def test_pieces_have_the_figures_of_all_of_them(shell: Path) -> None:
    trace = read(shell)
    assert sum(in_pieces(shell, 1).of("events")["estimate"].to_pylist()) == len(trace) + trace.lost


@pytest.mark.long
def test_it_doesn_t_matter_who_counts(shell: Path) -> None:
    assert in_pieces(shell, 2).table.equals(in_pieces(shell, 1).table)


@pytest.mark.parametrize("draws", [8, 16, 40])
def test_nine_of_ten_further_draws_lie_in_the_range(draws: int) -> None:
    """However few there are; of a normal distribution."""
    numbers = np.random.default_rng(0).normal(100, 10, (draws + 1, 4000))
    low, high = spread(numbers[:draws])
    assert ((numbers[draws] >= low) & (numbers[draws] <= high)).mean() == pytest.approx(0.9, abs=0.04)


def test_calls_within_calls_are_made_by_their_enters() -> None:
    """As functions are: an exit isn't that of the enter before. Made up."""
    rows = [(1, 0, 5, "outer", 0), (2, 0, 5, "inner", 0), (4, 0, 5, "inner", 1), (9, 0, 5, "outer", 1)]
    trace = replace(make_trace(rows), nested=True)
    made = tracemend.figures(trace, "call", 2)
    assert {row["key"]: row["observed"] for row in made.of("calls").to_pylist()} == {"outer": 1, "inner": 1}
    assert made.names == ["calls", "events"]


def test_times_far_apart_take_no_memory() -> None:
    """Made up: a billion years between two pieces."""
    trace = make_trace([(1, 0, 5, "read", 0), (2, 0, 5, "read", 1), (1 << 61, 0, 5, "read", 0)])
    made = counted(trace, Size(2), ALL).observed
    assert len(made.counts["time"]) <= CELLS
    assert sum(row[CPU] for row in made.counts["time"].values()) == (1 << 61) - 1


def in_calls(trace: Trace, by: str, span: tuple[int, int]) -> dict[Any, int]:
    """The slow way: the part of each call that lies in a span, both ends included; by time in one slice."""
    found: dict[Any, int] = defaultdict(int)
    begun: dict[int, tuple[int, str, int]] = {}
    names, phases = trace.table["name"].to_pylist(), trace.table["phase"].to_pylist()
    for row in np.argsort(trace.time_ns, kind="stable").tolist():
        tid, now = int(trace.tid[row]), int(trace.time_ns[row])
        if phases[row] == "enter":
            begun[tid] = now, names[row], int(trace.cpu[row])
        elif phases[row] == "exit" and tid in begun:
            since, name, cpu = begun.pop(tid)
            part = max(0, min(now, span[1] + 1) - max(since, span[0]))
            if name == names[row] and part:
                found[{"call": name, "thread": tid, "cpu": cpu, "time": 0}[by]] += part
    return dict(found)


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), by=st.sampled_from(BY), events=st.sampled_from([9, 40, 10**6]))
def test_times_in_calls_are_cut_at_the_edges_of_a_span(seed: int, by: str, events: int) -> None:
    """However the trace is cut into pieces."""
    rng = np.random.default_rng(seed)
    trace, _ = lose(threads_on_cpus(rng, 200, threads=5, cpus=3), rng, longest=20)
    begin, end = np.sort(rng.integers(trace.time_ns.min() - 5, trace.time_ns.max() + 5, 2)).tolist()
    made = counted(trace, Size(events, 20), Asked(BY, (begin, end))).observed
    found = {k: ns for k, (ns,) in columns(made, by, TIME).items()}
    if by == "time":
        found = {0: sum(found.values())} if found else {}
    assert found == in_calls(trace, by, (begin, end))


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 32), span=st.booleans())
def test_no_more_time_than_there_is(seed: int, span: bool) -> None:
    """However wrong draws are: a thread is in one call at a time. Losses and times are made up."""
    rng = np.random.default_rng(seed)
    whole = threads_on_cpus(rng, 300, threads=5, cpus=3)
    lossy, lost = lose(whole, rng, longest=40)
    times = np.sort(rng.choice(whole.time_ns, 2)).tolist()
    first, last = times if span else (int(whole.time_ns.min()), int(whole.time_ns.max()))
    asked = Asked(BY, (first, last) if span else None)
    made = reckoning(drawn_right(whole, lossy, lost), asked)
    for by, most in (("thread", 1), ("call", 5), ("cpu", 5), ("time", 5)):
        figures = made.figures(by)
        for row in [*figures.of("time_ns").to_pylist(), *figures.total.to_pylist()]:
            if row["figure"] == "time_ns" and row["high"] is not None:
                assert row["estimate"] <= row["high"] <= (last - first + 1) * (5 if row["by"] == "total" else most)


@pytest.mark.long
@pytest.mark.parametrize("path", sorted((ROOT / "recordings").glob("*/lossy.txt")), ids=lambda path: path.parent.name)
def test_all_is_the_same_whatever_figures_are_by(path: Path) -> None:
    """What survived, what there was by the draws, and the ranges; of cpu time where it is told."""
    trace = read(path)
    mended, _ = api.how(options=Options(hypotheses=2)).counted(Piece.whole(trace))
    made = reckoning(mended)
    told: dict[str, dict[str, Any]] = {}
    for by in BY:
        for row in made.figures(by).total.to_pylist():
            assert told.setdefault(row["figure"], row) == row
    calls = told["calls"]
    enters, exits = (int((trace.phase == PHASES.index(side)).sum()) for side in ("enter", "exit"))
    assert max(enters, exits) <= calls["observed"] <= calls["low"] <= calls["estimate"] <= calls["high"]


@pytest.mark.long
def test_a_report_is_named_after_the_trace_also_where_only_the_marked_copy_is_left(shell: Path, tmp_path: Path) -> None:
    trace = tmp_path / "boot.txt"
    trace.write_bytes(shell.read_bytes())
    assert run("mend", trace, "-o", tmp_path / "out", "--merged", "--no-figures").returncode == 0
    trace.unlink()
    assert run("report", tmp_path / "out", "-o", tmp_path / "page.html").returncode == 0
    assert "<title>What boot.txt lost</title>" in (tmp_path / "page.html").read_text()
