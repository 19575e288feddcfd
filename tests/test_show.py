"""A mended folder in the terminal: what show draws, and what other commands say of such a folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from commands import run
from conftest import ROOT
from heads import head
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.cli.lanes import lane, lanes, when
from tracemend.cli.tables import BARS, blocks, entries, length
from tracemend.errors import OutputError
from tracemend.formats import pieces, read
from tracemend.outputs.folder import Folder, Row, around, likely_not_right
from tracemend.trace.pieces import Size


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a real recording: two gaps of 84 events."""
    return head("deploy", 1800, tmp_path_factory.mktemp("trace") / "pair") / "lossy.txt"


@pytest.fixture(scope="module")
def out(trace: Path) -> Path:
    folder = trace.parent / "out"
    done = run("mend", trace, "-o", folder, "--alone", "--hypotheses", "2", "--merged", "--no-figures")
    assert done.returncode == 0, done.stderr
    return folder


def made_up(**changes: object) -> Row:
    """A gap as an overlay has it, made up."""
    row = {"gap": 0, "cpu": 0, "begin_ns": 100, "end_ns": 200, "count": 10, "known": "counted", "status": "filled"}
    return {**row, "events": 10, "confidence": 0.5, "reason": "", **changes}


def test_all_gaps_are_drawn_and_listed_with_what_to_type(trace: Path, out: Path) -> None:
    done = run("show", out)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{out} is a mended trace of {trace}, made by tracemend ")
    assert lines[1].endswith(" events survived; 168 events were lost in 2 gaps.")
    assert "Inferred events are no evidence." in lines[2]
    assert [line[:7] for line in lines if line.startswith("cpu ")] == ["cpu 0 [", "cpu 1 ["]
    worst = Folder.open(out).worst()
    listed = [line.split() for line in lines if re.match(r" +\d+ +\d+ +84  filled", line)]
    assert [row[0] for row in listed] == [str(gap["gap"]) for gap in worst]
    assert f"tracemend show {out} --gap {worst[0]['gap']}" in done.stdout
    told = json.loads(run("show", out, "--json").stdout)
    assert told["gaps"] == worst
    assert told["recorded"]["events"] == sum("sys_e" in line for line in trace.read_text().splitlines())


def test_a_gap_is_shown_between_what_was_recorded(trace: Path, out: Path) -> None:
    done = run("show", out, "--gap", "0", "--most", "6", "--hypotheses")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Gap 0 of cpu 1: 84 events lost in 437 us."
    inferred = [i for i, line in enumerate(lines) if line.startswith("┆")]
    assert len(inferred) == 6
    assert all(re.search(r" [01]\.\d\d( |$)", lines[i]) for i in inferred)
    hidden = next(i for i, line in enumerate(lines) if "78 more inferred events" in line)
    assert inferred[2] < hidden < inferred[3]
    text = trace.read_text().splitlines()
    mark = next(i for i, line in enumerate(text) if "LOST" in line)
    around_it = [line for line in text[mark - 40 : mark + 40] if "[001]" in line]
    wanted = [found[1] for line in around_it if (found := re.search(r" (\d+\.\d{6}): sys_", line))]
    shown = [line.split()[0] for line in lines if re.match(r"  +\d+\.\d{6} ", line)]
    assert len(shown) == 10
    assert "-".join(shown) in "-".join(wanted)
    assert "Other fills that may be as true" in done.stdout
    assert f"Next:     tracemend show {out} --gap 1" in lines
    assert not any(line.startswith("Previous") for line in lines)


def test_a_gap_as_json_has_the_same_events(out: Path) -> None:
    told = json.loads(run("show", out, "--gap", "1", "--most", "100", "--hypotheses", "--json").stdout)
    events = [json.loads(line) for line in (out / "overlay.jsonl").read_text().splitlines()[1:]]
    mine = [e for e in events if e["gap"] == 1]
    shown = told["inferred"]
    assert (told["hidden"], len(shown), told["gap"]["gap"]) == (0, 84, 1)
    assert [(e["time_ns"], e["name"], e["inferred"]) for e in shown] == [(e["time_ns"], e["name"], True) for e in mine]
    assert [len(h) for h in told["hypotheses"]] == [84, 84]
    assert [e["inferred"] for e in told["before"] + told["after"]] == [False] * 10
    assert told["before"][-1]["time_ns"] == told["gap"]["begin_ns"]
    assert told["after"][0]["time_ns"] == told["gap"]["end_ns"]


