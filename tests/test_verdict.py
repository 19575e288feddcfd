"""Complete, lost, or can't tell: the word, why, what to do, and the exit code, of one trace and of several."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Done, run
from conftest import ROOT

from tracemend.formats import FORMATS, read
from tracemend.formats.base import Builder, Evidence, Options
from tracemend.losses.following import Following
from tracemend.losses.scanning import scan
from tracemend.losses.verdict import COMPLETE, LOST, UNKNOWN, verdict
from tracemend.trace.events import Trace
from tracemend.trace.evidence import Doubt, Unplaced

DATA = ROOT / "tests" / "data"

PAIR = """\
  cat-7 [000] ..... 1.000000: sys_enter: NR 0 (3, 0, 0, 0, 0, 0)
  cat-7 [000] ..... 1.000001: sys_exit: NR 0 = 0
"""
BROKEN = PAIR + "  cat-7 [000] ..... 1.000005: sys_exit: NR 0 = 0\n"
MARKED = PAIR + "CPU:0 [LOST 2 EVENTS]\n" + PAIR.replace("1.0", "2.0")
OVERWRITTEN = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/8\n#\n" + PAIR
EMPTY = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 0/0   #P:4\n#\n"
PERF = (
    "cat  7 [000] 1.000001: raw_syscalls:sys_enter: NR 0 (3)\ncat  7 [000] 1.000002: raw_syscalls:sys_exit: NR 0 = 0\n"
)


def written(folder: Path, text: str, name: str = "trace.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "word", "code", "reason"),
    [
        (PAIR, COMPLETE, 0, "unless it was recorded with overwrite off"),
        (BROKEN, UNKNOWN, 4, "line 3 (cpu 0)"),
        (MARKED, LOST, 3, "2 events in 1 gap"),
        (MARKED.replace("LOST 2 EVENTS", "LOST EVENTS"), LOST, 3, "1 gap, the tracer doesn't say of how many events"),
        (OVERWRITTEN, LOST, 3, "6 events were overwritten before the first one that is left"),
        (EMPTY, COMPLETE, 0, "overwrite off"),
        (PERF, UNKNOWN, 4, "--show-lost-events"),
        ("openat\nread\nread\nclose\n", UNKNOWN, 4, "bare sequence"),
        ("openat\n?\nread\nclose\n", LOST, 3, "1 event in 1 gap"),
    ],
)
def test_the_word_and_the_exit_code(tmp_path: Path, text: str, word: str, code: int, reason: str) -> None:
    path = written(tmp_path, text)
    document = json.loads(run("scan", path, "--json").stdout)
    assert (document["verdict"], document["input"]) == (word, str(path))
    assert reason in document["reason"]
    done = run("scan", path)
    assert done.returncode == code
    assert f"{word.capitalize()}: {document['reason']}" in done.stdout
    assert (word == COMPLETE) == (document["advice"] == "")
    assert document["advice"] in done.stdout


def test_overwritten_events_are_lost_events(tmp_path: Path) -> None:
    found = scan(read(written(tmp_path, OVERWRITTEN)))
    assert (found.lost, found.share_lost) == (6, 0.75)
    assert found.as_dict()["unplaced"][0]["count"] == 6


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_is_complete_without_saying_how_it_would_know(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = FORMATS[name]
    if not own.evidence.complete:
        assert verdict(Trace(None, name, read_pair().table)).word != COMPLETE
    silent = replace(own, evidence=Evidence(own.evidence.marks, ""))
    monkeypatch.setitem(FORMATS, name, silent)
    assert verdict(Trace(None, name, read_pair().table)).word != COMPLETE
    assert verdict(Trace(None, name, read_pair().table), suspected=()).word != COMPLETE


def read_pair() -> Trace:
    return read(ROOT / "recordings" / "shell" / "lossy.txt")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_can_show(name: str) -> None:
    said = FORMATS[name].evidence
    assert said.marks
    assert said.complete or said.blind, "what is never complete says why"
    page = (ROOT / "docs" / "formats.md").read_text()
    assert f"`{name}`: " in page


def test_a_doubt_is_settled_only_by_a_search() -> None:
    doubt = Doubt("nobody counts", "Count.", "unless nobody counted")
    trace = replace(read_pair(), gaps=(), unplaced=(), doubts=(doubt,))
    assert verdict(trace).word == UNKNOWN
    assert verdict(trace, suspected=()).word == COMPLETE
    never = replace(trace, doubts=(doubt, replace(doubt, unless="")))
    assert verdict(never, suspected=()).word == UNKNOWN
    assert verdict(replace(never, unplaced=(Unplaced("3 chunks were lost", 3, "chunks"),))).word == LOST


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (MARKED, ["--max-lost", "2"], 0),
        (MARKED, ["--max-lost", "1"], 3),
        (MARKED, ["--max-lost", "40%"], 0),
        (MARKED, ["--max-lost", "33%"], 3),
        (MARKED, ["--accept-unknown"], 3),
        (MARKED.replace("LOST 2 EVENTS", "LOST EVENTS"), ["--max-lost", "100%"], 3),
        (OVERWRITTEN, ["--max-lost", "5"], 3),
        (OVERWRITTEN, ["--max-lost", "6"], 0),
        (BROKEN, ["--accept-unknown"], 0),
        (BROKEN, ["--max-lost", "100"], 4),
        (PAIR, ["--max-lost", "lots"], 2),
        (PAIR, ["--max-lost", "101%"], 2),
    ],
)
def test_what_a_pipeline_accepts(tmp_path: Path, text: str, options: list[str], code: int) -> None:
    assert run("scan", written(tmp_path, text), *options).returncode == code


def test_several_traces_have_a_line_each_and_the_worst_exit_code(tmp_path: Path) -> None:
    paths = [written(tmp_path, t, f"{i}.txt") for i, t in enumerate([PAIR, BROKEN, MARKED])]
    done = run("scan", *paths)
    assert done.returncode == 3
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["complete", "can't", "lost"]
    assert run("scan", *paths[:2]).returncode == 4
    assert run("scan", paths[0], paths[0]).returncode == 0
    documents = [json.loads(line) for line in run("scan", *paths, "--json").stdout.splitlines()]
    assert [d["verdict"] for d in documents] == [COMPLETE, UNKNOWN, LOST]
    prose = written(tmp_path, "Dear diary,\ntoday nothing was lost.\n", "prose")
    done = run("scan", *paths, prose)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("unreadable")
    assert "prose" in done.stderr


def test_folders_and_patterns(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    written(inner, PAIR, "1.txt"), written(inner, MARKED, "2.txt"), written(inner, "nothing to see\n", "README")
    done = run("scan", tmp_path)
    assert done.returncode == 3
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["complete", "lost", "no"]
    assert "README" in done.stderr
    assert run("scan", str(inner / "1*")).returncode == 0
    assert run("scan", str(inner / "3*")).returncode == 1
    (tmp_path / "empty").mkdir()
    assert "no trace in this folder" in run("scan", tmp_path / "empty").stderr


@pytest.mark.long
def test_an_empty_trace_fails_a_build_and_a_readme_does_not(tmp_path: Path) -> None:
    """The folder and all of its files named give the same."""
    written(tmp_path, PAIR, "good.txt")
    for name, text in (("README.md", "# Traces\n"), (".gitkeep", ""), ("facts.json", "{}"), ("run.sh", "")):
        written(tmp_path, text, name)
    files = sorted(tmp_path.iterdir())
    folder, named = run("scan", tmp_path, "--json"), run("scan", *files, "--json")
    assert (folder.returncode, folder.stdout) == (named.returncode, named.stdout)
    assert folder.returncode == 0
    rows = {Path(row["input"]).name: row for row in map(json.loads, folder.stdout.splitlines())}
    assert set(rows) == {f.name for f in files}
    assert [name for name in rows if "no_trace" in rows[name]] == [f.name for f in files if f.name != "good.txt"]
    cut = lzma.compress(b"x" * 99)[:40]
    unread = {"empty.txt": b"", "cut.dat": b"\x17\x08", "cut.txt.xz": cut, "empty.json": b"", "cut.csv.xz": cut}
    for name, content in unread.items():
        bad = tmp_path / name
        bad.write_bytes(content)
        for given in ([tmp_path], sorted(tmp_path.iterdir())):
            done = run("scan", *given)
            assert done.returncode == 1
            assert f"unreadable  {bad}" in done.stdout
        bad.unlink()


def test_of_several_traces_each_says_whether_it_lost_more_than_allowed(tmp_path: Path) -> None:
    paths = [written(tmp_path, MARKED, "few"), written(tmp_path, MARKED.replace("LOST 2", "LOST 9"), "many")]
    done = run("scan", *paths, "--max-lost", "40%")
    assert done.returncode == 3
    few, many = done.stdout.splitlines()
    assert few.endswith(", within --max-lost")
    assert many.endswith(", more than --max-lost")
    meant = run("scan", paths[0], "--max-lost", "0.3")
    assert meant.returncode == 2
    assert "did you mean 30%?" in " ".join(meant.stderr.split())


@pytest.mark.parametrize("left", ["  ", "  cat-7 [000] ..... 2.0", " cat-7 [000] ..... 2.0: sys_en", None])
def test_of_a_text_that_breaks_off_within_a_line_nobody_can_tell(tmp_path: Path, left: str | None) -> None:
    text = PAIR + PAIR.replace("1.0", "2.0")
    path = written(tmp_path, PAIR + left if left else text.removesuffix("0\n"))
    done = run("scan", path)
    assert done.returncode == 4
    assert "the file breaks off within its last line" in done.stdout
    figures = run("figures", path)
    assert "the file breaks off within its last line" in figures.stdout
    assert "they are exact" not in figures.stdout


@pytest.mark.long
def test_figures_say_at_least_where_a_gap_has_no_count(tmp_path: Path) -> None:
    path = written(tmp_path, MARKED + "CPU:0 [LOST EVENTS]\n" + PAIR.replace("1.0", "3.0"))
    for command in ("scan", "figures"):
        assert "(at least 25.0" in run(command, path).stdout


def test_a_call_whose_arguments_have_no_end_is_no_event(tmp_path: Path) -> None:
    odd = "  cat-7 [000] ..... 1.500000: sys_enter: NR 9 (0, 1e1f50, 1, 802, 4garbage line here\n"
    path = written(tmp_path, PAIR + odd + PAIR.replace("1.0", "2.0"))
    trace = read(path)
    assert len(trace) == 4
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line) == (1, 3)


def test_a_folder_of_perf_record_threads_is_one_trace(tmp_path: Path) -> None:
    """Made up: the main file is recorded, the thread's is not."""
    inner = tmp_path / "run"
    inner.mkdir()
    with lzma.open(ROOT / "tests" / "data" / "perf_lost.data.xz") as recorded:
        (inner / "data").write_bytes(recorded.read())
    (inner / "data.0").write_bytes(b"PERFFILE's thread")
    done = run("scan", tmp_path)
    assert f"{inner}: perf.data" in done.stdout
    assert "passed over" not in done.stderr


