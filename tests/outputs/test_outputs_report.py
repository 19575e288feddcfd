from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import KERNEL, RAW, made_up, mended
from numpy.typing import NDArray

from tracemend.api import how
from tracemend.formats import pieces, read
from tracemend.mending import shown
from tracemend.mending.mended import INFERRED
from tracemend.mending.options import Options
from tracemend.mending.pieces import Spooled, mend_pieces
from tracemend.mending.spool import read_table, write_table
from tracemend.outputs import report
from tracemend.outputs.known import known
from tracemend.outputs.report import copied
from tracemend.outputs.report.columns import packed
from tracemend.outputs.report.events import of_gaps
from tracemend.trace.events import SCHEMA, Gap
from tracemend.trace.evidence import Unplaced
from tracemend.trace.pieces import Size
from tracemend.trace.windows import Stream
from tracemend.untrusted import printable

Ints = NDArray[np.int64]

VOID = {"meta", "link", "br", "hr", "img", "input", "col"}
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Checks that tags are balanced and ids unique, and collects tags, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open
        ids = [a["id"] for _, a in self.tags if "id" in a]
        assert len(ids) == len(set(ids))
        links = [a["href"] or "" for t, a in self.tags if t == "a" and "href" in a]
        assert {link.removeprefix("#") for link in links} <= set(ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str, class_: str | None = None) -> int:
        return sum(t == tag and (class_ is None or class_ in (a.get("class") or "").split()) for t, a in self.tags)


def data_of(text: str) -> str:
    """The packed data of a page."""
    return text.split('<script type="text/plain" id="data">')[1].split("<", maxsplit=1)[0]


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, Ints]]:
    """What a page works on: all but the columns, and these."""
    return unpack(data_of(text))


def unpack(text: str) -> tuple[dict[str, Any], dict[str, Ints]]:
    """The same as the page's own ``unpack``, with all digits."""
    head, body = zlib.decompress(base64.b64decode(text)).split(b"\n", 1)
    told = json.loads(head)
    found, at = {}, 0
    for name, length, width, differences in told.pop("columns"):
        planes = np.frombuffer(body, np.uint8, length * width, at).reshape(width, length).astype(np.uint64)
        folded = sum((p << np.uint64(8 * k) for k, p in enumerate(planes)), np.zeros(length, np.uint64))
        values = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
        found[name] = np.cumsum(values) if differences else values
        at += length * width
    return told, found


def test_it_says_what_was_lost_and_that_a_fill_is_no_evidence() -> None:
    made = mended(statuses=("filled", "refused", "left", "filled"))
    page = Page(report.render(made))
    assert (
        "4,959 events were lost in 4 gaps on 2 cpus: 85.0 % of what the tracer saw. 876 events survived." in page.text
    )
    assert "A fill is no evidence." in page.text
    assert "2 filled, with 4,537 inferred events" in page.text
    assert "1 gap refused: confidence 0.31 is below 0.5" in page.text
    assert "1 gap left open: longer than the limit" in page.text
    for value in made.provenance.values():
        if isinstance(value, str):
            assert value in page.text


def test_refused_gaps_are_told_together() -> None:
    made = mended(statuses=("refused",))
    fills = tuple(replace(f, reason=f"mean confidence 0.{10 + f.gap} is below 0.5") for f in made.fills)
    assert "4 gaps refused: mean confidence is below 0.5" in Page(report.render(replace(made, fills=fills))).text


