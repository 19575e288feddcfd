"""tracemend in Python and in a notebook: what functions take and refuse, how things look, what comes of them."""

from __future__ import annotations

import doctest
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, make_trace, rng, threads_on_cpus
from heads import head
from hypothesis import given, settings
from hypothesis import strategies as st

import tracemend
from tracemend.diffusion.gaps import lose
from tracemend.mending.mended import INFERRED, Fill
from tracemend.reckoning.fills import OverFills
from tracemend.reckoning.reading import table
from tracemend.trace.events import Gap, Trace
from tracemend.trace.notebook import COLOURS, KINDS, LANES, timeline

SMALL = ROOT / "tests" / "data" / "ftrace_pipe.txt"


@dataclass(frozen=True)
class Real:
    """The beginning of a really lossy recording, and what the library makes of it."""

    folder: Path
    mended: tracemend.Mended

    @property
    def lossy(self) -> Path:
        return self.folder / "lossy.txt"

    @property
    def complete(self) -> Path:
        return self.folder / "complete.txt.xz"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    folder = head("deploy", 2700, tmp_path_factory.mktemp("real") / "deploy")
    return Real(folder, tracemend.mend(folder / "lossy.txt", hypotheses=3, alone=True))


def shown(real: Real) -> dict[str, Any]:
    """An object of every kind that the public functions give."""
    trace = real.mended.trace
    windows = np.arange(60).reshape(3, 20) % 5
    imputer = tracemend.Imputer("lookup")
    found = tracemend.scan(trace)
    return {
        "Trace": trace,
        "Gap": trace.gaps[0],
        "Scan": found,
        "Verdict": found.verdict,
        "Losses": found.losses,
        "Advices": tracemend.advise(trace),
        "Advice": tracemend.advise(trace)[0],
        "Mended": real.mended,
        "Fill": real.mended.fills[0],
        "Options": tracemend.Options(),
        "Figures": real.mended.figures(),
        "OverFills": OverFills({"a": 1}, [{"a": 1}] * 500, {"a": 1.5}, {"a": 1.0}, {"a": 2.0}, 0),
        "Evaluation": tracemend.evaluate(real.mended, real.complete),
        "Imputer": imputer,
        "Proposal": tracemend.Proposal(np.zeros((40, 3), int), np.zeros((40, 3), "f"), np.zeros((40, 2), "f")),
        "Restored": tracemend.Restored(windows, np.ones(windows.shape, np.float32)),
        "Restorer": tracemend.load(),
    }


def test_everything_public_is_one_short_line(real: Real) -> None:
    held = shown(real)
    for name, thing in held.items():
        assert type(thing).__name__ == name
        assert "\n" not in repr(thing), name
        assert len(repr(thing).replace(str(real.lossy), "")) < 300, name
    kinds = {n for n in tracemend.__all__ if isinstance(getattr(tracemend, n), type)}
    assert {n for n in kinds if not n.endswith("Error")} - {"Mender"} == held.keys()


def test_figures_are_printed_as_tables(real: Real) -> None:
    figures = real.mended.figures("thread")
    head, *tables = str(figures).split("\n\n")
    assert head == repr(figures)
    made = table(figures, "calls", 12)
    title, columns, *lines = tables[0].splitlines()
    assert title == made.title
    assert columns.split() == list(made.columns)
    assert len(lines) == len(made.rows) <= 14
    assert len({len(line) for line in (columns, *lines)}) == 1  # numbers end below one another
    for line, row in zip(lines, made.rows, strict=True):
        assert [cell for cell in re.split("  +", line.strip()) if cell] == [cell for cell in row if cell]
    evil = replace(made, rows=[["\x1b[31m\u202e\n", *row[1:]] for row in made.rows])
    assert not re.search(r"[\x1b\u202e]", str(evil))
    assert str(evil).count("\n") == len(made.rows) + 1


def test_advice_tells_what_was_missing(real: Real) -> None:
    found = tracemend.advise(real.lossy)
    missing = math.ceil(sum(a.missing_bytes for a in found) / 1024)
    assert f"{missing:,} KiB missing" in repr(found)