def test_what_cant_be_read_is_counted_and_told(tmp_path: Path) -> None:
    path = written(tmp_path, PAIR + "what is this\nand this\n" + PAIR.replace("1.0", "2.0"))
    done = run("scan", path, "--json")
    document = json.loads(done.stdout)
    assert document["passed_over"]["number"] == 2
    assert document["passed_over"]["first_line"] == 3
    assert "what is this" in document["passed_over"]["why"]
    assert "2 lines passed over; the first: line 3" in done.stderr
    strict = run("scan", path, "--strict")
    assert (strict.returncode, strict.stdout) == (1, "")
    assert f"{path}:3: " in strict.stderr


def piped(*arguments: str, text: bytes) -> Done:
    command = [sys.executable, "-W", "error", "-m", "tracemend", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=120)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_trace_from_a_pipe() -> None:
    done = piped("scan", "-", text=MARKED.encode())
    assert done.returncode == 3
    assert done.stdout.startswith("-: ftrace, 4 events")
    refused = piped("scan", "-", text=b"no trace at all, but prose\n")
    assert refused.returncode == 1
    assert refused.stderr.startswith("tracemend: -:1: ")


def test_process_substitution(tmp_path: Path) -> None:
    script = f"{sys.executable} -m tracemend scan <(cat {written(tmp_path, MARKED)})"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("/dev/fd/")