def test_how_it_was_made_is_told_in_words() -> None:
    made = mended()
    options = {
        "unknown": "estimate",
        "refuse": 0.25,
        "examples": ["a b.txt"],
        "shipped": 0,
        "arch": "aarch64",
        "hypotheses": 4,
        "adapt": 30,
        "suits": "figures",
        "more_examples": True,
        "adapted": {"jumps": 2.0, "trials": 5},
        "pieces": 3,
        "budget": {"seconds": 60.0, "gaps_after": 2},
        "later": ["what a later version says"],
    }
    provenance = made.provenance | {
        "model": "mosaic",
        "model_sha256": "",
        "input": "t.txt",
        "options": options,
        "seed": 7,
    }
    text = report.render(replace(made, provenance=provenance), outputs=["overlay", "report", "merged"])
    again = html.unescape(re.findall(r'<code class="command">(.*?)</code>', text)[0])
    assert again == (
        "tracemend mend t.txt -o OUT --seed 7 --unknown estimate --refuse 0.25 --hypotheses 4 --adapt 30 --for figures "
        "--example 'a b.txt' --more-examples --alone --arch aarch64 --budget 60 --merged --no-figures"
    )
    page = Page(text)
    for said in (
        "Copied from the parts of this trace that nothing is missing in; a b.txt",
        "Gaps without a count filled; how many events they lost is an estimate",
        "Refused fills with a mean confidence below 0.25",
        "Also drawn 4 other fills of each gap",
        "Learnt from this trace for at most 30 s: 5 trials of how readily a copy goes on elsewhere",
        "Mended in 3 pieces",
        "60 s; 2 gaps came after that and were filled by the lookup",
        'later ["what a later version says"]',
    ):
        assert said in page.text
    assert "{" not in page.text.split("How this was made")[1]


@pytest.mark.long
def test_the_programs_copied_from_are_named() -> None:
    made = mended()
    used = [{"name": name, "sha256": "0" * 64} for name in ("sort", "tar")]
    options = made.provenance["options"] | {"shipped": 5, "more_examples": True, "programs": used}
    text = Page(report.render(replace(made, provenance=made.provenance | {"options": options}))).text
    assert (
        "the recordings of sort, tar that come with tracemend, those of many more programs among them (5 events)"
        in text
    )
    assert "{" not in text.split("How this was made")[1]


def test_it_needs_nothing_else() -> None:
    text = report.render(mended())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("http-equiv", "").replace(data_of(text), ""))
    page = Page(text)
    assert {a.get("href") for t, a in page.tags if t == "link"} == {"data:,"}
    assert not any("src" in a for _, a in page.tags)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text


def test_its_script_is_the_one_the_policy_allows() -> None:
    text = report.render(mended())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text.replace("&#43;", "+")


def test_every_event_is_there_and_says_whether_it_was_inferred() -> None:
    made = mended(most=60)
    told, columns = unpacked(report.render(made))
    assert len(columns["e_time"]) == len(made.trace) + made.inferred.num_rows
    inferred = columns["e_gap"] >= 0
    times = columns["e_time"] + int(told["begin"])
    assert sorted(times[inferred].tolist()) == sorted(made.inferred["time_ns"].to_pylist())
    assert (columns["e_sure"][~inferred] == 0).all()
    names = [told["strings"]["names"][n] for n in columns["e_name"]]
    assert [n for n, i in zip(names, inferred, strict=True) if not i] == made.trace.table["name"].to_pylist()
    assert columns["g_gap"].tolist() == [g.number for g in made.trace.gaps]
    for side in ("before", "after"):
        rows = [getattr(g, side) for g in made.trace.gaps]
        there = [columns["e_time"][at] + int(told["begin"]) for at in columns[f"g_{side}"] if at >= 0]
        assert there == [made.trace.time_ns[row] for row in rows if row is not None]


def test_a_large_trace_has_its_beginning_and_what_lies_beside_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "WHOLE", 100)
    made = mended(most=60)
    told, columns = unpacked(report.render(made))
    recorded = np.flatnonzero(columns["e_gap"] < 0)
    sides = 2 * shown.NEAR * len(made.trace.gaps)
    assert 100 < len(recorded) <= 100 + sides
    assert (columns["e_time"][recorded[:100]] == made.trace.time_ns[:100] - int(told["begin"])).all()
    assert told["until"] == made.trace.time_ns[99] - int(told["begin"])
    for side in ("before", "after"):
        assert [at >= 0 for at in columns[f"g_{side}"]] == [getattr(g, side) is not None for g in made.trace.gaps]
    assert columns["density"].sum() == len(made.trace)


