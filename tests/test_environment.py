"""The command line in odd surroundings: closed streams, encodings that can't say everything, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

LOSSY = ROOT / "recordings" / "deploy" / "lossy.txt"
TRACEMEND = f"{sys.executable} -W error -m tracemend"


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, check=False, timeout=120
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("streams", "code"),
    [("<&-", 3), (">&-", 3), ("2>&-", 3), ("<&- >&- 2>&-", 3)],
)
def test_closed_streams(streams: str, code: int) -> None:
    done = shell(f"{TRACEMEND} scan {LOSSY} {streams}")
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    done = shell(f"{TRACEMEND} scan missing {streams}")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_stdin_that_is_closed_holds_no_trace() -> None:
    done = shell(f"{TRACEMEND} scan - <&-")
    assert done.returncode == 1
    assert done.stderr == b"tracemend: -: the file is empty\n"


@pytest.mark.long
def test_what_is_written_never_goes_into_a_file_that_took_a_closed_descriptor(tmp_path: Path) -> None:
    done = shell(f"cd {tmp_path}; {TRACEMEND} mend {LOSSY} -o out --merged --alone --model lookup >&- 2>&-")
    assert done.returncode == 0
    done = shell(f"{TRACEMEND} strip {tmp_path}/out")
    assert done.stdout == LOSSY.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": "/nowhere"},
    ],
    ids=str,
)
def test_any_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "tr\u00e4ce.txt"
    path.write_text("  \u00fcber-7 [000] ..... 1.0: sys_enter: NR 0 (1)\nCPU:0 [LOST 2 EVENTS]\n", encoding="utf-8")
    for words, code in (("scan", 3), (f"mend --alone --model lookup -o {tmp_path}/out", 0)):
        done = shell(f"{TRACEMEND} {words} {path}", **environment)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr


def test_an_interrupt_that_python_can_not_raise_is_not_lost() -> None:
    """As it may come while a module is loaded, within the callback of a weak reference to its lock."""
    lines = [
        "import sys, time, weakref",
        "from tracemend.__main__ import interrupted_again",
        "sys.unraisablehook = interrupted_again",
        "class Lock: pass",
        "def freed(reference): raise KeyboardInterrupt",
        "lock = Lock()",
        "reference = weakref.ref(lock, freed)",
        "try:",
        "    del lock",
        "    time.sleep(5)",
        "    print('went on')",
        "except KeyboardInterrupt:",
        "    print('stopped')",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"stopped\n", b"")


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.2, 0.4])
def test_an_interrupt_at_any_moment(after_s: float) -> None:
    """While the interpreter itself starts there is nothing that could be done about its own words; while it ends, a
    signal ends it."""
    begun = "from tracemend.__main__ import main; import sys; sys.stdout.write('x'); sys.stdout.flush(); main()"
    command = [sys.executable, "-c", begun, "scan", str(LOSSY), "--suspect"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as scanning:
        assert scanning.stdout
        assert scanning.stdout.read(1) == b"x"
        time.sleep(after_s)
        scanning.send_signal(signal.SIGINT)
        _, said = scanning.communicate(timeout=60)
    assert b"Traceback" not in said, said
    assert scanning.returncode in (1, 3, 130, -signal.SIGINT)
