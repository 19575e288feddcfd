from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import RAW, mended

from tracemend.errors import OutputError
from tracemend.mending.mended import FIELDS, INFERRED
from tracemend.outputs import overlay, read_overlay
from tracemend.outputs.known import known


def test_lines_are_a_header_and_one_flagged_event_each(tmp_path: Path) -> None:
    made = mended(statuses=("filled", "refused"))
    lines, _ = overlay.write(made, tmp_path)
    first, *events = [json.loads(line) for line in lines.read_text().splitlines()]
    assert first["kind"] == "overlay"
    assert first["note"] == "inferred events are no evidence"
    assert first["gaps"] == json.loads(json.dumps(made.gap_table()))
    assert {k: first[k] for k in made.provenance} == made.provenance
    assert len(events) == made.inferred.num_rows > 0
    assert list(events[0]) == [*INFERRED.names, "inferred"]
    assert all(e["inferred"] is True and 0 <= e["confidence"] <= 1 for e in events)
    assert [e["confidence"] for e in events] == [round(e["confidence"], 4) for e in events]
    rows = made.inferred.drop_columns(["confidence", "fields"]).to_pylist()
    assert [{k: e[k] for k in rows[0]} for e in events] == rows
    found = [[(f["name"], f["value"], f["confidence"]) for f in e["fields"]] for e in events]
    assert found == [list(fields) for fields in known(made.inferred)]
    assert any(found)
    assert not all(found)


def test_both_files_hold_the_same(tmp_path: Path) -> None:
    made = mended()
    lines, parquet = overlay.write(made, tmp_path)
    head, table = read_overlay(lines)
    assert list(known(table)) == list(known(made.inferred))
    assert read_overlay(tmp_path)[1].equals(table)
    other_head, other = read_overlay(parquet)
    assert head == other_head
    assert other.equals(table)
    assert table.schema.equals(overlay.OVERLAY)
    assert pyarrow.parquet.ParquetFile(parquet).metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.long
def test_a_gap_s_file_may_lie_in_a_folder_that_looks_like_a_partition(tmp_path: Path) -> None:
    folder = tmp_path / "cpu=1"
    folder.mkdir()
    _, parquet = overlay.write(mended(), folder)
    assert read_overlay(parquet)[1].schema.equals(overlay.OVERLAY)


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        overlay.write(mended(seed=3), folder)
    for name in (overlay.JSONL, overlay.PARQUET):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert b"first" not in (first / overlay.JSONL).read_bytes()


def test_no_inferred_events(tmp_path: Path) -> None:
    lines, parquet = overlay.write(mended(statuses=("left",)), tmp_path)
    for path in (lines, parquet):
        head, table = read_overlay(path)
        assert table.equals(overlay.OVERLAY.empty_table())
        assert all(gap["status"] == "left" for gap in head["gaps"])


@pytest.mark.parametrize(
    "fields",
    [
        "null",
        '{"pid": "1"}',
        "[null]",
        '[{"name": "pid", "value": "1"}]',
        '[{"name": "pid", "value": null, "confidence": 0.5}]',
        '[{"value": "1", "confidence": 0.5}]',
        '[{"name": "pid", "value": "1", "confidence": 0.5, "more": 1}]',
        '[{"name": "pid", "value": 1, "confidence": 0.5}]',
    ],
)
def test_damaged_fields_are_told(tmp_path: Path, fields: str) -> None:
    lines, _ = overlay.write(mended(), tmp_path)
    lines.write_text(lines.read_text().replace('"fields": []', f'"fields": {fields}', 1))
    with pytest.raises(OutputError, match="damaged"):
        read_overlay(lines)


@given(st.lists(st.dictionaries(st.text(), st.tuples(st.text(), st.floats(0, 1, width=32)), max_size=3), max_size=4))
def test_any_fields_come_back(fields: list[dict[str, tuple[str, float]]]) -> None:
    rows = [[(k, {"value": v, "confidence": c}) for k, (v, c) in row.items()] for row in fields]
    column = pa.array([[], *rows], FIELDS)[1:]  # a slice, as tables of parts are
    table = INFERRED.empty_table().to_pydict() | {
        "gap": [0] * len(rows),
        "cpu": [0] * len(rows),
        "time_ns": [0] * len(rows),
        "tid": [0] * len(rows),
        "comm": [None] * len(rows),
        "name": ["a"] * len(rows),
        "phase": ["instant"] * len(rows),
        "confidence": [0.5] * len(rows),
        "fields": column,
    }
    inferred = pa.table(table, INFERRED)
    expected = [tuple((k, v, round(c, 4)) for k, (v, c) in row.items()) for row in fields]
    assert list(known(inferred)) == expected
    lines = "".join(overlay._lines(inferred)).encode()
    assert list(known(overlay._read_lines(lines))) == expected


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"no json\n", b"\xff\xfe\n", b'["overlay"]\n'])
def test_what_is_no_overlay_is_told(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "overlay.jsonl"
    path.write_bytes(damage)
    with pytest.raises(OutputError, match=r"overlay\.jsonl: no overlay"):
        read_overlay(path)


def test_damage_is_told(tmp_path: Path) -> None:
    lines, parquet = overlay.write(mended(), tmp_path)
    lines.write_bytes(lines.read_bytes()[:-30])
    with pytest.raises(OutputError, match="damaged"):
        read_overlay(lines)
    parquet.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(OutputError, match="damaged"):
        read_overlay(parquet)
    pyarrow.parquet.write_table(pa.table({"a": [1]}), parquet)
    with pytest.raises(OutputError, match="damaged"):
        read_overlay(parquet)
    with pytest.raises(OutputError, match="No such file"):
        read_overlay(tmp_path / "nothing.jsonl")


@pytest.mark.long
def test_the_input_s_own_bytes_stay(tmp_path: Path) -> None:
    before = RAW.read_bytes()
    overlay.write(mended(), tmp_path)
    assert RAW.read_bytes() == before
