"""Files and folders appear whole or not at all, and nothing of anybody else's goes."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import run
from conftest import ROOT

from tracemend import whole
from tracemend.whole import whole_file, whole_folder


def test_a_signal_leaves_nothing_behind(tmp_path: Path) -> None:
    lines = (ROOT / "recordings" / "deploy" / "lossy.txt").read_text().splitlines(keepends=True)
    (tmp_path / "trace.txt").write_text("".join(lines[:4000]))
    command = [sys.executable, "-m", "tracemend", "mend", "trace.txt", "-o", "out", "--alone", "--perfetto", "--merged"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as mending:
        deadline = time.monotonic() + 120
        while mending.poll() is None and not any(p.name.startswith(".out.") for p in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        mending.terminate()
    assert {p.name for p in tmp_path.iterdir()} <= {"trace.txt", "out"}


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    left = tmp_path / f".out.{platform.node()}.{gone.pid}.01234567"
    others = tmp_path / f".out.{platform.node()}.{os.getpid()}.01234567"
    left.mkdir()
    others.mkdir()
    with whole_folder(tmp_path / "out") as work:
        (work / "file").write_text("x")
    assert {p.name for p in tmp_path.iterdir()} == {"out", others.name}


def fill(folder: Path, words: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(words)


@pytest.fixture(params=[True, False], ids=["renameat2", "two steps"])
def renaming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's call that renames at one stroke, and as where it is missing."""
    if not request.param:
        monkeypatch.setattr("tracemend.whole.sys.platform", "another system")


@pytest.mark.usefixtures("renaming")
def test_a_folder_that_turns_up_meanwhile_stays_and_ours_lies_beside_it(tmp_path: Path) -> None:
    def written() -> None:
        with whole_folder(tmp_path / "out", may_go=lambda: False) as work:
            fill(work, "ours")
            fill(tmp_path / "out", "theirs")
            fill(tmp_path / "out-1", "taken")

    with pytest.raises(FileExistsError, match=r"lies in .*out-2"):
        written()
    assert {p.name: (p / "file").read_text() for p in tmp_path.iterdir()} == {
        "out": "theirs",
        "out-1": "taken",
        "out-2": "ours",
    }


@pytest.mark.usefixtures("renaming")
def test_what_may_go_is_exchanged(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with whole_folder(tmp_path / "out") as work:
        fill(work, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "new"


def test_two_runs_into_one_output(tmp_path: Path) -> None:
    """Whoever is first has it; the other one says where its result lies."""
    shutil.copy(ROOT / "recordings" / "shell" / "lossy.txt", tmp_path / "trace.txt")
    command = [sys.executable, "-m", "tracemend", "mend", "trace.txt", "-o", "out", "--alone", "--model", "lookup"]
    runs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=240)[1] for process in runs]
    assert sorted(process.returncode for process in runs) == [0, 1]
    (refused,) = (s for s, process in zip(said, runs, strict=True) if process.returncode)
    names = {p.name for p in tmp_path.iterdir()}
    if "lies in" in refused:
        assert names == {"trace.txt", "out", "out-1"}
    else:  # the first one had ended before the other one began
        assert "exists already" in refused
        assert names == {"trace.txt", "out"}


def test_an_error_of_the_system_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError) as e:  # noqa: PT011 (its number is what matters)
        whole._rename(tmp_path / "missing", tmp_path / "out", whole.NOREPLACE)
    assert e.value.errno == errno.ENOENT


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, kind: str) -> None:
    """As /dev/null would be, for root."""
    there = tmp_path / "there"
    os.mkfifo(there) if kind == "pipe" else there.mkdir()
    before = there.lstat()
    with pytest.raises(FileExistsError, match="is there and no file"), whole_file(there) as file:
        file.write(b"new")
    assert os.path.samestat(there.lstat(), before)
    there.rmdir() if kind == "folder" else there.unlink()
    with pytest.raises(FileExistsError, match="is there and no file"), whole_file(there) as file:
        os.mkfifo(there)  # while it was written
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
    assert there.is_fifo()


@pytest.mark.parametrize("arguments", [("figures", "{trace}", "-o"), ("strip", "{mended}", "-o")])
def test_no_command_replaces_a_pipe(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    mended, pipe = tmp_path / "mended", tmp_path / "pipe"
    trace = ROOT / "recordings" / "shell" / "lossy.txt"
    os.mkfifo(pipe)
    if "{mended}" in arguments:
        made = run("mend", trace, "-o", mended, "--merged", "--model", "lookup", "--alone", "--quiet")
        assert made.returncode == 0
    done = run(*(a.format(trace=trace, mended=mended) for a in arguments), pipe, "--force", "--quiet")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert pipe.is_fifo()
