"""babeltrace2's filter of inferred events, in graphs of babeltrace2's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from babeltrace import python_of_babeltrace
from commands import run
from made_up import KERNEL
from test_outputs_ctf import contents, kernel, mended, record

from tracemend.formats import read
from tracemend.menders import Lookup
from tracemend.mending.mended import Mended
from tracemend.mending.run import mend_trace
from tracemend.outputs import write
from tracemend.outputs.ctf import PLUGIN_FOLDER

JUDGE = Path(__file__).parent / "filter_judge.py"
Message = dict[str, Any]


def messages(trace: Path, *params: Any) -> tuple[list[list[Message]], list[list[str]]]:
    """Of each run (None: without the filter) all messages, and the lines on stderr that are the filter's."""
    command: list[str | Path] = [python_of_babeltrace(), JUDGE, PLUGIN_FOLDER, trace, *map(json.dumps, params)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[Message]] = [[] for _ in params]
    for line in map(json.loads, done.stdout.splitlines()):
        found[line.pop("run")].append(line)
    said: list[list[str]] = []
    for text in done.stderr.splitlines():
        if text.startswith("run "):
            said.append([])
        elif "tracemend" in text or "Traceback" in text:
            said[-1].append(text)
    return found, said


def is_added(message: Message) -> bool:
    return bool(message.get("stream") == "tracemend_inferred" or "tracemend_inferred" in (message.get("context") or {}))


def as_number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) else text


def assert_filtered(made: Mended, folder: Path) -> None:
    """All messages as they were, in order, and between them the overlay's events in order of time."""
    assert made.trace.path is not None
    before = contents(made.trace.path)
    write(made, folder)
    (plain, filtered), said = messages(made.trace.path, None, {"overlay": str(folder)})
    assert [m for m in filtered if not is_added(m)] == plain
    assert said == [[], []]
    added = [m for m in filtered if is_added(m)]
    kinds = [m["kind"] for m in added]
    assert kinds[0] == "_StreamBeginningMessageConst"
    assert kinds[-1] == "_StreamEndMessageConst"
    rows = sorted(made.inferred.to_pylist(), key=lambda r: r["time_ns"])
    spelled = {"enter": "syscall_entry_", "exit": "syscall_exit_", "instant": ""}
    expected = [
        {
            "ns": r["time_ns"],
            "name": spelled[r["phase"]] + r["name"],
            "context": {
                "tracemend_inferred": 1,
                "tracemend_fields_inferred": len(r["fields"]),
                "tracemend_confidence": pytest.approx(r["confidence"], abs=1e-4),
                "tracemend_gap": r["gap"],
                "cpu_id": r["cpu"],
                "tid": r["tid"],
                "procname": r["comm"] or "<...>",
            },
            "fields": [
                {"tracemend_fields": {k: pytest.approx(v["confidence"], abs=1e-4) for k, v in r["fields"]}},
                {k: as_number(v["value"]) for k, v in r["fields"]},
            ]
            if r["fields"]
            else [None, None],
        }
        for r in rows
    ]
    assert [{k: m[k] for k in ("ns", "name", "context", "fields")} for m in added[1:-1]] == expected
    times = [m["ns"] for m in filtered if m["ns"] is not None]
    assert (times == sorted(times)) == ((t := [m["ns"] for m in plain if m["ns"] is not None]) == sorted(t))
    assert contents(made.trace.path) == before


@pytest.mark.parametrize("seed", range(3))
def test_made_up_traces(tmp_path: Path, seed: int) -> None:
    made = mended(record(kernel(), tmp_path / "trace", seed=seed), seed=seed, names=KERNEL)
    assert made.inferred.num_rows
    assert_filtered(made, tmp_path / "out")


@pytest.mark.long
def test_a_real_recording(lttng_recordings: dict[str, Path], tmp_path: Path) -> None:
    made = mend_trace(read(lttng_recordings["discard"]), copier=Lookup)
    assert made.inferred.num_rows == made.trace.lost > 0
    assert_filtered(made, tmp_path / "out")