def test_recorded_events_are_found_in_whatever_pieces_a_trace_comes(trace: Path, out: Path) -> None:
    for row in Folder.open(out).gaps:
        whole = around(pieces(trace), row, 5)
        for size in (Size(100, 50), Size(1000, 300)):
            assert around(pieces(trace, cuts=size), row, 5) == whole
        assert around(pieces(trace), row | {"known": "suspected"}, 5) == whole  # by the events beside it
        assert around(pieces(trace), row | {"end_ns": row["end_ns"] + 1}, 5) is None


@pytest.mark.parametrize(
    "name",
    ["perf_lost.txt.xz", "perf_lost.data.xz", "trace_cmd.dat.xz", "ftrace_overrun.txt.xz", "perfetto_lossy.pftrace.xz"],
)
def test_a_gap_of_any_format_is_found_by_what_the_overlay_says_of_it(name: str) -> None:
    path = ROOT / "tests" / "data" / name
    trace = read(path)
    held = list(pieces(path))
    for gap in trace.gaps[:20]:
        found = around(held, json.loads(json.dumps(gap.as_dict())), 5)
        assert found is not None
        before, after = (
            trace.table.slice(row or 0, int(row is not None)).to_pylist() for row in (gap.before, gap.after)
        )
        assert (found.before.to_pylist()[-1:], found.after.to_pylist()[:1]) == (before, after)


@pytest.mark.long
def test_of_a_mended_folder_commands_say_what_it_is(trace: Path, out: Path, tmp_path: Path) -> None:
    what = f"tracemend: {out} is a mended trace of {trace}, made by tracemend "
    for command, code in (("scan", 3), ("advise", 0)):
        done, original = run(command, out, "--json"), run(command, trace, "--json")
        assert (done.returncode, done.stdout) == (code, original.stdout)
        assert done.stderr.startswith(what)
    done = run("mend", out, "-o", tmp_path / "again")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(what)
    assert not (tmp_path / "again").exists()
    listed = run("scan", out.parent)
    assert f"tracemend: {out}: a mended trace (passed over)\n" in listed.stderr
    assert "unreadable" not in listed.stdout