def parsed(html: str) -> ElementTree.Element:
    """What is shown, which must be well formed."""
    return ElementTree.fromstring(html.replace("&nbsp;", " "))


def words(html: str) -> str:
    return " ".join(parsed(html).itertext())


def test_what_a_notebook_shows_stands_for_itself(real: Real) -> None:
    for name, thing in shown(real).items():
        if not hasattr(thing, "_repr_html_"):
            continue
        html = thing._repr_html_()
        assert len(html) < 20_000, name
        assert parsed(html).tag == "div"
        assert not re.search(r"<script|javascript:|https?:|url\(|@import| on\w+=", html), name
    assert "Inferred events are no evidence." in words(real.mended._repr_html_())
    assert "672" in words(real.mended.trace._repr_html_())


def test_hostile_texts_of_a_trace_are_shown_as_they_are(real: Real) -> None:
    """Made up: a path and a reason that would act if they weren't escaped."""
    evil = "</td><script>alert(1)</script>\x1b[31m\u202e&<img src=x onerror=y>\n"
    trace = replace(real.mended.trace, path=Path(evil), format=evil)
    fills = tuple(replace(f, status="refused", reason=evil) for f in real.mended.fills)
    for thing in (trace, tracemend.scan(trace), replace(real.mended, trace=trace, fills=fills)):
        html = thing._repr_html_()
        assert not re.search(r"<script|<img|\x1b|\u202e", html)
        assert "<script>alert(1)</script>" in words(html)
        assert not re.search(r"[\n\x1b\u202e]", repr(thing))


def drawn(html: str) -> ElementTree.Element:
    svg = next(e for e in parsed(html).iter() if e.tag == "svg")
    assert svg.attrib["role"] == "img"
    return svg


def test_a_timeline_tells_what_became_of_gaps_by_shape_and_colour(real: Real) -> None:
    trace, fills = real.mended.trace, list(real.mended.fills)
    looks = {}
    for status in ("filled", "refused", "left"):
        mended = replace(real.mended, fills=(replace(fills[0], status=status), *fills[1:]))
        paths = [e.attrib for e in drawn(mended._repr_html_()).iter("path")]
        own = [p for p in paths if COLOURS[status] in (p.get("fill"), p.get("stroke"))]
        looks[status] = len(own), own[0].get("fill"), own[0].get("stroke-dasharray")
        assert KINDS[status] in words(mended._repr_html_())
    assert len({(*look[:1], look[1] == "none") for look in looks.values()}) == 3
    suspected = trace.with_gaps((replace(trace.gaps[0], known="suspected", count=None),))
    assert "stroke-dasharray" in suspected._repr_html_()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 40), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 62)), max_size=40
    ),
    st.tuples(st.integers(-(1 << 62), 1 << 62), st.integers(0, 1 << 62)),
)
def test_a_timeline_takes_any_gaps(where: list[tuple[int, int, int]], span: tuple[int, int]) -> None:
    gaps = [Gap(i, c, None, None, b, b + n, None, "uncounted", 0) for i, (c, b, n) in enumerate(where)]
    html = timeline(gaps, ["lost"] * len(gaps), [0], (span[0], sum(span)), None, "end")
    assert "nan" not in html
    assert "inf" not in html
    ElementTree.fromstring(f"<div>{html.replace('&nbsp;', ' ')}</div>")


def test_what_is_shown_of_a_huge_trace_is_small() -> None:
    """Made up: 50,000 gaps on 100 cpus."""
    events = make_trace([(t, t % 100, 1, "read", 0) for t in range(1000)])
    begins = rng(0).integers(0, 1000, 50_000).tolist()
    gaps = tuple(Gap(i, i % 100, None, None, b, b, None, "uncounted", 0) for i, b in enumerate(begins))
    html = events.with_gaps(gaps)._repr_html_()
    assert len(html) < 150_000
    assert f"and {100 - LANES} more cpus" in words(html)
    assert "and 49,990 more" in words(html)