@pytest.mark.long
def test_mending_from_a_pipe(tmp_path: Path) -> None:
    done = piped("mend", "-", "-o", str(tmp_path / "out"), "--alone", "--merged", text=MARKED.encode())
    assert done.returncode == 0, done.stderr
    assert any(p.name.startswith("merged") for p in (tmp_path / "out").iterdir())


@pytest.mark.long
def test_following_tells_a_loss_at_once() -> None:
    command = [sys.executable, "-u", "-m", "tracemend", "scan", "-", "--follow"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as live:
        assert live.stdin
        assert live.stdout
        live.stdin.write(MARKED.encode())
        live.stdin.flush()
        assert live.stdout.readline() == b"lost: 2 events on cpu 0 before line 3, 2.000001 s\n"  # nothing has ended yet
        live.stdin.write(MARKED.replace("1.0", "3.0").replace("2.0", "4.0").encode())
        live.stdin.close()
        rest = live.stdout.read().decode()
    assert live.returncode == 3
    assert "-: ftrace, 8 events\nLost: 4 events in 2 gaps.\nRecord again" in rest


@pytest.mark.parametrize(
    ("text", "code"), [(PAIR, 0), (BROKEN, 4), (PERF, 4), (OVERWRITTEN, 3), ("prose of no kind\n", 1)]
)
def test_following_judges_at_the_end(text: str, code: int) -> None:
    assert piped("scan", "-", "--follow", text=text.encode()).returncode == code


@pytest.mark.long
def test_following_keeps_pairs_that_pieces_divide() -> None:
    command = [sys.executable, "-m", "tracemend", "scan", "-", "--follow", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as live:
        assert live.stdin
        for line in (PAIR.replace("1.0", "0.0") + BROKEN).splitlines(keepends=True):
            live.stdin.write(line.encode())
            live.stdin.flush()
            time.sleep(0.02)
        out, _ = live.communicate(timeout=60)
    assert json.loads(out)["verdict"] == UNKNOWN
    assert live.returncode == 4


DROPPED = lzma.decompress((DATA / "ftrace_drop.txt.xz").read_bytes())[:60_000].decode().rpartition("\n")[0]
NAMES = {0: "swapper/0", 9: "kworker/0:1"}
#: A cpu goes on with another thread than its last switch brought in.
SWITCHED = [
    f"  x-{a} [000] d.... {i}.0: sched_switch: {NAMES[a]}:{a} [120] R ==> {NAMES[b]}:{b} [120]\n"
    for i, (a, b) in enumerate([(0, 9), (9, 0)] * 6 + [(9, 0)], 1)
]


@pytest.mark.parametrize(
    ("text", "word"),
    [(DROPPED, UNKNOWN), ("".join(SWITCHED), UNKNOWN), (PAIR, COMPLETE)],
    ids=["drop", "switch", "pair"],
)
@pytest.mark.parametrize("at_once", [1, 7])
def test_following_finds_what_a_scan_finds_however_small_the_pieces_are(
    tmp_path: Path, text: str, word: str, at_once: int
) -> None:
    path = written(tmp_path, text)
    lines = text.encode().splitlines(keepends=True)
    following = Following(Builder(path, "ftrace", Options()), lambda loss: None)
    pieces = ((b"".join(lines[i : i + at_once]), i + 1) for i in range(0, len(lines), at_once))
    following.run(FORMATS["ftrace"], pieces)
    assert following.verdict.word == scan(read(path)).verdict.word == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (" 0)               |  a() {\n 0)   1.0 us    |    b();\n 0)   2.0 us    |  }\n", COMPLETE),
        (" 0)               |  a() {\n 0)   2.0 us    |  } /* c */\n", UNKNOWN),
    ],
)
def test_following_searches_calls_within_one_another(tmp_path: Path, text: str, word: str) -> None:
    """Made up."""
    path = written(tmp_path, "# tracer: function_graph\n" + text)
    lines = path.read_bytes().splitlines(keepends=True)
    following = Following(Builder(path, "ftrace", Options()), lambda loss: None)
    following.run(FORMATS["ftrace"], [(line, i) for i, line in enumerate(lines, 1)])
    assert following.verdict.word == scan(read(path)).verdict.word == word