@pytest.mark.parametrize("whole", [1 << 20, 400])
def test_a_trace_that_is_mended_in_pieces_is_shown_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(shown, "WHOLE", whole)
    path = tmp_path / "trace.txt"
    lines = (ROOT / "recordings" / "deploy" / "lossy.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3000]))
    trace = read(path)
    folder = tmp_path / "work"
    folder.mkdir()
    way = how("lookup", Options(), alone=True)
    mended = mend_pieces(pieces(path, cuts=Size(700, 100)), way, lambda: folder)
    assert isinstance(mended, Spooled)
    told, columns = unpacked(report.render(mended))
    begin, recorded = int(told["begin"]), columns["e_gap"] < 0
    times = np.sort(columns["e_time"][recorded] + begin)
    if whole > len(trace):
        assert times.tolist() == np.sort(trace.time_ns).tolist()
        assert told["until"] is None
    else:
        assert whole < len(times) <= whole + 2 * shown.NEAR * len(trace.gaps)
        assert (times[:whole] == trace.time_ns[:whole]).all()
    assert (~recorded).sum() == mended.events
    for side in ("before", "after"):
        there = (columns["e_time"][columns[f"g_{side}"]] + begin).tolist()
        assert there == [int(trace.time_ns[getattr(g, side)]) for g in trace.gaps]


def test_it_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LARGEST", 30_000)
    made = mended(most=5000)
    text = report.render(made)
    told, columns = unpacked(text)
    assert len(data_of(text)) <= 30_000
    there = set(columns["e_gap"].tolist()) - {-1}
    sure = {f.gap: f.confidence or 0.0 for f in made.fills}
    assert there < set(sure)
    assert max((sure[g] for g in there), default=0) <= min(sure[g] for g in sure.keys() - there), "the worst ones first"
    assert len(columns["g_gap"]) == told["gaps"] == len(made.fills)


@pytest.mark.parametrize("clock", ["ns", "index"])
def test_every_string_is_escaped(clock: Literal["ns", "index"]) -> None:
    trace = read(RAW)
    for column in ("comm", "name", "args", "ret"):
        at = trace.table.column_names.index(column)
        evil = pa.array([EVIL] * len(trace), pa.string()).cast(SCHEMA.field(column).type)
        trace = replace(trace, table=trace.table.set_column(at, SCHEMA.field(column), evil))
    trace = replace(
        trace, path=Path(f"/{EVIL}"), format=EVIL, warnings=(EVIL,), clock="ns" if clock == "ns" else "index"
    )
    made = made_up(replace(trace, path=None), statuses=("filled", "refused"))
    fills = tuple(replace(f, reason=EVIL) for f in made.fills)
    provenance = dict.fromkeys(made.provenance, EVIL) | {"options": {EVIL: EVIL}}
    text = report.render(replace(made, trace=trace, fills=fills, provenance=provenance))
    assert EVIL not in text
    assert html.escape(EVIL) in text
    assert EVIL in unpacked(text)[0]["strings"]["names"], "set as text by the page"
    assert text.count("<script>") == 1
    Page(text)


def many(gaps: int, cpus: int) -> str:
    trace = read(RAW)
    made = made_up(
        trace.with_gaps(
            tuple(
                Gap(
                    i,
                    i % cpus,
                    None,
                    None,
                    int(trace.time_ns[i % 800]),
                    int(trace.time_ns[i % 800 + 70]),
                    None if i % 3 else 1,
                    "uncounted" if i % 3 else "counted",
                    i + 1,
                )
                for i in range(gaps)
            )
        ),
        statuses=("filled", "refused", "left", "filled"),
    )
    return report.render(made)


@pytest.mark.long
def test_many_gaps_are_all_there() -> None:
    text = many(3000, 100)
    told, columns = unpacked(text)
    assert len(columns["g_gap"]) == told["gaps"] == 3000
    page = Page(text)
    assert "These are the first 20 of 3,000 gaps." in page.text
    assert len(text) < 2_000_000


@pytest.mark.long
def test_a_trace_without_a_gap_is_judged() -> None:
    broken = read(RAW).with_gaps(())
    assert "Can't tell : ftrace marks nothing that a buffer in drop mode" in Page(report.render(made_up(broken))).text
    whole = replace(broken, doubts=())
    assert "Complete : no loss is marked" in Page(report.render(made_up(whole))).text
    lost = replace(whole, unplaced=(Unplaced("144 chunks were lost", 144, "chunks"),))
    assert "Lost without a place: 144 chunks were lost." in Page(report.render(made_up(lost))).text


def test_a_trace_of_marks_only(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("CPU:0 [LOST 8 EVENTS]\nCPU:0 [LOST EVENTS]\n")
    page = Page(report.render(made_up(read(tmp_path / "trace.txt"), statuses=("left",))))
    assert "An unknown number of events was lost in 1 gap on 1 cpu; the tracer counted none of them." in page.text
    assert "? uncounted left open" in page.text


def test_a_short_trace_far_from_the_clock_s_beginning(tmp_path: Path) -> None:
    """Times since 1970 within less than floating point can tell apart."""
    path = tmp_path / "short.txt"
    line = "sh-7 [000] ..... 1700000000.{:06}: sys_{}: NR 0 {}\n"
    first, second = (line.format(t, "enter", "(3)") + line.format(t + 1, "exit", "= 0") for t in (1, 40))
    path.write_text(f"{first}CPU:0 [LOST 2 EVENTS]\n{second}")
    page = Page(report.render(made_up(read(path))))
    assert "2 events were lost in 1 gap" in page.text


def test_positions_stand_in_for_times(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("openat read ? ? close\n? mmap\nread openat\n")
    page = Page(report.render(made_up(read(tmp_path / "trace.txt"))))
    assert "Position" in page.text
    assert "Begin, s" not in page.text


def test_numbers_that_only_the_reader_has() -> None:
    made = mended(statuses=("left",))
    trace = replace(made.trace, overwritten=1234, warnings=("12 malformed lines were passed over",))
    fills = tuple(replace(f, unmet=2) for f in made.fills)
    page = Page(report.render(replace(made, trace=trace, fills=fills)))
    assert "1,234 further events had been overwritten" in page.text
    assert "12 malformed lines were passed over" in page.text
    assert "8 calls that the surviving events leave open could not be closed" in page.text


def test_inferred_events_show_their_fields() -> None:
    made = made_up(read(RAW), names=KERNEL, most=20)
    told, columns = unpacked(report.render(made))
    values = told["strings"]["values"]
    shown = [
        (values[n], values[v], k / 10_000)
        for n, v, k in zip(columns["e_field"], columns["e_value"], columns["e_known"], strict=True)
    ]
    order = np.argsort(made.inferred["time_ns"].to_numpy(), kind="stable")
    fields = list(known(made.inferred))
    assert sorted(shown) == sorted(field for at in order for field in fields[at])
    assert columns["e_fields"].sum() == len(shown)
    rows = made.inferred.to_pylist()
    rows[0]["fields"] = [("comm", {"value": EVIL + "x" * 99, "confidence": 0.5})]
    text = report.render(replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema)))
    assert EVIL not in text
    assert EVIL + "x" * 14 + "…" in unpacked(text)[0]["strings"]["values"]


WHOLE = st.integers(-(2**62), 2**62)
SMALL = st.integers(-300, 300)


@given(st.lists(st.lists(SMALL, max_size=40) | st.lists(WHOLE, max_size=40), max_size=6), st.lists(st.text()))
def test_columns_are_what_was_put_in(columns: list[list[int]], strings: list[str]) -> None:
    given_ = {str(i): np.array(c, np.int64) for i, c in enumerate(columns)}
    told, found = unpack(packed(given_, {"some": strings}, {"fact": 7}))
    assert told["fact"] == 7
    assert told["strings"]["some"] == [printable(s) for s in strings]
    assert {name: c.tolist() for name, c in found.items()} == {name: c.tolist() for name, c in given_.items()}


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(SMALL, max_size=40) | st.lists(st.integers(-(2**51), 2**51), max_size=40), min_size=20))
def test_the_page_reads_the_same_columns(columns: list[list[int]]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    text = packed({str(i): np.array(c, np.int64) for i, c in enumerate(columns)}, {}, {})
    module = (Path(report.__file__).parent / "data.mjs").as_uri()
    script = (
        f'const {{unpack}} = await import("{module}"); const told = await unpack({json.dumps(text)});'
        "console.log(JSON.stringify(told.columns, (_, v) => v?.BYTES_PER_ELEMENT ? Array.from(v) : v))"
    )
    done = subprocess.run([node, "--input-type=module"], input=script, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {str(i): c for i, c in enumerate(columns)}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(3, 6), min_size=1, max_size=60), st.lists(st.integers(3, 6), min_size=1, max_size=40))
