from __future__ import annotations

import gzip
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from made_up import KERNEL, RAW, VALUES, made_up, mended

from tracemend.errors import OutputError
from tracemend.formats import read
from tracemend.mending.mended import Mended
from tracemend.outputs import merged, strip
from tracemend.outputs.known import known
from tracemend.outputs.lines import MARKER
from tracemend.recording import pairs
from tracemend.recording.text import lines as lines_of
from tracemend.trace.events import Gap, Trace
from tracemend.trace.fields import values

MARK = re.compile(rb" tracemend_inferred gap=(\d+) confidence=([01]\.\d\d)(?: fields=([\d.,]+))?$")


def merge(made: Mended, folder: Path) -> Path:
    (path,) = merged.write(made, folder)
    return path


def stripped(path: Path) -> bytes:
    sink = io.BytesIO()
    strip(path, sink)
    return sink.getvalue()


def from_text(folder: Path, text: str | bytes, name: str = "trace.txt", format: str | None = None) -> Trace:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, format)


def same_to_a_reader(a: Trace, b: Trace) -> bool:
    """The same events and gaps, but for the lines they stand on."""
    columns = [c for c in a.table.column_names if c != "line"]
    gaps = [[replace(gap, line=0) for gap in trace.gaps] for trace in (a, b)]
    same: bool = a.table.select(columns).to_pylist() == b.table.select(columns).to_pylist()
    return same and gaps[0] == gaps[1]


def inferred_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if MARKER.decode() in line]


# A real trace ------------------------------------------------------------------------------------------------------


def test_every_original_line_is_there_and_every_other_one_is_marked(tmp_path: Path) -> None:
    made = mended()
    path = merge(made, tmp_path)
    head, *lines = path.read_bytes().splitlines(keepends=True)
    assert head.startswith(b"# tracemend merged:")
    assert b"inferred events are no evidence" in head
    assert made.provenance["input_sha256"].encode() in head
    assert b"# tracer" in head[:64]
    marked = [line for line in lines if MARK.search(line.rstrip(b"\n"))]
    assert b"".join(line for line in lines if line not in marked) == RAW.read_bytes()
    assert len(marked) == made.inferred.num_rows > 0
    assert stripped(path) == RAW.read_bytes()


def test_inferred_lines_stand_between_the_mark_and_the_first_survivor(tmp_path: Path) -> None:
    made = mended()
    original = RAW.read_bytes().splitlines()
    lines = merge(made, tmp_path).read_bytes().splitlines()[1:]
    for gap in made.trace.gaps:
        assert gap.after is not None
        first = next(i for i, line in enumerate(lines) if f"gap={gap.number} ".encode() in line)
        last = max(i for i, line in enumerate(lines) if f"gap={gap.number} ".encode() in line)
        assert last - first + 1 == gap.count
        assert lines[first - 1] == original[gap.line - 1] == f"CPU:{gap.cpu} [LOST {gap.count} EVENTS]".encode()
        assert lines[last + 1] == original[int(made.trace.line[gap.after]) - 1]


def test_the_style_is_the_tracer_s(tmp_path: Path) -> None:
    made = mended()
    known = "            find-4121    [001] .....  1283.745625: "
    for line in inferred_lines(merge(made, tmp_path)):
        assert re.match(
            r" *[\w.<>]+-\d+ +\[00[01]\] \.\.\.\.\.  1283\.\d{6}: sys_(enter|exit): NR \d+ (= )?(-?\d+|\?) t", line
        )
        if line.lstrip().startswith("find-"):
            assert len(line[: line.index(": ") + 2]) == len(known)
            assert line.index("[") == known.index("[")


def test_our_reader_reads_the_same_from_it(tmp_path: Path) -> None:
    made = mended()
    again = read(merge(made, tmp_path))
    assert same_to_a_reader(made.trace, again)
    assert any("inferred" in warning for warning in again.warnings)


def test_a_merged_trace_is_not_merged_again(tmp_path: Path) -> None:
    again = made_up(read(merge(mended(), tmp_path)))
    (tmp_path / "again").mkdir()
    with pytest.raises(OutputError, match="strip it first"):
        merge(again, tmp_path / "again")


