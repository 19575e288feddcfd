"""Binary traces through the tools that print them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tracemend.errors import TraceError
from tracemend.formats import external, read
from tracemend.formats.base import Options
from tracemend.formats.text import open_binary

DATA = Path(__file__).parents[1] / "data"


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@needs("perf")
def test_perf_data(tmp_path: Path) -> None:
    with open_binary(DATA / "perf_lost.data.xz") as f:
        (tmp_path / "perf.data").write_bytes(f.read())
    packed, plain, text = (
        read(DATA / "perf_lost.data.xz"),
        read(tmp_path / "perf.data"),
        read(DATA / "perf_lost.txt.xz"),
    )
    assert packed.format == plain.format == "perf.data"
    assert packed.table.equals(text.table)
    assert plain.table.equals(text.table)
    assert packed.gaps == plain.gaps == text.gaps
    assert plain.path == tmp_path / "perf.data"
    assert plain.provenance["read_by"] == "perf script --ns --show-lost-events"
    assert plain.provenance["bytes"] == (tmp_path / "perf.data").stat().st_size


@needs("perf")
def test_a_damaged_file_is_told_in_the_tools_words(tmp_path: Path) -> None:
    (tmp_path / "perf.data").write_bytes(b"PERFILE2" + bytes(100))
    with pytest.raises(TraceError, match=r"perf script failed \(\d+\): \S"):
        read(tmp_path / "perf.data")


def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """A made-up tool in front of all others, and a file that only it could read."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / name).write_text("#!/bin/sh\n" + script)
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    path = tmp_path / "trace"
    path.write_bytes(b"PERFILE2" + bytes(9))
    return path


def test_a_tool_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tool(tmp_path, monkeypatch, "perf", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TraceError, match="takes perf, which is not installed"):
        read(path)


def test_the_text_is_read_and_the_command_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tool(
        tmp_path,
        monkeypatch,
        "perf",
        f'[ "$*" = "script --ns --show-lost-events -i {tmp_path / "trace"}" ] || exit 1\n'
        f"cat {DATA / 'perf_syscalls.txt'}",
    )
    assert read(path).table.equals(read(DATA / "perf_syscalls.txt").table)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo first >&2; echo 'the last word' >&2; exit 3", r"trace: perf script failed \(3\): first; the last word"),
        ("exit 3", r"perf script failed \(3\): it gave no reason"),
        ("kill -9 $$", r"perf script failed \(-9\)"),
        ("echo nonsense", r"trace:1: no line of perf script: 'nonsense'"),
        ("head -c 2000000 /dev/zero", "trace:1: a line of more than 1 MiB"),
        ("exit 0", "no events found"),
        ("echo 'it is empty' >&2", "perf script printed no events: it is empty"),
    ],
)
def test_a_tool_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    path = tool(tmp_path, monkeypatch, "perf", script)
    with pytest.raises(TraceError, match=message) as e:
        read(path)
    assert e.value.path == str(path)


def test_a_tool_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tool(tmp_path, monkeypatch, "perf", "exec sleep 60")
    monkeypatch.setattr(external, "PATIENCE", 0.2)
    with pytest.raises(TraceError, match=r"perf script took longer than 0\.2 s"):
        external.PERF.read(path, Options())
