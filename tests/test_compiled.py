"""Compiled loops: kept on disk where that can be, and told of where it takes a while."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
from tracemend.compiled import before_compiling, compiled
before_compiling(lambda: print("compiling"))
from loops import twice, thrice
print(twice(3), thrice(3))
"""
LOOPS = """
from tracemend.compiled import compiled
@compiled
def twice(x): return 2 * x
@compiled
def thrice(x): return 3 * x
"""


def run(folder: Path, home: Path) -> list[str]:
    environment = {"PYTHONPATH": str(folder), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, cwd=home
    )
    return done.stdout.splitlines()


@pytest.mark.long
def test_what_was_compiled_is_kept_and_compiling_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(LOOPS)
    assert run(tmp_path, tmp_path) == ["compiling", "6 9"]
    assert run(tmp_path, tmp_path) == ["6 9"]


def test_a_clock_stands_still_while_loops_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracemend import compiled

    now = 100.0
    heard: list[tuple[bool, float]] = []
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(compiled, "_spent", compiled._Spent())
    compiled.while_compiling(lambda begins: heard.append((begins, now)))
    from numba.core import event

    compiled._listen()
    with event.trigger_event("numba:compile"):
        now = 103.0
        assert compiled.working_time() == 100.0
        with event.trigger_event("numba:compile"):  # one that the first one calls
            now = 107.0
    now = 108.0
    assert compiled.working_time() == 101.0
    compiled.tell_of_compiling(0.5)
    assert compiled.working_time() == 100.5
    assert heard == [(True, 100.0), (False, 107.0)]
    compiled.while_compiling(lambda begins: None)


def test_where_nothing_can_be_kept_it_is_compiled_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from tracemend.compiled import compiled

    plain: Any = numba.njit

    def refusing(*function: Any, **options: Any) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return plain(*function, **options)

    monkeypatch.setattr(numba, "njit", refusing)

    def more(x: int) -> int:
        return x + 1

    assert compiled(more)(1) == 2