# Spellings ---------------------------------------------------------------------------------------------------------

LINES = {
    "named": ("sys_openat(dfd: 1, flags: 0)", "sys_openat -> 0x3"),
    "raw": ("sys_enter: NR 257 (1, 2, 3, 0, 0, 0)", "sys_exit: NR 257 = 3"),
    "trace-cmd": ("sys_enter_openat:     dfd: 0x1, flags: 0x0", "sys_exit_openat:      0x3"),
}


@pytest.mark.parametrize("calls", LINES.values(), ids=LINES)
@pytest.mark.parametrize(
    "where", ["[000] .....   307.755{}: ", "[000]   307.755{}123: ", "(   2209) [000] d..1.   307.755{}: "]
)
def test_spellings(tmp_path: Path, calls: tuple[str, str], where: str) -> None:
    enter, exit_ = calls
    front = "            find-2209    " + where
    lines = [front.format(100) + enter, front.format(101) + exit_, "CPU:0 [LOST 8 EVENTS]", front.format(200) + enter]
    trace = from_text(tmp_path, "\n".join(lines) + "\n")
    made = made_up(trace)
    path = merge(made, tmp_path)
    lines = inferred_lines(path)
    assert len(lines) == 8
    decimals = 9 if "123" in where else 6
    for line in lines:
        assert re.search(rf"\[000\]( \.\.\.\.\.)?   307\.755\d{{{decimals - 3}}}: ", line)
        assert ("NR 257 " in line or "NR 0 " in line or "NR 3 " in line) is ("NR 257" in enter)
        assert re.search(r": sys_(enter|exit)(: NR \d+|_(openat|read|close):) (= )?(-?\d+|\?) tracemend", line)
        assert ("(-------) [" in line) is ("2209)" in where)
    assert same_to_a_reader(trace, read(path))
    assert stripped(path) == (tmp_path / "trace.txt").read_bytes()


def test_a_thread_that_is_not_known_looks_like_none(tmp_path: Path) -> None:
    made = mended()
    unknown = int(np.sum(made.inferred["tid"].to_numpy() == -1))
    lines = [line for line in inferred_lines(merge(made, tmp_path)) if "<...>-2147483647 [" in line]
    assert len(lines) == unknown > 0


def test_an_event_that_is_no_call_has_no_made_up_detail(tmp_path: Path) -> None:
    trace = from_text(
        tmp_path,
        "     a-1       [000] d..2.     1.000001: sched_switch: prev_comm=a ==> next_comm=b\n"
        "CPU:0 [LOST 1 EVENTS]\n     a-1       [000] d..2.     1.000009: sched_wakeup: comm=a\n",
    )
    made = made_up(trace)
    rows = made.inferred.to_pylist()
    rows[0] |= {"name": "made", "phase": "instant", "tid": 1, "comm": "a", "time_ns": 1_000_005_000, "fields": []}
    made = replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema))
    (line,) = inferred_lines(merge(made, tmp_path))
    assert line.startswith("     a-1       [000] .....     1.000005: made: ? tracemend_inferred gap=0 ")


def one_line(folder: Path, name: str, **fields: str) -> str:
    """How an event with such fields stands in the text, behind its time."""
    trace = from_text(folder, "     a-1       [000] d..2.     1.000001: made: x\nCPU:0 [LOST 1 EVENTS]\n")
    made = made_up(trace, names=[(name, "instant")])
    rows = made.inferred.to_pylist()
    rows[0]["fields"] = [(k, {"value": v, "confidence": 0.25}) for k, v in fields.items()]
    (line,) = inferred_lines(merge(replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema)), folder))
    return line.split(": ", 1)[1]