def test_a_trace_with_nothing_in_it_can_be_shown() -> None:
    """Made up."""
    empty = make_trace([])
    for thing in (empty, tracemend.scan(empty), tracemend.mend(empty, alone=True), tracemend.advise(empty)):
        parsed(thing._repr_html_())
        assert "\n" not in repr(thing)


# What functions take -----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_trace_or_its_path_is_the_same(real: Real) -> None:
    trace = real.mended.trace
    for one in (str(real.lossy), real.lossy):
        assert tracemend.scan(one).as_dict() == tracemend.scan(trace).as_dict()
        assert tracemend.advise(one) == tracemend.advise(trace)
    assert tracemend.mend(str(real.lossy), alone=True).inferred == tracemend.mend(trace, alone=True).inferred
    whole = tracemend.read(real.complete)
    assert len({str(tracemend.evaluate(real.mended, c).rows) for c in (str(real.complete), whole)}) == 1


@pytest.mark.parametrize(
    "function",
    [
        *(tracemend.scan, tracemend.advise, tracemend.mend, tracemend.figures),
        *(lambda it: tracemend.evaluate(it, SMALL), lambda it: tracemend.over_fills(it, len)),
    ],
)
@pytest.mark.parametrize("wrong", [None, 3, b"trace", ["a"]])
def test_what_is_neither_a_trace_nor_a_path_is_told(function: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"takes a trace .* or the path of one, not {type(wrong).__name__}$"):
        function(wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"refuse": 3}, "refuse must be a number from 0 to 1, not 3"),
        ({"refuse": "much"}, "refuse must be a number from 0 to 1, not 'much'"),
        ({"refuse": float("nan")}, "refuse must be a number from 0 to 1, not nan"),
        ({"unknown": "foo"}, "unknown must be 'leave' or 'estimate', not 'foo'"),
        ({"suits": "x"}, "suits must be 'positions' or 'figures', not 'x'"),
        ({"seed": -1}, "seed must be a whole number from 0, not -1"),
        ({"seed": 0.5}, "seed must be a whole number from 0, not 0.5"),
        ({"hypotheses": -2}, "hypotheses must be a whole number from 0, not -2"),
        ({"adapt": float("inf")}, "adapt must be a number from 0, not inf"),
        ({"only": 3}, "only must be a set of gaps' numbers or None, not 3"),
        ({"model": "x"}, "unknown model 'x'; it must be one of mosaic, lookup, mixture, default, or a folder"),
        ({"model": 3}, "the model must be one of mosaic, lookup, mixture, default, .*, or a mender, not 3"),
    ],
)
def test_values_that_mend_cannot_take(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tracemend.mend(SMALL, **wrong)


def test_examples_are_traces_or_their_paths_too(real: Real) -> None:
    whole = tracemend.read(real.complete)
    fills = [
        tracemend.mend(real.lossy, "lookup", examples=given, alone=True).inferred
        for given in ([whole], real.complete, [str(real.complete)], whole)
    ]
    assert all(fill == fills[0] for fill in fills)


def test_options_and_gaps_that_there_are_not(real: Real) -> None:
    with pytest.raises(TypeError, match="no option 'for_'; one of seed, unknown, refuse"):
        tracemend.mend(SMALL, for_="figures")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="there is no gap 9; there are 4"):
        tracemend.mend(real.lossy, only=frozenset({1, 9}), alone=True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: tracemend.figures(SMALL, draws=0), "draws must be a whole number from 2, not 0"),
        (lambda: tracemend.over_fills(SMALL, len, draws=1), "draws must be a whole number from 2, not 1"),
        (lambda: tracemend.figures(SMALL, "colour"), "'colour'; one of call, thread, process, cpu, time"),
        (lambda: tracemend.figures(SMALL, span=(1, 2.5)), r"a span is two whole numbers.*not \(1, 2.5\)"),  # type: ignore[arg-type]
        (lambda: tracemend.figures(SMALL, span=(2, 1)), "the span ends before it begins"),
        (lambda: tracemend.read(SMALL, "etw"), "unknown format 'etw'; one of parquet"),
        (lambda: tracemend.read(SMALL, arch="z80"), "unknown architecture 'z80'; one of "),
        (lambda: tracemend.read(SMALL, jobs=-1), "jobs must be a whole number from 1, not -1"),
        (lambda: tracemend.evaluate(SMALL, SMALL, jobs=0), "jobs must be a whole number from 1, not 0"),
        (lambda: tracemend.evaluate(SMALL, SMALL, "x"), "unknown model 'x'"),
        (lambda: tracemend.evaluate(SMALL, SMALL, "mixture"), "evaluate doesn't try the mixture"),
    ],
)
def test_values_that_others_cannot_take(wrong: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        wrong()


def test_what_is_missing_is_told(real: Real) -> None:
    with pytest.raises(TypeError, match="complete recording is missing"):
        tracemend.evaluate(real.mended)
    with pytest.raises(TypeError, match="takes the folder that was written"):
        tracemend.strip(real.mended, "out")  # type: ignore[arg-type]


# What comes of a mend ----------------------------------------------------------------------------------------------


def test_a_gap_is_seen_between_its_neighbours(real: Real) -> None:
    mended = real.mended
    for gap, fill in zip(mended.trace.gaps, mended.fills, strict=True):
        table = mended.around(gap.number, 2)
        assert table["inferred"].to_pylist() == [False] * 2 + [True] * fill.events + [False] * 2
        assert [c is None for c in table["confidence"].to_pylist()] == [not i for i in table["inferred"].to_pylist()]
        assert set(table["cpu"].to_pylist()) == {gap.cpu}
        times = table["time_ns"].to_numpy()
        assert (np.diff(times) >= 0).all()
        assert (times[1], times[-2]) == (gap.begin_ns, gap.end_ns)
    with pytest.raises(ValueError, match="there is no gap 99; there are 4"):
        mended.around(99)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 9))
