"""The command line on a terminal: its width, its colours, Ctrl-C; pipes that end; help, completion, what it prints."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from commands import run
from conftest import DEMO
from heads import head

from tracemend.cli.app import VERBS
from tracemend.cli.help import EXAMPLES, SHORT
from tracemend.cli.terminal import BOLD, painted

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    *arguments: str | Path, columns: int = 80, until: str = "", environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """The exit code, and everything that a terminal of this width is told. As soon as it was told ``until``, Ctrl-C is
    typed."""
    command = [sys.executable, "-m", "tracemend", *map(str, arguments)]
    child, fd = pty.fork()
    if not child:
        time.sleep(0.05)  # until the width is set
        known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        os.execve(command[0], command, {**known, "TERM": "xterm", **environment})  # and nothing that readline adds
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    said, typed, end = b"", False, time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([fd], [], [], 1)[0]:
            try:
                said += os.read(fd, 1 << 16)
            except OSError:  # the other side is closed
                break
        if until and not typed and until.encode() in said:
            typed = bool(os.write(fd, b"\x03"))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(fd)
    return code, said.decode()


def lines_of(said: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", CODES.sub("", said)) if line.strip()]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the beginning of a real recording was mended into, beside it."""
    folder = head("deploy", 1800, tmp_path_factory.mktemp("trace") / "pair")
    assert run("mend", folder / "lossy.txt", "-o", folder / "out", "--alone", "--no-figures").returncode == 0
    return folder / "out"


def test_tables_have_the_terminals_width_and_colours(out: Path) -> None:
    code, said = on_terminal("show", out, "--gap", "0", columns=60)
    assert code == 0
    told = lines_of(said)
    events = [line for line in told if re.search(r"\d\.\d{6} ", line)]
    assert len(events) == 10 + 40
    assert 40 < max(map(len, events)) <= 60
    assert len(re.findall("\x1b\\[36m┆", said)) == 40
    _, said = on_terminal("scan", out.parent / "lossy.txt", columns=60, environment={"NO_COLOR": "1"})
    tables = [line for line in lines_of(said) if re.match(r" *\d+ ", line) or "lost over time" in line]
    assert len(tables) >= 5
    assert max(map(len, tables)) <= 60
    assert not re.search(r"\x1b\[[0-9;]*m", said)


def test_colours_are_for_terminals_that_want_them(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not CODES.search(run("show", out).stdout)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for terminal, seen in (("xterm", "\x1b[1mx\x1b[0m"), ("dumb", "x")):
        monkeypatch.setenv("TERM", terminal)
        assert painted("x", BOLD) == seen


def test_ctrl_c_is_one_line_with_workers_starting_or_at_work(tmp_path: Path) -> None:
    mend = ("mend", DEMO / "lossy.txt", "-o", tmp_path / "out", "--jobs", "2")
    for when in ("preparing", "mending"):
        code, said = on_terminal(*mend, until=when)
        assert code == 130
        assert "Traceback" not in said
        told = [line for line in lines_of(said) if "tracemend: " in line]
        assert len(told) == 1, said
        assert "stopped" in told[0]
        assert lines_of(said)[-1] == told[0].replace("^C", "")
    assert not (tmp_path / "out").exists()


def test_who_has_seen_enough_ends_a_command_quietly(out: Path) -> None:
    """``scan`` still says what it found."""
    lossy = out.parent / "lossy.txt"
    commands = {"formats": 0, f"strip {out}": 0, f"scan {lossy}": 3}
    script = "".join(f"{sys.executable} -m tracemend {c} | true; echo ${{PIPESTATUS[0]}}\n" for c in commands)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == [str(code) for code in commands.values()]
    assert done.stderr == ""


def test_help_has_groups_examples_and_exit_codes() -> None:
    said = run("-h").stdout
    assert said == run("--help").stdout
    places = [said.index(f"\n{group}:\n") for group in VERBS]
    assert places == sorted(places)
    assert "Exit codes:\n    0    done" in said
    for verbs in VERBS.values():
        for verb in verbs:
            assert re.search(rf"^  {verb.__name__} +{re.escape(SHORT[verb.__name__])}$", said, re.M)
            one = run(verb.__name__, "-h")
            assert (one.returncode, one.stderr) == (0, "")
            assert one.stdout.startswith(f"Usage: tracemend {verb.__name__} ")
            for typed in EXAMPLES.get(verb.__name__, {}):
                assert f"    {typed}\n" in one.stdout
    assert max(map(len, run("-h").stdout.splitlines())) <= 80


def test_shells_complete_commands_and_options() -> None:
    assert "_TRACEMEND_COMPLETE=complete_bash" in run("--show-completion", "bash").stdout
    for typed, found in (("tracemend sh", ["show"]), ("tracemend show --hyp", ["--hypotheses"])):
        asked = {"_TRACEMEND_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        command = [sys.executable, "-m", "tracemend"]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
        assert done.stdout.split() == found