def test_whatever_is_wrong_the_trace_goes_through(tmp_path: Path) -> None:
    """One line on stderr says what, but for an overlay without events, which is none to complain of."""
    trace = record(kernel(), tmp_path / "trace")
    write(mended(trace), tmp_path / "out")
    head, first, *rest = (tmp_path / "out" / "overlay.jsonl").read_text().splitlines()
    row = json.loads(first)

    def overlay(name: str, *lines: str) -> dict[str, str]:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(line + "\n" for line in lines))
        return {"overlay": str(path)}

    wrong: dict[str, tuple[Any, str]] = {
        "none": ({}, "parameter overlay is missing"),
        "nowhere": ({"overlay": str(tmp_path / "nowhere")}, "nowhere: No such file"),
        "number": ({"overlay": 7}, "7: No such file"),
        "folder": ({"overlay": str(trace)}, "trace/overlay.jsonl: No such file"),
        "empty": (overlay("empty"), "the file is empty"),
        "prose": (overlay("prose", "Dear Sir,"), "prose.jsonl:1: no overlay"),
        "binary": ({"overlay": str(trace / "stream_0")}, "stream_0:1: no overlay"),
        "deep": (overlay("deep", head, "[" * 100_000), "deep.jsonl:2: not an event"),
        "cut": (overlay("cut", head, first, rest[0][:20]), "cut.jsonl:3: not an event"),
    }
    for key, value in {
        "time_ns": 1 << 64,
        "tid": "x",
        "gap": -1,
        "confidence": float("nan"),
        "inferred": False,
        "comm": "a\0b",
        "phase": "never",
        "name": None,
        "fields": [{"name": "pid", "value": 7, "confidence": 0.5}],
    }.items():
        bad = json.dumps(row | {key: value})
        wrong[key] = overlay(key, head, *rest, bad), f"{key}.jsonl:{len(rest) + 2}: not an event"
    (plain, header_only, *others), (_, nothing, *said) = messages(
        trace, None, overlay("header", head), *(params for params, _ in wrong.values())
    )
    assert any(m["kind"] == "_EventMessageConst" for m in plain)
    assert header_only == plain
    assert nothing == []
    for name, (_, why), found, lines in zip(wrong, wrong.values(), others, said, strict=True):
        assert found == plain, name
        assert len(lines) == 1, name
        assert lines[0].startswith("filter.tracemend.mend: ")
        assert why in lines[0]
        assert lines[0].endswith("; no inferred events")


def test_an_overlay_of_another_trace_leaves_the_recorded_messages_as_they_are(tmp_path: Path) -> None:
    trace = record(kernel(), tmp_path / "trace", seed=1)
    write(mended(record(kernel(), tmp_path / "other", seed=2)), tmp_path / "out")
    (plain, filtered), _ = messages(trace, None, {"overlay": str(tmp_path / "out")})
    assert [m for m in filtered if not is_added(m)] == plain
    assert len(filtered) > len(plain)


def test_the_command_says_where_the_plugin_is(tmp_path: Path) -> None:
    done = run("babeltrace")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in Path(done.stdout.strip()).glob("bt_plugin_*.py")] == ["bt_plugin_tracemend.py"]
    python = python_of_babeltrace()
    code = "import bt2, sys; print(*(list(p.filter_component_classes) for p in bt2.find_plugins_in_path(sys.argv[1])))"
    found = subprocess.run([python, "-c", code, done.stdout.strip()], capture_output=True, text=True, check=False)
    if "mend" not in found.stdout:
        provider = "LIBBABELTRACE2_PLUGIN_PROVIDER_DIR"
        if provider in os.environ:
            pytest.fail(f"${provider} is set, and babeltrace2 doesn't find the plug-in: {found.stderr}")
        pytest.skip(
            "babeltrace2's provider of Python plug-ins is not installed (libbabeltrace2-python-plugin-provider)"
        )
    trace = record(kernel(), tmp_path / "trace")
    made = mended(trace)
    write(made, tmp_path / "out")
    show = ["babeltrace2", f"--plugin-path={done.stdout.strip()}", str(trace)]
    asked = ["--component=mend:flt.tracemend.mend", f'--params=overlay="{tmp_path / "out"}"']
    shown = subprocess.run([*show, *asked], capture_output=True, text=True, check=True).stdout.splitlines()
    plain = subprocess.run(["babeltrace2", str(trace)], capture_output=True, text=True, check=True).stdout.splitlines()
    recorded = [line for line in shown if "tracemend_inferred = 1" not in line]
    assert len(shown) - len(recorded) == made.inferred.num_rows > 0
    assert len(recorded) == len(plain) > 0
