from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from made_up import KERNEL, RAW, made_up, mended

from tracemend.formats import read
from tracemend.outputs import report
from tracemend.outputs.known import known
from tracemend.trace.events import SCHEMA, Gap
from tracemend.trace.evidence import Unplaced

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


def test_it_says_what_was_lost_and_that_a_fill_is_no_evidence() -> None:
    made = mended(statuses=("filled", "refused", "left", "filled"))
    page = Page(report.render(made))
    assert "4,959 events were lost in 4 gaps on 2 cpus: 85 % of what the tracer saw. 876 events survived." in page.text
    assert "A fill is no evidence." in page.text
    assert "2 filled, with 4,537 inferred events" in page.text
    assert "1 gap refused: confidence 0.31 is below 0.5" in page.text
    assert "1 gap left open: longer than the limit" in page.text
    for value in made.provenance.values():
        if isinstance(value, str):
            assert value in page.text


def test_it_needs_nothing_else() -> None:
    text = report.render(mended())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("http-equiv", ""))
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


def test_inferred_events_are_plain_to_see() -> None:
    made = mended(most=60)
    page = Page(report.render(made))
    shown = sum(min(f.events, report.MOST_EVENTS) for f in made.fills)
    assert page.count("tr", "inferred") == page.count("span", "badge") == page.count("span", "bar") == shown
    assert page.count("tr", "recorded") == sum(
        report.AROUND * ((g.before is not None) + (g.after is not None)) for g in made.trace.gaps
    )
    assert page.text.count("20 more inferred events not shown") == 4


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


def test_many_gaps_stay_readable() -> None:
    text = many(3000, 100)
    page = Page(text)
    assert "2,500 more gaps not shown here" in page.text
    assert "2,950 more gaps not shown event by event" in page.text
    assert "36 more cpus not drawn" in page.text
    assert page.count("details") == report.MOST_DETAILS
    assert page.count("tr") < 4000
    assert len(text) < 2_000_000


def test_a_lane_has_so_many_marks_at_the_most() -> None:
    page = Page(many(3000, 2))
    assert page.count("rect", "mark") <= 2 * report.COLUMNS + 20
    assert page.count("path", "crowd") >= 3


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
    assert "nothing recorded before this gap" in page.text


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
    page = Page(report.render(made))
    for fields in known(made.inferred):
        for name, value, sure in fields:
            assert f"{name}={value} {sure:.2f}" in page.text
    rows = made.inferred.to_pylist()
    rows[0]["fields"] = [("comm", {"value": EVIL + "x" * 99, "confidence": 0.5})]
    text = report.render(replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema)))
    assert EVIL not in text
    assert html.escape(EVIL) + "x" * 14 + "…" in text