def test_fields_stand_as_the_kernel_prints_them(tmp_path: Path) -> None:
    """In its order; what is not known is left out, but for the commands of a switch, and never a number."""
    line = one_line(
        tmp_path, "sched_switch", next_pid="7", prev_comm="a b", prev_pid="0", prev_state="R+", next_comm="c"
    )
    assert line.startswith("sched_switch: prev_comm=a b prev_pid=0 prev_state=R+ ==> next_comm=c next_pid=7 trace")
    assert line.endswith(" fields=0.25,0.25,0.25,0.25,0.25")
    line = one_line(tmp_path, "sched_switch", next_pid="7")
    assert line.startswith("sched_switch: prev_comm=<...> ==> next_comm=<...> next_pid=7 tracemend_inferred gap=0 ")
    assert line.endswith(" fields=0.25")
    line = one_line(tmp_path, "sched_wakeup", comm="x", pid="7", target_cpu="1")
    assert line.startswith("sched_wakeup: comm=x pid=7 target_cpu=001 tracemend_inferred ")
    line = one_line(tmp_path, "softirq_entry", action="NET_RX", vec="3")
    assert line.startswith("softirq_entry: vec=3 [action=NET_RX] tracemend_inferred ")
    line = one_line(tmp_path, "irq_handler_exit", ret="handled", irq="4")
    assert line.startswith("irq_handler_exit: irq=4 ret=handled tracemend_inferred ")
    line = one_line(tmp_path, "other", b="1\n2", a="3")
    assert line.startswith("other: b=1\\x0a2 a=3 tracemend_inferred ")


@pytest.mark.parametrize("seed", range(3))
def test_our_readers_find_the_fields_in_the_lines(tmp_path: Path, seed: int) -> None:
    """If they did read such lines: here those that are marked stand alone, without their marks."""
    made = made_up(read(RAW), seed=seed, most=40, names=KERNEL)
    lines = inferred_lines(merge(made, tmp_path))
    assert len(lines) == made.inferred.num_rows
    text = "\n".join(line[: line.index(MARKER.decode())] for line in lines)
    again = from_text(tmp_path, text.replace("-2147483647 ", "-1 "), "inferred.txt")
    order = np.concatenate([np.flatnonzero(made.inferred["gap"].to_numpy() == g.number) for g in by_line(made)])
    table = made.inferred.take(pa.array(order))
    assert again.table["name"].to_pylist() == table["name"].to_pylist()
    expected = list(known(table))
    for name, fields in VALUES.items():
        rows = [i for i, n in enumerate(table["name"].to_pylist()) if n == name]
        found = values(again, name, list(fields))[1] if rows else {}
        for field, column in found.items():
            told = [dict(f[:2] for f in expected[i]).get(field) for i in rows]
            unknown = "<...>" if field.endswith("comm") else None
            read_back = [None if v == unknown else v for v in column.to_pylist()]
            assert read_back == [v.lstrip("0") if v and field == "target_cpu" else v for v in told]
    returned = [dict(f[:2] for f in fields).get("ret") for fields in expected]
    exits = [p == "exit" for p in table["phase"].to_pylist()]
    assert [r for r, e in zip(again.table["ret"].to_pylist(), exits, strict=True) if e] == [
        r or "?" for r, e in zip(returned, exits, strict=True) if e
    ]


@pytest.mark.long
def test_a_whole_machine_s_trace(tmp_path: Path) -> None:
    """A real lossy recording of scheduling and interrupts, as text; what is inferred is made up."""
    pair = pairs.read(ROOT / "corpus" / "kernel" / "pairs" / "asyncio-2-kernel_overwrite.parquet")
    text = "".join(line + "\n" for line in lines_of(pair.lossy, ["....."] * len(pair.lossy), "x86_64"))
    trace = from_text(tmp_path, text)
    assert trace.table["name"].to_pylist() == pair.lossy.table["name"].to_pylist()
    made = made_up(trace, most=300, names=KERNEL)
    path = merge(made, tmp_path)
    assert len(inferred_lines(path)) == made.inferred.num_rows > 0
    assert same_to_a_reader(trace, read(path))
    assert stripped(path) == text.encode()


def by_line(made: Mended) -> list[Gap]:
    """Gaps as their events stand in the merged text."""
    return sorted(
        made.trace.gaps, key=lambda g: (math.inf if g.after is None else int(made.trace.line[g.after]), g.number)
    )