def test_only_a_pipe_can_be_followed(tmp_path: Path) -> None:
    assert run("scan", written(tmp_path, PAIR), "--follow").returncode == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PAIR, "The buffer sufficed: no loss is marked and all events fit together; this holds unless it was"),
        (MARKED, "The buffer did not suffice: 2 events in 1 gap."),
        (OVERWRITTEN, "The buffer did not suffice: 6 events were overwritten"),
        (BROKEN, "Nobody can tell whether the buffer sufficed"),
        (PERF, "Nobody can tell whether the buffer sufficed"),
    ],
)
def test_advice_never_says_more_than_it_knows(tmp_path: Path, text: str, sentence: str) -> None:
    done = run("advise", written(tmp_path, text))
    assert done.stdout.startswith(sentence)
    others = {"trace-cmd record", "perf record", "lttng enable"}
    assert not any(o in done.stdout for o in others), "the trace is ftrace's own"
    document = json.loads(run("advise", tmp_path / "trace.txt", "--json").stdout)
    assert document["sufficed"] is {COMPLETE: True, LOST: False, UNKNOWN: None}[document["verdict"]]


def test_losses_without_a_count_have_no_number_in_advice_or_table(tmp_path: Path) -> None:
    path = written(tmp_path, MARKED.replace("LOST 2 EVENTS", "LOST EVENTS"))
    said = run("advise", path).stdout
    assert "Nothing tells how much larger" in said
    document = json.loads(run("advise", path, "--json", "--buffer-kb", "64").stdout)
    assert (document["add_kb"], document["sufficient_kb"]) == (None, None)
    assert document["larger"] == "echo 128 > /sys/kernel/tracing/buffer_size_kb"
    (row,) = [line.split() for line in run("scan", path).stdout.splitlines() if line.split()[:1] == ["0"]][:1]
    assert row[3:6] == ["?", "?", "?"]