def test_runs_that_stand_in_a_recording_are_found(stream: list[int], fill: list[int]) -> None:
    """Against a search word for word."""
    ids = np.array(fill)
    found = copied.Recordings([("a stream", [Stream(np.array(stream), np.array(stream))])], [ids])

    def longest(i: int) -> int:
        text, whole = ",".join(map(str, fill[i:])), "," + ",".join(map(str, stream)) + ","
        return max(
            (n for n in range(len(fill) - i + 1) if f",{','.join(text.split(',')[:n])}," in whole or not n), default=0
        )

    expected, i = [], 0
    while i < len(fill):
        n = longest(i)
        if n >= copied.RUN:
            expected.append((i, n, 0))
        i += n if n >= copied.RUN else 1
    assert list(found.parts(ids)) == expected


def test_an_example_that_was_copied_from_is_named(tmp_path: Path) -> None:
    example = tmp_path / "good.txt"
    shutil.copy(RAW, example)
    made = made_up(read(RAW), most=5)
    gap = made.trace.gaps[0]
    rows = [i for i in range(len(made.trace)) if made.trace.cpu[i] == gap.cpu][:30]
    part = made.trace.table.take(pa.array(rows))
    inferred = pa.table(
        {
            "gap": pa.array([gap.number] * 30, pa.int32()),
            **{c: part[c] for c in ("cpu", "time_ns", "tid", "comm", "name", "phase")},
            "confidence": pa.array([0.5] * 30, pa.float32()),
            "fields": pa.array([[]] * 30, INFERRED.field("fields").type),
        }
    ).cast(INFERRED)
    fills = (replace(made.fills[0], events=30), *(replace(f, events=0) for f in made.fills[1:]))
    options = {"examples": [str(example), str(tmp_path / "gone.txt")], "arch": "x86_64", "shipped": 0}
    made = replace(made, inferred=inferred, fills=fills, provenance=made.provenance | {"options": options})
    told, columns = unpacked(report.render(made))
    assert told["strings"]["recordings"] == told["strings"]["searched"] == [str(example)]
    assert columns["c_gap"].tolist()[:1] == [gap.number]
    assert columns["c_length"].sum() + columns["c_first"][0] <= 30
    assert columns["c_length"].max() >= copied.RUN


def test_of_a_file_that_is_mapped_nothing_is_held(tmp_path: Path) -> None:
    """Some gaps' events are copies: of a large trace the tables of all pieces would stay mapped."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps here")
    inferred = mended().inferred
    path = tmp_path / "0.inferred"
    write_table(inferred, path)
    gaps = np.unique(inferred["gap"].to_numpy())[::2].astype(np.int64)
    (found,) = of_gaps(map(read_table, [path]), gaps)
    assert str(path) not in maps.read_text()
    assert found.schema == inferred.schema
    wanted = inferred.filter(pa.array(np.isin(inferred["gap"].to_numpy(), gaps)))
    assert found.to_pylist() == wanted.to_pylist()
    assert list(of_gaps([inferred], np.array([], np.int64))) == []
