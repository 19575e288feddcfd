"""The commands as a user runs them: exit codes, streams, files, and bad input in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run, run_apart
from conftest import DEMO, ROOT, mostly_long
from heads import head

from tracemend.cli import arguments, mend, terminal
from tracemend.compiled import tell_of_compiling
from tracemend.mending.mended import HYPOTHESES
from tracemend.mending.pieces import Done

LOSSY = """\
            find-2209    [001] .....   307.755149: sys_enter: NR 72 (6, 3, 7ffd, 1000, 5568, 73)
            find-2209    [001] .....   307.755150: sys_exit: NR 72 = 231424
            find-2209    [001] .....   307.755160: sys_enter: NR 3 (6, 2, 1, 1000, 5568, 73)
CPU:1 [LOST 3 EVENTS]
            find-2209    [001] .....   307.755210: sys_enter: NR 3 (6, 2, 1, 1000, 5568, 73)
            find-2209    [001] .....   307.755216: sys_exit: NR 3 = 0
"""  # made up


@pytest.fixture
def lossy(tmp_path: Path) -> Path:
    path = tmp_path / "lossy.txt"
    path.write_text(LOSSY)
    return path


def test_scan_tells_and_exits_with_three(lossy: Path) -> None:
    done = run("scan", lossy)
    assert done.returncode == 3
    assert "Lost: 3 events in 1 gap (" in done.stdout
    document = json.loads(run("scan", lossy, "--json").stdout)
    assert document["lost"] == 3
    assert document["gaps"][0]["line"] == 4
    assert document["gaps"][0]["threads"] == [2209]
    assert document["open_calls"] == [{"gap": 0, "tid": 2209, "comm": "find", "name": "close", "lost": "exit"}]


def test_scan_of_a_complete_trace_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "whole.txt"
    path.write_text("".join(line + "\n" for line in LOSSY.splitlines() if "LOST" not in line))
    done = run("scan", path)
    assert done.returncode == 4, "a call that never returned"
    path.write_text("".join(LOSSY.splitlines(keepends=True)[:3]))
    done = run("scan", path)
    assert done.returncode == 0
    assert "Complete: no loss is marked" in done.stdout


def test_mend_and_strip(lossy: Path, tmp_path: Path) -> None:
    out = tmp_path / "mended"
    done = run("mend", lossy, "-o", out, "--model", "lookup", "--merged", "--perfetto")
    assert done.returncode == 0, done.stderr
    assert "no evidence" in done.stdout
    files = {p.name for p in out.iterdir()}
    assert files == {"overlay.jsonl", "overlay.parquet", "report.html", "merged.txt", "trace.perfetto-trace"}
    header, *events = [json.loads(line) for line in (out / "overlay.jsonl").read_text().splitlines()]
    assert header["gaps"][0]["status"] == "filled"
    assert [e["inferred"] for e in events] == [True] * 3
    assert (events[0]["name"], events[0]["phase"]) == ("close", "exit")  # the open call's own exit
    assert all(307_755_160_000 < e["time_ns"] < 307_755_210_000 for e in events)
    assert lossy.read_text() == LOSSY
    back = tmp_path / "back.txt"
    assert run("strip", out, "-o", back).returncode == 0
    assert back.read_bytes() == lossy.read_bytes()
    assert run("strip", out, "-o", back).returncode == 1
    assert run("strip", out, "-o", back, "--force").returncode == 0
    again = run("scan", out / "merged.txt", "--json")
    assert again.returncode == 3
    assert json.loads(again.stdout)["lost"] == 3
    assert "passed over" in again.stderr


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes(lossy: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("mend", lossy, "-o", tmp_path / name, "--model", "lookup", "--seed", "5").returncode == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.long
def test_hypotheses_are_written_and_shown(lossy: Path, tmp_path: Path) -> None:
    out = tmp_path / "mended"
    done = run("mend", lossy, "-o", out, "--hypotheses", "4")
    assert done.returncode == 0, done.stderr
    assert "4 hypotheses: " in done.stdout
    table = pq.read_table(out / "hypotheses.parquet")
    assert table.schema.remove_metadata() == HYPOTHESES
    assert table["hypothesis"].to_pylist() == [k for k in range(4) for _ in range(3)]
    header = json.loads((out / "overlay.jsonl").read_text().splitlines()[0])
    assert header["options"]["hypotheses"] == 4
    assert 0 <= header["gaps"][0]["agreement"] <= 1
    assert run("mend", lossy, "-o", out, "--force").returncode == 0  # the folder may be replaced, hypotheses and all
    assert not (out / "hypotheses.parquet").exists()
    assert run("mend", lossy, "-o", out, "--force", "--for", "figures").returncode == 0
    header = json.loads((out / "overlay.jsonl").read_text().splitlines()[0])
    assert header["options"]["suits"] == "figures"
    assert not (out / "hypotheses.parquet").exists()  # what was drawn to choose from isn't shown
    refused = run("mend", lossy, "-o", out, "--force", "--hypotheses", "4", "--model", "lookup")
    assert (refused.returncode, refused.stderr) == (1, "tracemend: lookup has no hypotheses, only mosaic has\n")
    assert (out / "overlay.jsonl").exists()


def test_seconds_without_an_end_are_refused(lossy: Path, tmp_path: Path) -> None:
    done = run("mend", lossy, "-o", tmp_path / "out", "--adapt", "inf")
    assert (done.returncode, done.stderr) == (1, "tracemend: adapt must be a number from 0, not inf\n")
    assert not (tmp_path / "out").exists()


def test_existing_output_is_kept_without_force(lossy: Path, tmp_path: Path) -> None:
    out = tmp_path / "mended"
    assert run("mend", lossy, "-o", out, "--model", "lookup").returncode == 0
    before = (out / "overlay.jsonl").read_bytes()
    done = run("mend", lossy, "-o", out, "--model", "lookup", "--seed", "1")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (out / "overlay.jsonl").read_bytes() == before
    assert run("mend", lossy, "-o", out, "--model", "lookup", "--force").returncode == 0


BAD_INPUTS = {
    "empty": b"",
    "garbage": bytes(range(256)) * 40,
    "prose": b"Dear Sir,\nplease find attached, as discussed on Monday: nothing.\n" * 20,
    "time going backwards": LOSSY.replace("307.755216", "301.755216").encode(),
}
#: One line can't be read: it is passed over, or with --strict refused.
DAMAGED: dict[str, bytes] = {
    "truncated line": LOSSY.encode()[:-40],
    "a count beyond reason": LOSSY.replace("LOST 3", "LOST 99999999999999999999").encode(),
}


@pytest.mark.parametrize("command", ["scan", "mend", "advise"])
@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_line_with_file_and_exit_one(tmp_path: Path, name: str, command: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(BAD_INPUTS[name])
    out = tmp_path / "out"
    more: list[str | Path] = ["-o", out, "--model", "lookup"] if command == "mend" else []
    done = run(command, path, *more)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "bad.txt" in done.stderr
    if name == "time going backwards":
        assert "bad.txt:6:" in done.stderr
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


@pytest.mark.parametrize(("name", "line"), [("truncated line", 6), ("a count beyond reason", 4)])
def test_a_malformed_line_is_passed_over_and_told(tmp_path: Path, name: str, line: int) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(DAMAGED[name])
    done = run("scan", path)
    assert done.returncode == 3
    assert f"1 line passed over: line {line}: " in done.stderr
    for command in (["scan"], ["advise"], ["mend", "-o", str(tmp_path / "out")]):
        strict = run(*command, path, "--strict")
        assert (strict.returncode, strict.stdout) == (1, "")
        assert f"bad.txt:{line}: " in strict.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["scan", "nowhere.txt"], 1, "nowhere.txt: no such file"),
        (["advise", "."], 1, "no trace by itself"),
        (["scan"], 2, "TRACE"),
        (["scan", "lossy.txt", "--format", "nonsense"], 2, "one of"),
        (["scan", "lossy.txt", "--arch", "vax"], 2, "one of x86_64"),
        (["mend", "lossy.txt"], 2, "--output"),
        (["mend", "lossy.txt", "-o", "lossy.txt"], 1, "lossy.txt"),
        (["mend", "lossy.txt", "-o", "no/such/parent/out", "--model", "lookup"], 1, "no/such/parent/out"),
        (["mend", "lossy.txt", "-o", "out", "--model", "nowhere"], 1, "unknown model 'nowhere'"),
        (["mend", "lossy.txt", "-o", "out", "--refuse", "7"], 2, "refuse"),
        (["strip", "lossy.txt"], 1, "lossy.txt"),
        (["strip", "nowhere"], 1, "nowhere: no such"),
        (["strip", "/dev/null"], 1, "neither an output folder nor a merged file"),
        (["train", "--corpus", "x", "--split", "y", "-o", "out"], 1, "no split of a corpus"),
        (["scan", "lossy.txt", "--most", "-1"], 2, "most"),
        (["train", "lossy.txt", "-o", "out", "--recipe", "nonsense"], 1, "unknown recipe 'nonsense'"),
        (["train", "lossy.txt", "-o", "out"], 1, "no intact stretch"),
        (["train", "-o", "out"], 2, "TRACES"),
    ],
)
def test_mistakes_are_told(lossy: Path, arguments: list[str], code: int, says: str) -> None:
    done = run(*arguments, cwd=lossy.parent)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (lossy.parent / "out").exists()


def test_advice_has_numbers_and_commands(lossy: Path) -> None:
    done = run("advise", lossy, "--buffer-kb", "8")
    assert done.returncode == 0
    assert "buffer_size_kb" in done.stdout
    advice = json.loads(run("advise", lossy, "--buffer-kb", "8", "--json").stdout)
    assert advice["cpus"][0]["lost"] == 3
    assert advice["cpus"][0]["sufficient_kb"] >= 8


@pytest.mark.parametrize("recipe", mostly_long(["lstm-tiny", "masked-transformer-tiny", "csdi-s4-tiny"]))
def test_train_then_mend_with_the_model(tmp_path: Path, lossy: Path, recipe: str) -> None:
    sample = ROOT / "tests" / "data" / "ftrace_pipe.txt"
    folder = tmp_path / "model"
    tiny = ["--recipe", recipe, "--every", "2"]
    done = run("train", sample, "-o", folder, "--steps", "4", *tiny, "--validate", sample)
    assert done.returncode == 0, done.stderr
    assert {"recipe.json", "vocabulary.json", "weights.safetensors", "log.jsonl"} <= {p.name for p in folder.iterdir()}
    assert run("train", sample, "-o", folder, "--steps", "4", *tiny).returncode == 1
    assert run("train", sample, "-o", folder, "--steps", "4", *tiny, "--resume").returncode == 0
    for asked, has in ((["--steps", "9"], "steps 4, not 9"), (["--seed", "1"], "seed 0, not 1")):
        done = run("train", sample, "-o", folder, "--resume", *asked)
        assert (done.returncode, has in done.stderr, done.stderr.count("\n")) == (1, True, 1)
    done = run("mend", lossy, "-o", tmp_path / "out", "--model", folder)
    assert done.returncode == 0, done.stderr
    header = json.loads((tmp_path / "out" / "overlay.jsonl").read_text().splitlines()[0])
    assert header["model"] == f"mosaic + {recipe}"
    assert len(header["model_sha256"]) == 64


@pytest.mark.long
@pytest.mark.parametrize("command", [["formats"], ["scan"], ["strip"]])
def test_a_full_disk_behind_stdout_is_one_line(lossy: Path, tmp_path: Path, command: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    target = {"formats": [], "scan": [str(lossy)], "strip": [str(tmp_path / "m")]}[command[0]]
    if command == ["strip"]:
        assert run("mend", lossy, "-o", tmp_path / "m", "--model", "lookup").returncode == 0
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tracemend", *command, *target], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().strip() == "tracemend: stdout: No space left on device"


def test_training_of_what_is_not_known_is_one_line(tmp_path: Path) -> None:
    sample = ROOT / "tests" / "data" / "ftrace_pipe.txt"
    for extra, message in {
        ("--recipe", "unet"): "unknown recipe 'unet'; one of masked-transformer",
        ("--device", "abacus"): "no device 'abacus' here",
    }.items():
        done = run("train", sample, "-o", tmp_path / "m", *extra)
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_lists() -> None:
    assert "ftrace" in run("formats").stdout
    assert "masked-transformer" in json.loads(run("recipes", "--json").stdout)
    assert run("--version").stdout.startswith("tracemend ")


def commonest(trace: Path, path: Path) -> Path:
    """A made-up recording of the call that a trace has most, over and over."""
    calls = Counter(re.findall(r"sys_enter: (NR -?\d+)", trace.read_text()))
    ((call, _),) = calls.most_common(1)
    with open(path, "w") as file:
        for time in range(1000, 5000, 2):
            print(f"find-2209 [001] ..... 307.{time:06}: sys_enter: {call} (6, 3, 7ffd, 1000, 5568, 73)", file=file)
            print(f"find-2209 [001] ..... 307.{time + 1:06}: sys_exit: {call} = 0", file=file)
    return path


def evaluated(folder: Path, *known: Path) -> None:
    """Menders side by side on a pair: what knows other runs finds what is commonest likelier than the truth."""
    both = (folder / "lossy.txt", folder / "complete.txt.xz")
    done = run("evaluate", *both, "--model", "lookup", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rows = {r["mender"]: r for r in told["rows"] if r["length"] == "all"}
    assert rows["lookup"]["accuracy"] > rows["copy"]["accuracy"]
    figures = told["figures"]
    assert (*list(figures)[:2], list(figures)[-1]) == ("left open", "scaled", "mosaic + examples, draws")
    assert all({"call calls", "thread calls", "call time_ns"} <= set(far) for far in figures.values())
    assert figures["mosaic + examples, draws"]["call calls"] < figures["left open"]["call calls"]
    answer = told["answer"]
    right = rows["lookup + examples"]["event_accuracy"] * answer["lost"]
    assert (answer["mender"], answer["right"]) == ("lookup + examples", pytest.approx(right, abs=1))
    assert "call calls" in answer["nearer"]
    assert set(answer["nearer"]) <= set(answer["compared"])
    held_out = [word for path in known for word in ("--held-out", path)]
    done = run("evaluate", *both, "--model", "lookup", *held_out)
    assert done.returncode == 0, done.stderr
    bits = {line.strip().split("  ")[0]: line.split() for line in done.stdout.splitlines() if line.count("%") == 5}
    truth = next(line for line in done.stdout.splitlines() if line.strip().startswith("the truth"))
    assert float(bits["most frequent"][-2]) < float(truth.split()[-1]) < float(bits["copy"][-2])
    lines = done.stdout.splitlines()
    assert max(map(len, lines[1:])) <= 120
    assert re.match(
        rf"{answer['right']:,} of {answer['lost']:,} lost events \([\d.]+ %\) came back right, and in ", lines[0]
    )
    assert "Nearest in calls by call: " in done.stdout
    none = run("evaluate", both[1], both[1], "--model", "lookup")
    assert (none.returncode, none.stdout.startswith("Nothing was lost"), "0 gaps" in none.stdout) == (0, True, True)
    swapped = run("evaluate", both[1], both[0], "--model", "lookup")
    assert swapped.returncode == 1
    assert len(swapped.stderr.strip().splitlines()) == 1


@pytest.mark.long
def test_evaluate_on_what_the_demonstration_begins_with(tmp_path: Path) -> None:
    folder = head("deploy", 1800, tmp_path / "pair")
    known = head("shell", 1200, tmp_path / "known") / "lossy.txt"
    evaluated(folder, known, commonest(folder / "lossy.txt", tmp_path / "commonest.txt"))


@pytest.mark.long
@pytest.mark.skipif(not DEMO.is_dir(), reason="recordings/deploy isn't there")
def test_evaluate_on_the_demonstration() -> None:
    evaluated(DEMO, DEMO.parent / "shell" / "lossy.txt")


@pytest.mark.long
def test_commands_run_as_processes_and_warn_of_nothing(lossy: Path, tmp_path: Path) -> None:
    """The network that ships with the package takes part: so does all that it imports."""
    assert run_apart("scan", lossy).returncode == 3
    done = run_apart("mend", lossy, "-o", tmp_path / "out", "--model", "default", "--adapt", "0")
    assert done.returncode == 0, done.stderr
    assert run_apart("strip", tmp_path / "out").stdout == LOSSY


def test_a_line_now_and_then_says_that_work_goes_on(lossy: Path, tmp_path: Path) -> None:
    done = run("mend", lossy, "-o", tmp_path / "out", often=0.001)
    assert done.returncode == 0
    assert re.search(r"^mending: (.*, )?0 s$", done.stderr, re.MULTILINE), done.stderr


def test_how_long_a_mend_takes_is_told_once_and_before_most_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, now = tmp_path / "trace", 0
    trace.write_bytes(bytes(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(now))
    for quiet in (False, True):
        far = mend._told(lambda done, total, note="": None, trace, quiet, False)
        for now in range(0, 100, 2):
            far(Done(now, 0, 0, now, found=(50, 3, 500)))
    assert (
        capsys.readouterr().err == "about 16 minutes to go for 100 events in 6 gaps, by the first 50 % of the trace\n"
    )
    assert mend.estimate(20, Done(1, 80_998, 364), 1000) == "about 20 s to go for 80,998 events in 364 gaps"


def test_that_loops_are_compiled_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    run("formats")
    for expected in ("tracemend: compiling loops for this machine, once; half a minute\n", ""):
        tell_of_compiling()
        assert capsys.readouterr().err == expected


def test_what_comes_before_the_first_step_is_not_taken_for_its_pace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index is made once, and the first of many events waits for it."""
    clock, told = iter((60.0, 61.0)), threading.Event()
    monkeypatch.setattr(terminal, "working_time", lambda: next(clock, 61.0))
    monkeypatch.setattr(terminal, "OFTEN", 0.01)
    monkeypatch.setattr(sys.stderr, "flush", told.set)
    with terminal.progress("mending") as update:
        update(10, 100)
        update(20, 100)
        told.clear()
        assert told.wait(10)
    assert "20 of 100, 0 s, about 8 s left" in capsys.readouterr().err


def test_pieces_of_work_that_follow_each_other_are_one_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now, silence = 100.0, terminal._Silence()
    monkeypatch.setattr("time.monotonic", lambda: now)
    silence.begin()
    now = 106.0
    silence.end()
    now = 106.5
    silence.begin()
    assert silence.left() == terminal.OFTEN - 6.5
    now = 108.0
    silence.end()
    now = 120.0
    silence.begin()
    assert silence.left() == terminal.OFTEN


def test_what_has_no_known_end_says_how_far_it_is() -> None:
    assert terminal._far(*arguments.in_bytes(3 << 20, 9 << 20)) == "3 of 9 MiB"
    assert terminal._far(*arguments.in_bytes(3 << 20, 1 << 20)) == "3 MiB"


def test_work_that_is_soon_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.OFTEN >= 1
    with terminal.progress("mending") as update:
        update(1, 2)
    assert capsys.readouterr().err == ""
