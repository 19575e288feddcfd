"""The report in headless Chromium, as somebody reads it: what is drawn, found, chosen and linked to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import ROOT
from made_up import RAW, made_up, mended

from tracemend.formats import read
from tracemend.mending.mended import Mended
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.outputs import report
from tracemend.outputs.report.judged import judged
from tracemend.recording import align
from tracemend.trace.events import SCHEMA

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVIL = "<img src=x onerror=alert(1)>"
#: What is shown, as the page says it once it is drawn.
SEEN = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
  done(document.getElementById("span").textContent);
})))"""


@pytest.fixture(scope="module")
def deploy() -> Mended:
    """A recording with 31 gaps, mended, and two other fills of each."""
    return mend_trace(read(ROOT / "recordings" / "deploy" / "lossy.txt"), options=Options(hypotheses=2))


@pytest.fixture(scope="module")
def path(deploy: Mended, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = report.write(deploy, tmp_path_factory.mktemp("report"))
    return path


def at(page: Page, path: Path, place: str = "") -> Page:
    page.goto(path.as_uri() + place)
    page.wait_for_selector("html[data-drawn]")
    return page


def until(page: Page, holds: str) -> None:
    """Wait for what comes with the next frames; the page's policy lets playwright's own waiting not run."""
    for _ in range(100):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {holds}")


def colours(page: Page) -> set[str]:
    """Those that are drawn on the lanes, in full strength."""
    page.evaluate(SEEN)
    found = page.evaluate(
        """() => {
        const canvas = document.getElementById("lanes");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) found.add(data.slice(i, i + 3).join());
        return [...found];
    }"""
    )
    return set(found)


def test_timeline_list_and_detail_are_there(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    assert page.locator("#found").inner_text() == "31 gaps"
    assert page.locator("#labels .cpu").count() == 2
    assert page.locator("#rows table").get_attribute("aria-rowcount") == "32"
    assert "Timeline of 2 cpus with 31 gaps" in (page.locator("#lanes").get_attribute("aria-label") or "")
    page.locator("#body a", has_text="0").last.click()
    number = int(page.evaluate("location.hash").removeprefix("#gap-"))
    assert page.locator("#events tr.inferred").count() == deploy.fills[number].events
    assert page.locator("#events tr.recorded").count() == 10
    assert page.locator("#events .badge").count() == deploy.fills[number].events
    assert {"39,106,167", "179,74,0"} <= colours(page), "recorded and inferred are drawn"


@pytest.mark.long
def test_a_link_leads_to_its_gap(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path, "#gap-7")
    assert "Gap 7" in page.locator("#which").inner_text()
    assert page.locator("#rows tr.chosen a").inner_text() == "7"
    gap = deploy.trace.gaps[7]
    assert f"from {(gap.begin_ns) / 1e9:.6f}" in page.locator("#about").inner_text()
    page.evaluate("location.hash = '#gap-30'")
    until(page, "document.getElementById('which').textContent.includes('Gap 30')")
    page.evaluate("location.hash = '#gap-99999'")
    assert "Gap 30" in page.locator("#which").inner_text(), "no such gap: nothing happens"


@pytest.mark.long
def test_keys_move_through_the_gaps_and_in_time(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    whole = page.evaluate(SEEN)
    worst = sorted(deploy.fills, key=lambda f: -f.events * (1 - (f.confidence or 0)))
    assert f"Gap {worst[0].gap}" in page.locator("#which").inner_text()
    page.keyboard.press("n")
    page.keyboard.press("j")
    assert f"Gap {worst[2].gap}" in page.locator("#which").inner_text()
    assert page.evaluate("location.hash") == f"#gap-{worst[2].gap}"
    page.keyboard.press("p")
    assert f"Gap {worst[1].gap}" in page.locator("#which").inner_text()
    near = page.evaluate(SEEN)
    assert near != whole
    for key in "wads":
        page.keyboard.press(key)
        seen = page.evaluate(SEEN)
        assert seen != near, key
        near = seen
    page.keyboard.press("0")
    until(page, f"document.getElementById('span').textContent === {whole!r}")
    page.keyboard.press("/")
    page.keyboard.type("n")
    assert page.locator("#search").input_value() == "n", "what is typed is no command"


@pytest.mark.long
def test_the_wheel_zooms_and_a_drag_moves(page: Page, path: Path) -> None:
    at(page, path)
    whole = page.evaluate(SEEN)
    page.locator("#lanes").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    until(page, f"document.getElementById('span').textContent !== {whole!r}")
    zoomed = page.evaluate(SEEN)
    page.mouse.down()
    page.mouse.move(300, page.locator("#lanes").bounding_box()["y"] + 10)  # type: ignore[index]
    page.mouse.up()
    until(page, f"document.getElementById('span').textContent !== {zoomed!r}")


@pytest.mark.long
def test_a_click_on_a_gap_chooses_it(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path, "#gap-3")
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.keyboard.press("s")
    begin, end = (float(t) * 1e9 for t in re.findall(r"([\d.]+) s\b", page.evaluate(SEEN))[-2:])
    gap = deploy.trace.gaps[2]
    assert gap.cpu == deploy.trace.gaps[3].cpu
    box = page.locator("#lanes").bounding_box()
    label = page.locator(f"#labels [data-cpu='{gap.cpu}']").bounding_box()
    assert box is not None
    assert label is not None
    place = (gap.begin_ns + gap.end_ns) / 2 - begin
    x, y = box["x"] + box["width"] * place / (end - begin), label["y"] + 4
    page.mouse.move(x, y)
    assert "Gap 2: 420 events lost" in page.locator("#tip").inner_text()
    page.mouse.click(x, y)
    until(page, "location.hash === '#gap-2'")


def test_the_list_sorts_and_filters(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    assert page.locator("#columns th[aria-sort='descending']").inner_text().startswith("Likely not right")
    page.locator("#columns button", has_text="Confidence").click()
    least = min(deploy.fills, key=lambda f: f.confidence or 0.0)
    assert page.locator("#body tr td.of-gap").first.inner_text() == str(least.gap)
    assert page.locator("#columns th[aria-sort='ascending']").inner_text().startswith("Confidence")
    page.locator("#columns button", has_text="Confidence").click()
    assert page.locator("#columns th[aria-sort='descending']").inner_text().startswith("Confidence")
    page.locator("#cpu").select_option("1")
    own = sum(g.cpu == 1 for g in deploy.trace.gaps)
    assert page.locator("#found").inner_text() == f"{own} of 31 gaps"
    page.locator("#cpu").select_option("")
    page.locator("#search").fill("newfstatat")
    holding = set(
        deploy.inferred.filter(pc.equal(deploy.inferred["name"].cast(pa.string()), "newfstatat"))["gap"].to_pylist()
    )
    assert int(page.locator("#found").inner_text().split()[0]) >= len(holding)
    page.locator("#search").fill("gap 12")
    assert page.locator("#body td.of-gap").all_inner_texts() == ["12"]
    page.locator("#search").fill("no such call")
    assert page.locator("#found").inner_text() == "0 of 31 gaps"
    page.locator("#rows .none button").click()
    assert page.locator("#found").inner_text() == "31 gaps"
    assert page.locator("#search").input_value() == ""
    page.keyboard.press("Tab")
    page.locator("#search").fill("")
    page.locator("#least").fill("400")
    many = sum((g.count or 0) >= 400 for g in deploy.trace.gaps)
    assert page.locator("#found").inner_text() == f"{many} of 31 gaps"


@pytest.mark.long
def test_other_fills_stand_side_by_side(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    page.keyboard.press("n")
    page.evaluate("location.hash = '#gap-0'")
    page.locator(".tabs button", has_text="2 other fills").click()
    assert page.locator("#events th").all_inner_texts()[1:] == ["The fill", "Other 1", "Other 2"]
    assert page.locator("#events tbody tr").count() == deploy.fills[0].events


def test_each_event_is_set_against_the_truth(page: Page, deploy: Mended, tmp_path: Path) -> None:
    pair = align(deploy.trace, read(ROOT / "recordings" / "deploy" / "complete.txt.xz"))
    path = tmp_path / "report.html"
    path.write_text(report.render(deploy, pair=pair))
    at(page, path, "#gap-7")
    kinds = [
        list(zip(t["name"].to_pylist(), t["phase"].to_pylist(), strict=True))
        for t in (
            deploy.inferred.filter(pc.equal(deploy.inferred["gap"], 7)),
            pair.complete.table.take(pa.array(pair.missing[7])),
        )
    ]
    right = sum(one == other for one, other in zip(*kinds, strict=True))
    happened = (Counter(kinds[0]) & Counter(kinds[1])).total()
    wrong = len(kinds[0]) - happened
    of = f"Of 1,008 events really lost {right} right, {happened - right} shifted, {wrong} missing"
    assert f"{of}; of 1,008 inferred events {wrong} were not there." in page.locator("#about").inner_text()
    found = judged(deploy, pair).totals
    assert found["right"] + found["shifted"] + found["missing"] == pair.lost
    assert found["right"] + found["shifted"] + found["absent"] == deploy.events
    header = page.locator("header").inner_text()
    assert all(
        f"{found[name]:,}\n{name}" in header or f"{found[name]:,} {name}" in header for name in ("right", "missing")
    )
    assert page.locator("#rows tr.chosen .of-right").inner_text() == str(right)
    assert page.locator("#rows tr.chosen .of-missing").inner_text() == str(wrong)
    page.locator(".tabs button", has_text="Against the truth").click()
    while (more := page.locator("#events .note button")).count():
        more.click()
    assert page.locator("#events td:nth-child(2).j0").count() == right
    assert page.locator("#events td:nth-child(3).j2").count() == wrong


@pytest.mark.long
def test_parts_of_a_fill_are_seen_elsewhere(page: Page, path: Path) -> None:
    at(page, path, "#gap-7")
    page.locator(".tabs button", has_text="Seen elsewhere").click()
    parts = page.locator(".places tbody td:first-child").all_inner_texts()
    bounds = [(int(n[0]), int(n[-1])) for n in (p.replace(",", "").split("–") for p in parts)]
    assert bounds[0][0] == 1
    assert bounds[-1][1] == 1008
    assert all(after == end + 1 for (_, end), (after, _) in pairwise(bounds)), "every event is in one part"
    link = page.locator(".places .link").first
    seconds = link.inner_text()
    link.click()
    begin, end = (float(t) for t in re.findall(r"([\d.]+) s\b", page.evaluate(SEEN))[-2:])
    assert begin <= float(seconds) <= end


@pytest.mark.long
def test_a_recording_that_has_the_same_is_named(page: Page, deploy: Mended, tmp_path: Path) -> None:
    example = str(ROOT / "recordings" / "deploy" / "complete.txt.xz")
    options = deploy.provenance["options"] | {"examples": [example]}
    (path,) = report.write(replace(deploy, provenance=deploy.provenance | {"options": options}), tmp_path)
    at(page, path, "#gap-7")
    page.locator(".tabs button", has_text="Seen elsewhere").click()
    assert page.locator(".places td", has_text=f"in {example}").count() > 0
    parts = page.locator(".places tbody td:first-child").all_inner_texts()
    bounds = [(int(n[0]), int(n[-1])) for n in (p.replace(",", "").split("–") for p in parts)]
    assert [begin for begin, _ in bounds] == [1, *(end + 1 for _, end in bounds[:-1])], "every event is in one part"


@pytest.mark.long
def test_cpus_unfold_to_their_threads(page: Page, path: Path) -> None:
    at(page, path)
    page.locator("#labels .cpu").first.click()
    assert page.locator("#labels .cpu").first.get_attribute("aria-expanded") == "true"
    assert page.locator("#labels .thread").count() > 3


@pytest.mark.long
def test_a_gap_s_own_threads_come_first(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path, "#gap-16")
    cpu = deploy.trace.gaps[16].cpu
    page.locator(f"#labels [data-cpu='{cpu}']").click()
    own = page.locator("#labels .own")
    assert own.count() > 0
    inferred = deploy.inferred.filter(pc.equal(deploy.inferred["gap"], 16))
    tids = {str(tid) for tid in inferred["tid"].to_pylist()}
    assert tids <= {label.split()[-1] for label in own.all_inner_texts()}
    labels = page.locator("#labels .thread")
    assert labels.all_inner_texts()[: own.count()] == own.all_inner_texts()
    scroller = page.locator("#scroll").bounding_box()
    for label in (own.first, own.last):
        box = label.bounding_box()
        assert box is not None
        assert scroller is not None
        assert scroller["y"] <= box["y"] <= box["y"] + box["height"] <= scroller["y"] + scroller["height"], "in sight"


@pytest.mark.long
def test_a_thread_is_found_by_its_name(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    page.keyboard.press("t")
    page.keyboard.type("GIT")
    assert {label.split()[0] for label in page.locator("#labels .thread").all_inner_texts()} == {"git"}
    assert page.locator("#threads").inner_text().endswith(" threads")
    for _ in range(12):
        page.locator("#in").click()
    seen = page.evaluate(SEEN)
    page.locator("#labels .thread").last.click()
    there = page.evaluate(SEEN)
    assert there != seen, "to its nearest event"
    page.locator("#whole").click()
    for _ in range(12):
        page.locator("#in").click()
    page.locator("#thread").press("Enter")
    assert page.evaluate(SEEN) != seen
    page.locator("#thread").fill("no such thread")
    assert page.locator("#labels .thread").count() == 0
    assert page.locator("#threads").inner_text() == "no such thread"
    page.keyboard.press("Escape")
    assert page.locator("#thread").input_value() == ""
    assert page.locator("#threads").inner_text() == ""


@pytest.mark.long
def test_escape_closes_what_is_open(page: Page, path: Path) -> None:
    at(page, path)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    assert page.locator("#keys").get_attribute("aria-expanded") == "false"
    page.locator("#search").fill("openat")
    page.keyboard.press("Escape")
    assert page.locator("#found").inner_text() == "31 gaps"


@pytest.mark.long
def test_an_estimate_is_told_as_one(page: Page, tmp_path: Path) -> None:
    made = mended(statuses=("filled", "refused", "left"), most=1)
    trace = made.trace.with_gaps(tuple(replace(g, count=None, known="uncounted") for g in made.trace.gaps))
    fills = tuple(replace(f, estimated=True) for f in made.fills)
    (path,) = report.write(replace(made, trace=trace, fills=fills), tmp_path)
    at(page, path, "#gap-0")
    assert "By an estimate 1 event was lost." in page.locator("#about").inner_text()
    for gap, said in ((1, False), (2, True)):  # of a refused fill nobody knows
        page.evaluate(f"location.hash = '#gap-{gap}'")
        until(page, f"document.getElementById('which').textContent.includes('Gap {gap}')")
        assert ("By an estimate 0 events were lost." in page.locator("#about").inner_text()) is said
    told = dict(zip(*(page.locator(f"#body td.of-{c}").all_inner_texts() for c in ("gap", "doubted")), strict=True))
    assert (told["1"], told["2"]) == ("–", "–"), "nothing was inferred that could be right or not"


@pytest.mark.long
def test_many_gaps_have_few_rows(page: Page, tmp_path: Path) -> None:
    trace = read(RAW)
    first = trace.gaps[0]
    gaps = tuple(replace(first, number=i, begin_ns=first.begin_ns + i, count=1) for i in range(10_000))
    (path,) = report.write(made_up(trace.with_gaps(gaps), statuses=("filled", "refused", "left")), tmp_path)
    at(page, path, "#gap-7777")
    assert page.locator("#found").inner_text() == "10,000 gaps"
    assert page.locator("#body tr").count() < 80
    assert page.locator("#rows tr.chosen a").inner_text() == "7777"
    seen, rows = page.locator("#rows tr.chosen").bounding_box(), page.locator("#rows").bounding_box()
    assert seen is not None
    assert rows is not None
    assert rows["y"] <= seen["y"] <= seen["y"] + seen["height"] <= rows["y"] + rows["height"]
    page.locator("#status").select_option("1")
    assert page.locator("#found").inner_text() == "3,333 of 10,000 gaps"


@pytest.mark.long
def test_no_string_of_a_trace_acts(page: Page, tmp_path: Path) -> None:
    trace = read(RAW)
    for column in ("comm", "name"):
        at_ = trace.table.column_names.index(column)
        evil = pa.array([EVIL] * len(trace), pa.string()).cast(SCHEMA.field(column).type)
        trace = replace(trace, table=trace.table.set_column(at_, SCHEMA.field(column), evil))
    made = made_up(trace, names=[(EVIL, "enter"), (EVIL, "exit")], most=50)
    fills = tuple(replace(f, reason=EVIL) for f in made.fills)
    (path,) = report.write(replace(made, fills=fills), tmp_path)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    at(page, path, "#gap-1")
    page.locator("#labels .cpu").first.click()
    page.locator("#lanes").hover()
    page.keyboard.press("n")
    assert page.locator("img").count() == 0
    assert EVIL in page.locator("#events").inner_text()


@pytest.mark.long
def test_a_narrow_page_is_not_wider_than_its_window(opened: Callable[..., Page], path: Path) -> None:
    page = at(opened(width=500, height=900), path, "#gap-3")
    assert page.evaluate("document.documentElement.scrollWidth") == 500
    assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#events'))") <= 0, (
        "sureness is cut"
    )
    page.locator("#labels .cpu").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 500


@pytest.mark.long
def test_a_dark_page_has_colours_of_its_own(opened: Callable[..., Page], path: Path) -> None:
    page = at(opened(dark=True), path)
    assert {"111,179,234", "242,155,75"} <= colours(page)


@pytest.mark.long
def test_on_paper_it_is_light(opened: Callable[..., Page], path: Path) -> None:
    page = at(opened(dark=True), path)
    page.emulate_media(media="print")
    assert {"39,106,167", "179,74,0"} <= colours(page)
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"


@pytest.mark.long
def test_it_is_read_and_used_without_eyes_and_mouse(page: Page, path: Path, deploy: Mended) -> None:
    at(page, path)
    told = page.locator("#bench").aria_snapshot()
    for name in (
        'button "cpu 0"',
        'table "Gaps"',
        'button "Zoom in"',
        'columnheader "Likely not right"',
        "application",
    ):
        assert name in told, name
    assert page.locator("[aria-live] tr").count() == 0, "a gap's hundreds of events aren't all read out"
    labels = page.locator("#bench :is(button, input, select, a)")
    for i in range(labels.count()):
        assert labels.nth(i).evaluate("e => Boolean(e.ariaLabel || e.textContent.trim())")
    page.locator("#labels .cpu").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#labels .cpu").first.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    assert page.locator("#labels .cpu").first.get_attribute("aria-expanded") == "false", "it keeps the focus"
    page.locator("#lanes").focus()
    seen = page.evaluate(SEEN)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(SEEN) != seen
    page.locator("#rows").focus()
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#rows tr[aria-current] a").inner_text()
    assert page.evaluate("location.hash") == f"#gap-{chosen}"
    page.locator("#rows tr[aria-current] a").focus()
    page.keyboard.press("ArrowDown")
    after = page.locator("#rows tr[aria-current] a").inner_text()
    assert after != chosen
    assert page.evaluate("document.activeElement.textContent") == after, "the focus goes with it"


def test_without_its_script_it_can_be_read(opened: Callable[..., Page], path: Path) -> None:
    page = opened(script=False)
    page.goto(path.as_uri())
    assert "need JavaScript, which is off here" in page.locator("main").inner_text()
    assert page.locator("noscript tbody tr").count() == 20
    assert page.locator("#bench").is_hidden()


@pytest.mark.long
def test_refused_and_open_gaps_are_hatched(page: Page, tmp_path: Path) -> None:
    (path,) = report.write(mended(statuses=("refused", "left"), most=5), tmp_path)
    at(page, path, "#gap-0")
    assert "139,63,143" in colours(page)
    assert "nothing inferred: refused" in page.locator("#events").inner_text()
    assert "Why: confidence 0.31 is below 0.5." in page.locator("#about").inner_text()
