"""Bare sequences: text, .npy and .npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.errors import TraceError
from tracemend.formats import read
from tracemend.trace.events import Trace


def of_text(tmp_path: Path, text: str, format: str | None = None) -> Trace:
    path = tmp_path / "trace"
    path.write_text(text)
    return read(path, format)


def gaps(trace: Trace) -> list[tuple[int | None, ...]]:
    return [(g.cpu, g.before, g.after, g.count) for g in trace.gaps]


def test_positions_leave_room_for_what_was_lost(tmp_path: Path) -> None:
    trace = of_text(tmp_path, "open read\n? ? ?\nread ... close\n")
    assert trace.table["name"].to_pylist() == ["open", "read", "read", "close"]
    assert trace.time_ns.tolist() == [0, 1, 5, 7]
    assert trace.line.tolist() == [1, 1, 3, 3]
    assert gaps(trace) == [(0, 1, 2, 3), (0, 2, 3, None)]
    assert [g.line for g in trace.gaps] == [2, 3]
    assert (trace.clock, trace.format) == ("index", "sequence")
    assert (trace.cpu.tolist(), trace.tid.tolist()) == ([0] * 4, [-1] * 4)
    assert trace.table["comm"].null_count == 4


def test_gaps_at_both_ends(tmp_path: Path) -> None:
    assert gaps(of_text(tmp_path, "? ? read -1")) == [(0, None, 0, 2), (0, 0, None, 1)]
    assert gaps(of_text(tmp_path, "read ? ... ? close")) == [(0, 0, 1, None)]


def test_phases_and_ids(tmp_path: Path) -> None:
    trace = of_text(tmp_path, "openat:enter openat:exit openat std::sort:exit 7 id_7 7:enter\n", "sequence")
    expected = [
        ("openat", "enter"),
        ("openat", "exit"),
        ("openat", "instant"),
        ("std::sort", "exit"),
        ("id_7", "instant"),
        ("id_7", "instant"),
        ("id_7", "enter"),
    ]
    assert list(zip(trace.table["name"].to_pylist(), trace.table["phase"].to_pylist(), strict=True)) == expected


def test_inferred_tokens_are_no_evidence(tmp_path: Path) -> None:
    trace = of_text(tmp_path, "# tracemend 0.1\nread ? ? ~openat ~close:exit write\n")
    assert trace.table["name"].to_pylist() == ["read", "write"]
    assert trace.time_ns.tolist() == [0, 3]
    assert gaps(trace) == [(0, 0, 1, 2)]
    assert trace.warnings == ("2 inferred events of an earlier mending were passed over",)


NAMES = st.sampled_from(["openat", "read", "close", "openat:enter", "f.g", "12", "a::b", "?", "...", "~read"])


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(st.tuples(NAMES, st.sampled_from([" ", "\n", "\t", "  \r\n"])), min_size=1, max_size=60))
def test_any_division_into_lines_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "sequence"
    if all(t.startswith(("~", "?", "...")) for t, _ in tokens):
        tokens.append(("read", " "))
    path.write_text("".join(t + s for t, s in tokens))
    a = read(path, "sequence")
    path.write_text(" ".join(t for t, _ in tokens))
    b = read(path, "sequence")
    assert a.table.drop("line").equals(b.table.drop("line"))
    assert gaps(a) == gaps(b)
    assert a.time_ns.tolist() == [i for i, t in enumerate(u for u, _ in tokens if u[0] != "~") if t not in ("?", "...")]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("openat\nread\nclose\n", True),
        ("openat read close frobnicate\n", True),
        ("main\nparse\nparse\n", True),
        ("6 6 63 6 42 120\n", True),
        ("main:enter main:exit\n", True),
        ("id_3 id_4 ? id_3", True),
        ("main\nparse\neval\n", False),
        ("main parse parse\n", False),
        ("we read the book\n", False),
        ("? ? ?\n", False),
        ("a = b\n", False),
        ("read, write\n", False),
        ("1.5 2.5\n", False),
    ],
)
def test_what_is_recognised(tmp_path: Path, text: str, is_one: bool) -> None:
    if is_one:
        assert of_text(tmp_path, text).format == "sequence"
    else:
        with pytest.raises(TraceError, match="no known trace format"):
            of_text(tmp_path, text)


def test_a_long_sequence_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    for separator in (" ", "\n"):
        trace = of_text(tmp_path, separator.join(["openat", "read", "close"] * 20_000))
        assert len(trace) == 60_000


def of_arrays(tmp_path: Path, **arrays: object) -> Trace:
    path = tmp_path / "trace"
    with open(path, "wb") as f:
        np.savez(f, **arrays)  # type: ignore[arg-type]
    return read(path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_npy(tmp_path: Path, dtype: type) -> None:
    with open(tmp_path / "trace", "wb") as f:
        np.save(f, np.array([-1, 3, 4, -1, -1, 3], dtype))
    trace = read(tmp_path / "trace")
    assert trace.table["name"].to_pylist() == ["id_3", "id_4", "id_3"]
    assert trace.time_ns.tolist() == [1, 2, 5]
    assert trace.line.tolist() == [1, 2, 5]
    assert gaps(trace) == [(0, None, 0, 1), (0, 1, 2, 2)]
    assert trace.table["phase"].to_pylist() == ["instant"] * 3


def test_several_traces_in_one_file(tmp_path: Path) -> None:
    ids = np.array([0, -1, -1, -1, 1, 2, 1, -1])
    trace = of_arrays(
        tmp_path, ids=ids, vocab=np.array(["read", "write", "read:exit"]), offsets=np.array([0, 3, 3, 6, 8])
    )
    assert trace.table["name"].to_pylist() == ["read", "write", "read", "write"]
    assert trace.table["phase"].to_pylist() == ["instant", "instant", "exit", "instant"]
    assert trace.cpu.tolist() == [0, 2, 2, 3]
    assert trace.time_ns.tolist() == [0, 1, 2, 0]
    assert trace.line.tolist() == [0, 4, 5, 6]
    assert gaps(trace) == [(0, 0, None, 2), (2, None, 1, 1), (3, 3, None, 1)]


def test_the_only_array_is_the_ids(tmp_path: Path) -> None:
    assert of_arrays(tmp_path, anything=np.array([5, 5], np.uint8)).names[1] == ["id_5"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.array([1]), "b": np.array([1])}, "no array named ids, but .a., .b."),
        ({"ids": np.zeros((2, 2), int)}, r"no single row of integers, but int64 of shape \(2, 2\)"),
        ({"ids": np.array([1.5])}, "no single row of integers, but float64"),
        (
            {"ids": np.array([0, 1, 7]), "vocab": np.array(["a", "b"])},
            "entry 2 of the ids is 7: no id between -1 and 1",
        ),
        ({"ids": np.array([0, -2])}, "entry 1 of the ids is -2"),
        ({"ids": np.array([1 << 40])}, "entry 0 of the ids is 1099511627776"),
        ({"ids": np.array([1 << 63], np.uint64)}, "an id of 9223372036854775808 can't be true"),
        ({"ids": np.array([1]), "vocab": np.array([1])}, "the vocab is no single row of names"),
        ({"ids": np.array([1]), "offsets": np.array([0, 2])}, "the offsets don't run from 0 to 1"),
        ({"ids": np.array([1, 1]), "offsets": np.array([0, 2, 1, 2])}, "the offsets don't run from 0 to 2"),
        ({"ids": np.array([1]), "offsets": np.array([0.0, 1.0])}, "the offsets are no single row"),
        ({"ids": np.array([None, 1])}, "can't read the arrays: Object arrays"),
    ],
)
def test_arrays_that_are_no_sequence(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        of_arrays(tmp_path, **arrays)


def test_no_ids_are_a_sequence_of_no_events(tmp_path: Path) -> None:
    assert len(of_arrays(tmp_path, ids=np.array([], int))) == 0