def test_a_buffer_of_unknown_size_is_never_made_smaller(tmp_path: Path) -> None:
    path = written(tmp_path, MARKED)
    document = json.loads(run("advise", path, "--json").stdout)
    assert (document["add_kb"], document["sufficient_kb"]) == (4, None)
    assert "<SIZE>" in document["larger"]
    assert "the old size and 4 more" in run("advise", path).stdout
    assert "echo 2048 >" in run("advise", path, "--buffer-kb", "1408").stdout


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("trace_cmd_report.txt", "trace-cmd record -b 128 "),
        ("perf_trace_lost.txt", "perf trace -m 256K "),
        ("perf_lost.txt.xz", "perf record -m 128K "),
        ("bpftrace_lost.txt", "BPFTRACE_PERF_RB_PAGES=32 "),
    ],
)
def test_the_way_to_a_larger_buffer_is_the_tracers_own(name: str, way: str) -> None:
    assert f"  {way}" in run("advise", ROOT / "tests" / "data" / name, "--buffer-kb", "100").stdout


def test_overwritten_events_tell_how_much_larger_the_buffer_must_be(tmp_path: Path) -> None:
    path = written(tmp_path, OVERWRITTEN)
    assert "Double it" in run("advise", path).stdout
    assert "echo <SIZE> > /sys" in run("advise", path).stdout
    assert "echo 256 > /sys/kernel/tracing/buffer_size_kb" in run("advise", path, "--buffer-kb", "64").stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-o", "missing/out"], "there is no folder"),
        (["-o", "there"], "exists already"),
        (["-o", "out", "--merged"], "uncompressed text (ftrace"),
    ],
)
def test_what_cant_be_done_is_said_before_the_work(
    tmp_path: Path, options: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    packed = tmp_path / "trace.txt.gz"
    packed.write_bytes(gzip.compress(MARKED.encode()))
    (tmp_path / "there").mkdir()
    monkeypatch.setattr("tracemend.formats.read", lambda *_, **__: pytest.fail("read before it was refused"))
    done = run("mend", packed, *options, cwd=tmp_path)
    assert done.returncode == 1
    assert why in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there", "trace.txt.gz"]