def test_without_the_trace_its_marked_copy_is_read_and_without_both_it_is_said(
    trace: Path, out: Path, tmp_path: Path
) -> None:
    moved, shown = tmp_path / "moved.txt", run("show", out, "--gap", "0").stdout
    trace.rename(moved)
    try:
        assert run("scan", out).stdout.startswith(f"{out}/merged.txt: ftrace, ")
        trace.write_text("".join(moved.read_text().splitlines(keepends=True)[:40]))
        assert f"tracemend: {trace}: has changed since {out} was made from it\n" in run("scan", out).stderr
        trace.unlink()
        assert run("show", out, "--gap", "0").stdout == shown
        (out / "merged.txt").rename(tmp_path / "merged.txt")
        done = run("show", out, "--gap", "0")
        assert (done.returncode, done.stderr.count("\n")) == (0, 1)
        assert "is no longer there" in done.stderr
        assert run("show", out, "--gap", "0", "--trace", moved).stdout == shown
        assert run("show", out, "--gap", "0", "--trace", out / "overlay.jsonl").returncode == 1
        gone = run("scan", out)
        assert (gone.returncode, gone.stdout) == (1, "")
        assert "is no longer there" in gone.stderr
    finally:
        moved.rename(trace)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--gap", "2"], 1, "there is no gap 2; they are 0 to 1"),
        (["--hypotheses"], 2, "is for one gap: name it with --gap"),
        (["--gap", "-1"], 2, "-1"),
        (["--gap", "0", "--most", "0"], 2, "0"),
    ],
)
def test_mistakes_are_told(out: Path, arguments: list[str], code: int, says: str) -> None:
    done = run("show", out, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_what_is_no_folder_of_mend_is_told(trace: Path, tmp_path: Path) -> None:
    for path in (trace, tmp_path, tmp_path / "none"):
        done = run("show", path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@settings(max_examples=30, deadline=None)
@given(
    where=st.floats(0, 1),
    what=st.binary(max_size=8),
    changed=st.fixed_dictionaries({}, optional={"cpu": st.integers(), "begin_ns": st.integers(), "count": st.none()}),
)
def test_a_damaged_folder_is_an_error_or_shown(
    where: float, what: bytes, changed: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Made up: bytes overwritten anywhere in the header, and numbers that fit nowhere."""
    folder = tmp_path_factory.mktemp("damaged")
    gaps = [made_up(), made_up(gap=1, end_ns=300, status="left", **changed)]
    head = json.dumps({"tracemend": "0", "kind": "overlay", "gaps": gaps, "recorded": {"events": 3, "cpus": [1]}})
    at = int(where * len(head))
    (folder / "overlay.jsonl").write_bytes(head.encode()[:at] + what + head.encode()[at + len(what) :])
    with suppress(OutputError):
        found = Folder.open(folder)
        assert found.described
        assert found.original is None
        assert found.worst()
        assert lanes(found, 60) or not found.gaps


def test_a_damaged_file_of_events_is_told(out: Path, tmp_path: Path) -> None:
    (tmp_path / "overlay.jsonl").write_bytes((out / "overlay.jsonl").read_bytes())
    for content in (b"", b"PAR1 no more PAR1", (out / "overlay.parquet").read_bytes()[:-9]):
        (tmp_path / "overlay.parquet").write_bytes(content)
        with pytest.raises(OutputError, match=r"overlay\.parquet: "):
            Folder.open(tmp_path).inferred(0, 10)


def test_names_of_a_trace_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Made up: a path and a reason that would clear the screen."""
    row = made_up(status="refused", reason="\x1b[2J", events=0)
    head = {"tracemend": "\x1b[2J", "kind": "overlay", "input": "/\x1b[2J", "gaps": [row]}
    (tmp_path / "overlay.jsonl").write_text(json.dumps(head))
    assert "\x1b" not in run("show", tmp_path).stdout


def test_a_lane_tells_filled_refused_open_and_suspected_gaps_apart() -> None:
    rows = [
        made_up(begin_ns=0, end_ns=10),
        made_up(begin_ns=10, end_ns=15),
        made_up(begin_ns=30, end_ns=40, status="refused"),
        made_up(begin_ns=50, end_ns=50, status="left"),
        made_up(begin_ns=60, end_ns=70, known="suspected"),
        made_up(begin_ns=99, end_ns=99),
    ]
    assert lane(rows, 10, 0, 100) == "█▄ x o?  ▁"
    assert lane([], 10, 0, 100) == " " * 10


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)), max_size=30), st.integers(10, 80))
def test_a_lane_has_something_wherever_something_was_lost(gaps: list[tuple[int, int]], columns: int) -> None:
    rows = [made_up(begin_ns=begin, end_ns=min(1000, begin + long)) for begin, long in gaps]
    drawn = lane(rows, columns, 0, 1000)
    assert len(drawn) == columns
    assert set(drawn) <= set(BARS)
    for row in rows:
        assert drawn[min(row["begin_ns"] * columns // 1000, columns - 1)] != " "


def test_only_inferred_events_are_likely_not_right() -> None:
    assert likely_not_right(made_up(confidence=0.9)) == pytest.approx(1)
    assert likely_not_right(made_up(status="refused", events=0, confidence=0.9)) is None
    assert likely_not_right(made_up(status="left", events=0, count=None)) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_times_are_told_exactly(ns: int) -> None:
    assert int(when(ns, digits=9).replace(".", "")) == ns
    assert when(ns, clocked=False) == str(ns)


@given(st.lists(st.tuples(st.text("ab", max_size=9), st.text("ab -", max_size=90)), max_size=4), st.integers(40, 200))
def test_lists_fit_and_say_all(rows: list[tuple[str, str]], width: int) -> None:
    lines = list(entries(rows, width))
    words = max((len(word) for _, said in rows for word in said.split()), default=0)
    assert all(len(line) <= max(width, 11 + words) for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(f"{name}{said}" for name, said in rows).replace(" ", "")
    assert len(list(entries(rows, None))) == len(rows)


@given(
    st.lists(st.tuples(st.integers(), st.text("ab \u6f22", max_size=40), st.floats(0, 1e9)), max_size=4),
    st.integers(30, 200),
)
def test_tables_fit_and_cut_nothing(rows: list[tuple[int, str, float]], width: int) -> None:
    columns = ("gap", "command", "a number with a long name")
    cells = [(str(n), text, f"{number:,.2f}") for n, text, number in rows]
    made = blocks(columns, cells, width)
    lines = [line for block in made for row in (*block.header, *block.rows) for line in row.split("\n")]
    letters = "".join(cell for row in cells for cell in row).replace(" ", "")
    assert Counter("".join(row for block in made for row in block.rows)) >= Counter(letters)
    numbers = [cell for row in cells for cell in (row[0], row[2])]
    fits = max(map(len, [c[0] for c in cells]), default=0) + 1 + max([12, *(len(c[2]) for c in cells)]) <= width
    assert not fits or all(length(line) <= width for line in lines)
    assert all(any(cell in line.split() for line in lines) for cell in numbers)
