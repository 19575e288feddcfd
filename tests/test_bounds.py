"""Work is bounded by what a file really holds, not by what it says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run

from tracemend.diffusion.recipes import recipe
from tracemend.errors import ModelError, OutputError, TraceError
from tracemend.formats import parquet, read
from tracemend.formats.sequence import MOST_IDS
from tracemend.losses.advice import advise
from tracemend.losses.scanning import scan
from tracemend.outputs import strip

PAIR = """\
  cat-7 [000] ..... {0}.000000: sys_enter: NR 0 (3, 0, 0, 0, 0, 0)
  cat-7 [000] ..... {0}.000001: sys_exit: NR 0 = 0
"""


@contextmanager
def soon(seconds: float) -> Iterator[None]:
    """No timing: what it forbids would take minutes, or all memory."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


@pytest.mark.long
def test_ids_that_take_no_room(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "many.npz", ids=np.zeros(MOST_IDS + 1, np.int8))
    with soon(30), pytest.raises(TraceError, match="cut the file up"):
        read(tmp_path / "many.npz")
    np.savez_compressed(tmp_path / "large.npz", ids=np.zeros(3), vocab=np.zeros(600 << 20, np.int8))
    with soon(60), pytest.raises(TraceError, match="more than 512 MiB"):
        read(tmp_path / "large.npz")


def table(rows: int, **columns: pa.Array) -> pa.Table:
    """Made up: a recording in which nothing changes."""
    same = {
        "time_ns": pa.array(np.arange(rows)),
        "cpu": pa.array(np.zeros(rows, np.int32)),
        "tid": pa.array(np.ones(rows, np.int32)),
        "comm": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["cat"]),
        "name": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["read"]),
        "phase": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["instant"]),
    }
    return pa.table(same | columns)


@pytest.mark.long
def test_rows_that_take_no_room(tmp_path: Path) -> None:
    rows = 30_000_000
    flat = table(rows, time_ns=pa.array(np.zeros(rows, np.int64)))
    pq.write_table(flat, tmp_path / "rows.parquet", compression="zstd")
    with soon(10), pytest.raises(TraceError, match=r"30,000,000 rows in .* bytes are no recording"):
        read(tmp_path / "rows.parquet")


def test_one_text_in_very_many_rows(tmp_path: Path) -> None:
    long = pa.DictionaryArray.from_arrays(np.zeros(300_000, np.int32), ["x" * 10_000])
    pq.write_table(table(300_000, args=long), tmp_path / "texts.parquet", compression="zstd")
    with soon(10), pytest.raises(TraceError, match="its texts take 3,00"):
        read(tmp_path / "texts.parquet")


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("time_ns", [-(2**63), 0, 1], "row 0 has time_ns -9223372036854775808"),
        ("time_ns", [5, 3, 7], "row 1: time goes backwards on cpu 0"),
        ("cpu", [0, -2, 0], "row 1 has cpu -2"),
        ("tid", [1, 1, -9], "row 2 has tid -9"),
    ],
)
def test_a_recording_keeps_the_rules_of_every_other_format(
    tmp_path: Path, column: str, values: list[int], why: str
) -> None:
    plain = table(3)
    kind = plain.schema.field(column).type
    pq.write_table(
        plain.set_column(plain.schema.get_field_index(column), column, pa.array(values, kind)), tmp_path / "a"
    )
    with pytest.raises(TraceError, match=why):
        read(tmp_path / "a")


def test_the_latest_times_are_read_scanned_and_advised_on(tmp_path: Path) -> None:
    late = table(3, time_ns=pa.array([0, 2**63 - 2, 2**63 - 1]))
    lossy = parquet.from_columns(late, {"doubts": [], "marks": [[0, 1, 5]]}, tmp_path)
    assert scan(lossy).as_dict()["lost"] == 5
    assert advise(lossy)


def test_a_gap_beyond_reason_is_left(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(PAIR.format(1) + "CPU:0 [LOST 2000000 EVENTS]\n" + PAIR.format(2))
    with soon(30):
        done = run("mend", path, "-o", tmp_path / "out", "--alone")
    assert done.returncode == 0
    assert "a gap of 2,000,000 events is too long to fill from 4" in done.stdout


@pytest.mark.long
def test_very_many_cpus_with_very_many_gaps() -> None:
    rows, cpus = 200_000, 10_000
    columns = table(rows, cpu=pa.array((np.arange(rows) % cpus).astype(np.int32)))
    marks = [[int(r % cpus), r, 1] for r in range(cpus, rows, 2)]
    trace = parquet.from_columns(columns, {"doubts": [], "marks": marks}, Path("made up"))
    assert len(trace.gaps) > 90_000
    with soon(60):
        found = scan(trace)
        assert len(found.cpus()) == cpus
        assert len(advise(trace)) == cpus // 2
        assert sum(len(trace.breaks(cpu)) for cpu in trace.streams) == len(trace.gaps)


@pytest.mark.parametrize("kind", ["fifo", "zeros"])
def test_a_merged_file_that_never_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(PAIR.format(1) + "CPU:0 [LOST 2 EVENTS]\n" + PAIR.format(2))
    assert run("mend", path, "-o", tmp_path / "out", "--alone", "--merged").returncode == 0
    (tmp_path / "out" / "merged.txt").unlink()
    if kind == "fifo":
        os.mkfifo(tmp_path / "out" / "merged.txt")
    else:
        (tmp_path / "out" / "merged.txt").symlink_to("/dev/zero")
    with soon(10), pytest.raises(OutputError, match="not a file"):
        strip(tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("what", ["width", "length", "steps", "batch"])
def test_recipes_without_measure(what: str) -> None:
    with pytest.raises(ModelError, match=f"{what} of 1,000,000,000 can't be meant"):
        recipe("masked-transformer-tiny").changed([f"{what}={10**9}"])