def test_ticks_stay_ticks(tmp_path: Path) -> None:
    line = "     a-1       [000] d..2.     {}: sys_exit: NR 0 = 1\n"
    trace = from_text(tmp_path, line.format(31424797625582) + "CPU:0 [LOST 1 EVENTS]\n" + line.format(31424797625589))
    made = made_up(trace)
    (inferred,) = inferred_lines(merge(made, tmp_path))
    assert f" {made.inferred['time_ns'][0].as_py()}: " in inferred
    assert 31424797625582 <= made.inferred["time_ns"][0].as_py() <= 31424797625589


@pytest.mark.parametrize("line", [" 0)   0.081 us    |  f();\n", "    a-1     0d..1    5us : sys_exit: NR 0 = 1\n"])
def test_other_forms_of_ftrace_are_not_written(tmp_path: Path, line: str) -> None:
    trace = from_text(tmp_path, line + "CPU:0 [LOST 1 EVENTS]\n" + line)
    with pytest.raises(OutputError, match="in the usual form only"):
        merge(made_up(trace), tmp_path)


PERF = """\
              sh 13211 [000]  1699.519570645:  raw_syscalls:sys_exit: NR 59 = 0
              sh 13211 [000]  1699.519626377: raw_syscalls:sys_enter: NR 12 (0, 7ffe102d101c, 0, 37f, 0, 0)
              sh 13211 [000]  1699.522626815: PERF_RECORD_LOST lost 25
              sh 13211 [000]  1699.529628012:  raw_syscalls:sys_exit: NR 12 = 94245407010816
"""


def test_perf_s_consumers_see_comments(tmp_path: Path) -> None:
    trace = from_text(tmp_path, PERF)
    path = merge(made_up(trace), tmp_path)
    lines = inferred_lines(path)
    assert len(lines) == 25
    for line in lines:
        assert re.match(
            r"# +\S+ +\d+ \[000\]  1699\.5\d{8}: raw_syscalls:sys_(enter|exit): NR \d+ (= )?(-?\d+|\?) ", line
        )
    assert b"# tracer" not in path.read_bytes()
    assert same_to_a_reader(trace, read(path))
    assert stripped(path) == PERF.encode()


# Line ends and gaps at the file's edges ----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.slices(870), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(0, 9))
def test_any_part_of_a_real_trace_comes_back(tmp_path: Path, part: slice, end: bytes, closed: bool, seed: int) -> None:
    lines = RAW.read_bytes().splitlines()[slice(*sorted(part.indices(870)[:2]))] or [b"CPU:0 [LOST 9 EVENTS]"]
    if not closed and seed % 2:
        lines.append(b"CPU:1 [LOST 3 EVENTS]")  # a gap with nothing after it, on a line without an end
    text = end.join(lines) + (end if closed else b"")
    trace = from_text(tmp_path, text)
    path = merge(made_up(trace, seed=seed, most=20), tmp_path)
    assert stripped(path) == text
    assert same_to_a_reader(trace, read(path))


WORD = st.binary(max_size=12).filter(lambda b: b"\n" not in b)


@given(
    st.lists(st.tuples(WORD, st.sampled_from([b"\n", b"\r\n"])), min_size=1, max_size=12),
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 15), st.integers(1, 3)), max_size=5),
)
def test_lines_come_back_from_any_layout(
    lines: list[tuple[bytes, bytes]], closed: bool, gaps: list[tuple[int, int]]
) -> None:
    text = b"".join(word + end for word, end in lines)
    text = text if closed else text[: -len(lines[-1][1])]
    assume(text)  # the readers refuse an empty file
    inferred = b"x-1 [000] 1.0: a: ? tracemend_inferred gap=0 confidence=0.50"
    places = iter([merged.Place(line, 0, [inferred] * count) for line, count in sorted(gaps)])
    sink = io.BytesIO()
    merged.interleave(io.BytesIO(text), sink, merged.HEADER + b" {}", places, merged.LINES)
    sink.seek(0)
    assert b"".join(merged.original(sink, "ftrace")) == text
    assert sink.getvalue().count(inferred) == sum(count for _, count in gaps)


TOKEN = st.sampled_from(["openat", "read:enter", "read:exit", "my_function", "?", "?", "-1", "...", "7"])
BETWEEN = st.sampled_from([" ", "\n", "\r\n", "  ", " \n\n", "\n# a comment ~with a tilde\n", "\t"])