def test_around_any_gap_are_as_many_as_there_are(seed: int, events: int) -> None:
    """Made up."""
    lossy, _ = lose(threads_on_cpus(rng(seed), 120), rng(seed), longest=30)
    fills = tuple(Fill(g.number, "left", 0, None) for g in lossy.gaps)
    mended = tracemend.Mended(lossy, INFERRED.empty_table(), fills, {})
    for gap in lossy.gaps:
        table = mended.around(gap.number, events)
        beside = sum(min(events, n) for n in _beside(lossy, gap))
        assert table.num_rows == beside


def _beside(trace: Trace, gap: Gap) -> tuple[int, int]:
    rows = trace.streams.get(gap.cpu, np.empty(0, np.int64)).tolist()
    before = rows.index(gap.before) + 1 if gap.before is not None else 0
    return before, len(rows) - before


def test_what_was_mended_is_written_whole_and_never_over_other_files(real: Real, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = real.mended.write(str(out), outputs=["merged"])
    names = ["overlay.jsonl", "overlay.parquet", "hypotheses.parquet", "merged.txt", "figures.parquet"]
    assert [p.name for p in paths] == names
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in paths)
    tracemend.strip(str(out), str(tmp_path / "again.txt"))
    assert (tmp_path / "again.txt").read_bytes() == real.lossy.read_bytes()
    header, table = tracemend.read_overlay(out)
    assert (header["seed"], table.num_rows) == (0, real.mended.events)
    with pytest.raises(tracemend.OutputError, match="exists already"):
        real.mended.write(out)
    real.mended.write(out, "report", force=True)
    assert (out / "report.html").exists()
    assert not (out / "merged.txt").exists()
    (out / "mine.txt").write_text("x")
    with pytest.raises(tracemend.OutputError, match=r"mine\.txt, which tracemend didn't write"):
        real.mended.write(out, force=True)
    with pytest.raises(ValueError, match="unknown output 'pdf'; one of overlay, report, merged, perfetto"):
        real.mended.write(tmp_path / "other", ["pdf"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.txt", "out"]


def test_figures_of_what_was_mended_are_those_of_the_trace(real: Real) -> None:
    for by in ("call", "cpu"):
        ours = tracemend.figures(real.mended, by)
        other = tracemend.figures(real.lossy, by, 3, alone=True)
        assert ours.table == other.table
        assert ours.total == other.total
        assert ours.about == other.about
    with pytest.raises(ValueError, match=r"figures need draws of the fills: mend\(trace, hypotheses=16\)"):
        replace(real.mended, provenance={"options": {}}).figures()


def test_figures_of_a_folder_are_those_that_lie_in_it(real: Real, tmp_path: Path) -> None:
    from tracemend.outputs import write

    made = [real.mended.figures("call"), real.mended.figures("thread")]
    out = tmp_path / "out"
    write(real.mended, out, ("overlay",), made=made)
    for one in made:
        read = tracemend.figures(str(out), one.by)
        assert repr(read) == repr(one)
        assert read.as_dict() == one.as_dict()
    with pytest.raises(tracemend.OutputError, match="holds figures by call, thread, not by cpu"):
        tracemend.figures(out, "cpu")
    with pytest.raises(ValueError, match="of the whole trace"):
        tracemend.figures(out, span=(0, 1))
    path = out / "figures.parquet"
    whole = pq.read_table(path)
    for column, value in (("tid", None), ("figure", "thoughts"), ("observed", None), ("key", None)):
        schema = whole.schema
        at = schema.get_field_index(column)
        wrong = whole.set_column(at, column, pa.array([value] * len(whole), schema.field(at).type))
        pq.write_table(wrong.replace_schema_metadata(schema.metadata), path)
        with pytest.raises(tracemend.OutputError, match="can't be read as figures"):
            tracemend.figures(out, "thread")
    pq.write_table(whole, path)
    pq.write_table(pq.read_table(path).replace_schema_metadata(), path)
    with pytest.raises(tracemend.OutputError, match="can't be read as figures"):
        tracemend.figures(out)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(tracemend.OutputError, match="can't be read as figures"):
        tracemend.figures(out)
    path.unlink()
    with pytest.raises(tracemend.OutputError, match="holds no figures"):
        tracemend.figures(out)


def test_an_evaluation_of_what_was_mended_judges_that_alone(real: Real) -> None:
    found = tracemend.evaluate(real.mended, real.complete)
    assert {row["mender"] for row in found.rows} == {"mosaic"}
    right = found.answer().right
    assert f"{right:,} right ({100 * right / 672:.1f} %) by mosaic" in repr(found)
    assert f"{right:,} of 672 lost events" in words(found._repr_html_())
    assert (found.gaps, found.lost) == (4, 672)
    assert {"left open", "scaled", "mosaic", "mosaic, draws"} == found.figures.keys()
    assert found.to_pandas()["accuracy"].between(0, 1).all()
    assert "mosaic" in words(found._repr_html_())


# The examples ------------------------------------------------------------------------------------------------------


def examples() -> list[doctest.DocTest]:
    """Of every public function, and of the methods of what they give."""
    finder = doctest.DocTestFinder(recurse=True)
    public = [getattr(tracemend, name) for name in tracemend.__all__]
    found = {t.name: t for thing in public for t in finder.find(thing) if t.examples}
    return [found[name] for name in sorted(found)]


def test_every_public_function_has_an_example() -> None:
    named = {t.name.split(".")[0] for t in examples()}
    functions = {n for n in tracemend.__all__ if not isinstance(getattr(tracemend, n), type)}
    assert functions | {"Imputer"} <= named
    for name in functions:
        assert "Raises" in (getattr(tracemend, name).__doc__ or ""), name


@pytest.fixture(scope="module")
def mend_once() -> Callable[..., Any]:
    """Examples that mend the same in the same way share it."""
    return cache(tracemend.mend)


@pytest.mark.parametrize("example", examples(), ids=lambda t: t.name)
def test_examples_are_true(
    example: doctest.DocTest, mend_once: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    public = {name: getattr(tracemend, name) for name in tracemend.__all__}
    example.globs = {**public, "mend": mend_once, "folder": tmp_path, "Path": Path}
    told: list[str] = []
    doctest.DocTestRunner().run(example, out=told.append)
    assert not told, "".join(told)
