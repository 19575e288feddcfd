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
import threading
import time
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from commands import handlers_kept, run, stream, text
from conftest import DEMO
from heads import head

from tracemend.cli.app import VERBS, command_line, main
from tracemend.cli.help import EXAMPLES, SHORT
from tracemend.cli.terminal import BOLD, painted

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def stopped(*arguments: str | Path, when: str) -> tuple[int, str]:
    """A command on a terminal of its own, where Ctrl-C is typed as soon as it says ``when``: how it ends, and all that
    it says."""
    command = [sys.executable, "-m", "tracemend", *map(str, arguments)]
    child, fd = pty.fork()
    if not child:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm"})
    said, typed, end = b"", False, time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([fd], [], [], 1)[0]:
            try:
                said += os.read(fd, 1 << 16)
            except OSError:  # the other side is closed
                break
        if not typed and when.encode() in said:
            typed = bool(os.write(fd, b"\x03"))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(fd)
    return code, said.decode()


def on_terminal(*arguments: str | Path, columns: int, **environment: str) -> tuple[int, str]:
    """A command whose stdout is a terminal so wide: how it ends, and what the terminal gets."""
    terminal, here = pty.openpty()
    fcntl.ioctl(here, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    said: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other side is closed
            while block := os.read(terminal, 1 << 16):
                said.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    with mock.patch.dict(os.environ, {**known, "TERM": "xterm", **environment}, clear=True):
        code, _ = writing_to(here, *arguments)
    reader.join()
    os.close(terminal)
    return code, b"".join(said).decode()


def writing_to(stdout: int, *arguments: str | Path) -> tuple[int, str]:
    """A command in this process with such a stdout, which is closed then: how it ends, and what it says on stderr."""
    words = ["tracemend", *map(str, arguments)]
    with open(stdout, "w") as file, stream() as stderr, handlers_kept():
        with mock.patch.multiple(sys, argv=words, stdout=file, stderr=stderr), pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), text(stderr)


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
    _, said = on_terminal("scan", out.parent / "lossy.txt", columns=60, NO_COLOR="1")
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


@pytest.mark.long
def test_ctrl_c_is_one_line_with_workers_starting_or_at_work(tmp_path: Path) -> None:
    mend = ("mend", DEMO / "lossy.txt", "-o", tmp_path / "out", "--jobs", "2")
    for when in ("preparing", "mending"):
        code, said = stopped(*mend, when=when)
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
    for words, code in (
        (["-h"], 0),
        (["formats"], 0),
        (["show", out, "--gap", "0"], 0),
        (["strip", out], 0),
        (["advise", lossy, "--json"], 0),
        (["scan", lossy], 3),
        (["scan", lossy, lossy, "--json"], 3),
    ):
        nobody, here = os.pipe()
        os.close(nobody)
        assert writing_to(here, *words) == (code, ""), words


@pytest.mark.long
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
    with mock.patch("shellingham.detect_shell", return_value=("bash", "/bin/bash")):
        assert "_TRACEMEND_COMPLETE=complete_bash" in run("--show-completion").stdout
    for typed, found in (("tracemend sh", ["show"]), ("tracemend show --hyp", ["--hypotheses"])):
        asked = {"_TRACEMEND_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        command = [sys.executable, "-m", "tracemend"]
        done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
        assert done.stdout.split() == found


def test_only_the_verb_that_is_asked_for_is_put_together() -> None:
    assert [c.callback and c.callback.__name__ for c in command_line("scan").registered_commands] == ["scan"]
    assert not command_line("scan").registered_groups
    for asked in ("", "library", "scn"):
        line = command_line(asked)
        assert len(line.registered_commands) == sum(map(len, VERBS.values()))
        assert len(line.registered_groups) == 2