@pytest.mark.long
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TOKEN, BETWEEN), min_size=1, max_size=20), st.booleans(), st.sampled_from(["", " ", "\n"]))
def test_sequences_come_back_from_any_layout(
    tmp_path: Path, tokens: list[tuple[str, str]], closed: bool, front: str
) -> None:
    text = front + "".join(token + between for token, between in tokens)
    text = text if closed else text.rstrip()
    trace = from_text(tmp_path, text, format="sequence")
    made = made_up(trace)
    path = merge(made, tmp_path)
    assert stripped(path) == text.encode()
    again = read(path, "sequence")
    assert same_to_a_reader(trace, again)
    kept = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    found = [token for line in kept for token in line.split() if token.startswith("~")]
    assert len(found) == made.inferred.num_rows
    assert not made.inferred.num_rows or any("inferred" in w for w in again.warnings)


def test_sequences_are_read_by_people_too(tmp_path: Path) -> None:
    trace = from_text(tmp_path, "openat read ? ? close\n? mmap\nread ?\nbrk\n? ?\n")
    made = made_up(trace)
    rows = made.inferred.to_pylist()
    names = iter("abcdef")
    rows = [row | {"name": next(names), "phase": "instant"} for row in rows]
    path = merge(replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema)), tmp_path)
    text = path.read_text().split("\n", 1)[1]
    assert text == "openat read ? ? ~a ~b close\n? ~c mmap\nread ?\n~d\nbrk\n? ?\n~e\n~f\n"


def test_a_sequence_of_numbers_stays_one(tmp_path: Path) -> None:
    trace = from_text(tmp_path, "3 5 ? 3 5 3\n")
    made = made_up(trace)
    rows = [row | {"name": "id_5", "phase": "instant"} for row in made.inferred.to_pylist()]
    path = merge(replace(made, inferred=pa.Table.from_pylist(rows, made.inferred.schema)), tmp_path)
    assert path.read_text().endswith("\n3 5 ? ~5 3 5 3\n")
    assert same_to_a_reader(trace, read(path))


# Refusals ----------------------------------------------------------------------------------------------------------


def test_a_compressed_trace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt.gz"
    path.write_bytes(gzip.compress(RAW.read_bytes()))
    with pytest.raises(OutputError, match=r"trace\.txt\.gz: only CTF and uncompressed text"):
        merge(mended(path), tmp_path)


def test_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.npy"
    np.save(path, np.array([1, 2, -1, 2, 1]))
    with pytest.raises(OutputError, match="only CTF and uncompressed text"):
        merge(mended(path), tmp_path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"only CTF and uncompressed text \(ftrace, perf, sequence\)"):
        merge(made_up(replace(read(RAW), format="strace")), tmp_path)


def test_a_trace_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not read from a file"):
        merge(made_up(replace(read(RAW), path=None)), tmp_path)


def test_an_input_that_changed_is_refused(tmp_path: Path) -> None:
    made = made_up(from_text(tmp_path, RAW.read_bytes()))
    (tmp_path / "trace.txt").write_bytes(RAW.read_bytes() + b"\n")
    with pytest.raises(OutputError, match="changed since it was read"):
        merge(made, tmp_path)


def test_a_tilde_of_the_original_s_own_is_refused(tmp_path: Path) -> None:
    made = made_up(from_text(tmp_path, "openat ? read\n~close openat\n"))
    with pytest.raises(OutputError, match="line 2 of the input"):
        merge(made, tmp_path)


def test_a_suspected_gap_without_a_mark(tmp_path: Path) -> None:
    trace = from_text(tmp_path, "\n".join(line for line in RAW.read_text().splitlines() if "LOST" not in line))
    after = 40
    gap = Gap(0, int(trace.cpu[after]), None, after, 0, int(trace.time_ns[after]), None, "suspected", 40)
    path = merge(made_up(trace.with_gaps((gap,))), tmp_path)
    lines = path.read_bytes().splitlines()
    assert MARKER in lines[after + 1]
    assert stripped(path) == (tmp_path / "trace.txt").read_bytes()
