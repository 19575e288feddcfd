from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from made_up import RAW, mended

from tracemend.errors import OptionError, OutputError
from tracemend.mending.mended import Mended
from tracemend.outputs import DEFAULT, OUTPUTS, overlay, read_overlay, write

ALL = tuple(OUTPUTS)


def copy_of_raw(folder: Path) -> Path:
    path = folder / "trace.txt"
    path.write_bytes(RAW.read_bytes())
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.long
def test_the_folder_holds_what_was_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = write(mended(), out, DEFAULT)
    assert names(out) == ["overlay.jsonl", "overlay.parquet", "report.html"]
    assert sorted(paths) == sorted(out.iterdir())
    write(mended(), tmp_path / "all", ALL)
    assert names(tmp_path / "all") == [*names(out)[:0], "merged.txt", *names(out), "trace.perfetto-trace"]
    assert names(tmp_path) == ["all", "out"]


def test_the_overlay_is_always_there(tmp_path: Path) -> None:
    write(mended(), tmp_path / "out", ())
    assert names(tmp_path / "out") == ["overlay.jsonl", "overlay.parquet"]


def test_the_same_seed_gives_the_same_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write(mended(seed=5, statuses=("filled", "refused", "left")), tmp_path / name, ALL)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_the_input_stays_as_it_is(tmp_path: Path) -> None:
    source = copy_of_raw(tmp_path)
    before = source.stat()
    write(mended(source), tmp_path / "out", ALL)
    after = source.stat()
    assert source.read_bytes() == RAW.read_bytes()
    assert (before.st_mtime_ns, before.st_mode, before.st_ino) == (after.st_mtime_ns, after.st_mode, after.st_ino)


def test_the_files_have_the_usual_permissions(tmp_path: Path) -> None:
    write(mended(), tmp_path / "out")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_unknown_output(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown output 'pdf'; one of overlay, report, merged, perfetto"):
        write(mended(), tmp_path / "out", ("pdf",))


# What is there already ---------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_existing_folder_stays_without_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(mended(seed=1), out)
    with pytest.raises(OutputError, match="exists already"):
        write(mended(seed=2), out)
    assert read_overlay(out)[0]["seed"] == 1


def test_force_replaces_an_output_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(mended(seed=1), out, ALL)
    write(mended(seed=2), out, force=True)
    assert read_overlay(out)[0]["seed"] == 2
    assert names(out) == ["overlay.jsonl", "overlay.parquet", "report.html"]
    assert names(tmp_path) == ["out"]


def test_force_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(mended(), tmp_path / "out", force=True)
    assert read_overlay(tmp_path / "out")[1].num_rows


@pytest.mark.parametrize(
    ("held", "why"),
    [({"letter.txt": b"dear"}, "is no output folder"), ({"overlay.jsonl": b"{}\n"}, "is no output folder")],
)
def test_force_never_deletes_anything_else(tmp_path: Path, held: dict[str, bytes], why: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, content in held.items():
        (out / name).write_bytes(content)
    with pytest.raises(OutputError, match=why):
        write(mended(), out, force=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == held


def test_force_leaves_an_output_folder_with_something_of_the_user_s(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(mended(), out)
    (out / "notes.md").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.md"):
        write(mended(), out, force=True)
    assert (out / "notes.md").read_text() == "mine"


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="not a folder"):
        write(mended(), tmp_path / "out", force=True)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_the_input_is_never_the_output(tmp_path: Path, force: bool) -> None:
    source = copy_of_raw(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for out in (source, tmp_path, tmp_path.parent, link, source / "out", tmp_path / "x" / ".."):
        with pytest.raises(OutputError, match="choose another folder"):
            write(mended(source), out, force=force)
    assert source.read_bytes() == RAW.read_bytes()
    assert names(tmp_path) == ["link", "trace.txt"]


# Failures ----------------------------------------------------------------------------------------------------------


def test_a_missing_parent_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder") as e:
        write(mended(), tmp_path / "a" / "b")
    assert "\n" not in str(e.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("there", [False, True])
def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, there: bool) -> None:
    """Whichever of the fsyncs fails, the folder is absent, or as it was; the last one comes after the renaming."""
    out = tmp_path / "out"
    if there:
        write(mended(seed=1), out)
    calls = iter(range(99))
    real = os.fsync

    def failing(fd: int) -> None:
        if next(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OutputError, match="No space left on device"):
        write(mended(seed=2), out, ("overlay", "perfetto", "report"), force=True)
    assert names(tmp_path) == (["out"] if there or at == 5 else [])
    assert not there or read_overlay(out)[0]["seed"] == (2 if at == 5 else 1)


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(made: Mended, folder: Path) -> list[Path]:
        overlay.write(made, folder)
        raise KeyboardInterrupt

    monkeypatch.setitem(OUTPUTS, "perfetto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(mended(), tmp_path / "out", ("perfetto",))
    assert names(tmp_path) == []


@pytest.mark.long
def test_a_failing_rename_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write(mended(seed=1), out)
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and not self.name.endswith(".old"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    monkeypatch.setattr("tracemend.whole.sys.platform", "another system")  # without a call that exchanges two folders
    with pytest.raises(OutputError, match="Input/output error"):
        write(mended(seed=2), out, force=True)
    assert names(tmp_path) == ["out"]
    assert read_overlay(out)[0]["seed"] == 1


def test_a_full_disk(tmp_path: Path) -> None:
    """A real one: a file system of 200 kB in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("can't mount a file system here")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            write(mended(), disk / "out", ALL)
        assert names(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
