"""What menders are scored by on recordings of the kernel, and the tables made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from commands import run
from conftest import ROOT, right, rng

from docs import common
from docs import kernel as tables
from tracemend.judging import kernel, lost
from tracemend.judging.metrics import interval, rouge_l
from tracemend.judging.results import Row, read_results
from tracemend.mending.mended import INFERRED, Mended
from tracemend.recording import Pair
from tracemend.recording.pairs import read as read_pair
from tracemend.trace.events import EXIT, PHASES
from tracemend.trace.fields import values

FIXTURE = ROOT / "tests" / "data" / "kernel_pair.parquet"


@pytest.fixture(scope="module")
def pair() -> Pair:
    return read_pair(FIXTURE)


def told(pair: Pair, *, wrong: str = "") -> Mended:
    """A fill that is right, and says all fields; ``wrong``: a field that is always said wrongly."""
    mended = right(pair.complete, pair.lossy, pair.missing)
    rows = np.concatenate(pair.missing)
    known: list[dict[str, str]] = [{} for _ in range(len(pair.complete))]
    for name in pair.complete.names[1]:
        found, texts = values(pair.complete, name, kernel.FIELDS.get(name, ("ret",)))
        for field, text in texts.items():
            for row, value in zip(found.tolist(), text.to_pylist(), strict=True):
                if value is not None and (field != "ret" or pair.complete.phase[row] == EXIT):
                    known[row][field] = "0" if field == wrong else value
    said = [[(k, {"value": v, "confidence": 0.75}) for k, v in known[r].items()] for r in rows.tolist()]
    place = INFERRED.get_field_index("fields")
    table = mended.inferred.set_column(place, INFERRED.field("fields"), pa.array(said, INFERRED.field("fields").type))
    return replace(mended, inferred=table)


def test_who_says_all_rightly_is_right_in_all(pair: Pair) -> None:
    found = kernel.scores(told(pair), pair, range(len(pair.missing)))
    assert found["cpu_time"]["mended"] == 0 < found["cpu_time"]["left"]
    assert found["running"]["right_ns"] == found["running"]["known_ns"]
    assert sum(found["running"]["left_ns"]) < sum(found["running"]["right_ns"])
    assert found["running"]["length"] == [len(m) for m in pair.missing]
    assert found["transitions"] == {"left": {}, "mended": {}, "true": {}}
    assert all(set(rows[k]) == {1.0} for rows in found["families"].values() for k in kernel.MEASURES)
    assert sum(sum(rows["lost"]) for rows in found["families"].values()) == pair.lost
    assert {"sched_switch next_pid", "sched_wakeup pid", kernel.RESULT} <= found["fields"].keys()
    for cell in found["fields"].values():
        count, sure, right_ones = np.array(cell["bins"]).sum(axis=1)
        assert cell["said"] == cell["right"] == count == right_ones
        assert cell["said"] == cell["there"] or cell is found["fields"].get(kernel.ARGUMENT)
        assert sure == pytest.approx(0.75 * count)


def test_a_field_that_is_wrong_counts_as_wrong(pair: Pair) -> None:
    row: Row = {"mender": "m", "kernel": kernel.scores(told(pair, wrong="next_comm"), pair, range(3))}
    cells = kernel.of_fields([row, row])
    assert (cells["sched_switch next_comm"]["right"], cells["sched_switch next_pid"]["right"]) == (0, 1)
    assert cells["sched_switch next_comm"]["calibration_error"] == pytest.approx(0.75)
    assert cells["sched_switch next_pid"]["calibration_error"] == pytest.approx(0.25)


def test_families_are_those_counted_one_by_one(pair: Pair) -> None:
    """Of a fill with every other event another one of those lost, fields and all."""
    mended = told(pair)
    order = np.arange(mended.inferred.num_rows)
    for gap in range(len(pair.missing)):
        own = np.flatnonzero(mended.inferred["gap"].to_numpy() == gap)
        order[own[::2]] = rng(gap).permutation(own[::2])
    table = mended.inferred
    for name in ("name", "phase", "fields"):
        place = INFERRED.get_field_index(name)
        table = table.set_column(place, INFERRED.field(name), table[name].take(pa.array(order)))
    scored = kernel.scores(replace(mended, inferred=table), pair, ())
    found = scored["families"]
    kinds: dict[str, int] = {}
    expected: dict[str, list[tuple[float, ...]]] = {}
    whole = pair.complete.table
    for gap, lost_rows in enumerate(pair.missing):
        at = np.flatnonzero(table["gap"].to_numpy() == gap)
        sides = [
            [
                (n, PHASES.index(p))
                for n, p in zip(
                    t["name"].take(pa.array(i)).to_pylist(), t["phase"].take(pa.array(i)).to_pylist(), strict=True
                )
            ]
            for t, i in ((table, at), (whole, lost_rows))
        ]
        for name in dict.fromkeys(kernel.family(*k) for k in sides[1]):
            hits = [a == b for a, b in zip(*sides, strict=True) if kernel.family(*b) == name]
            ids = [
                np.array([kinds.setdefault(str(k), len(kinds)) for k in side if kernel.family(*k) == name], np.int64)
                for side in sides
            ]
            expected.setdefault(name, []).append((len(hits), np.mean(hits), all(hits), rouge_l(*ids)))
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        columns = [found[name][k] for k in ("lost", *kernel.MEASURES)]
        np.testing.assert_allclose(np.array(columns).T, rows, atol=1e-4)
    truth, said = (dict(f).get("next_pid") for f in mended.inferred["fields"].to_pylist()), table["fields"].to_pylist()
    pairs = [
        (dict(s).get("next_pid"), t, a == b)
        for s, t, a, b in zip(said, truth, table["name"].to_pylist(), mended.inferred["name"].to_pylist(), strict=True)
    ]
    cell = scored["fields"]["sched_switch next_pid"]
    assert cell["there"] == sum(t is not None and same for _, t, same in pairs)
    assert cell["right"] == sum(s is not None and s == t and same for s, t, same in pairs)
    assert sum(cell["bins"][0]) == sum(s is not None for s, _, _ in pairs) > cell["said"]


def test_an_interval_of_a_share_is_of_the_whole_share() -> None:
    part, whole, group = np.array([1.0, 0.0, 30.0]), np.array([1.0, 9.0, 60.0]), np.array([0, 0, 1])
    low, high = interval(part, rng(0), group_G=group, weight_G=whole)
    assert (low, high) == (0.1, 0.5)
    assert interval(part, rng(0), group_G=np.zeros(3, np.int64), weight_G=whole) == (31 / 70, 31 / 70)


@pytest.mark.long
def test_a_contest_on_whole_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    folder = tree / "corpus" / "kernel" / "pairs"
    folder.mkdir(parents=True)
    (tree / "corpus" / "pairs").mkdir()
    (tree / "experiments").mkdir()
    (tree / "experiments" / "workloads.toml").write_text(
        '[split]\nvalidation_run = 2\ntest_run = 3\ntest = ["other"]\n'
    )
    for name in ("some-3-kernel_overwrite", "some-2-kernel_drop", "other-0-kernel_drop"):
        (folder / f"{name}.parquet").write_bytes(FIXTURE.read_bytes())
    text = '[[lost]]\nmenders = ["copy", "lookup"]\nmost = 99\n'
    (tmp_path / "c.toml").write_text(text)
    assert run("experiment", "c.toml", "--from", tree, "--dry-run", cwd=tmp_path).stdout == ""
    (tmp_path / "c.toml").write_text(text + 'how = ["kernel_overwrite", "kernel_drop"]\n')
    done = run("experiment", "c.toml", "-o", "kernel.jsonl", "--from", tree, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "4 rows added")
    rows = read_results(tmp_path / "kernel.jsonl", lost.KEY, "gaps")
    assert {(r["workload"], r["part"]) for r in rows} == {("some", "by run"), ("other", "by workload")}
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    assert "| lookup |" in tables.events()
    assert f"| {tables.LEFT} |" in tables.running()
    for made in (tables.families, tables.cpu_time, tables.transitions):
        assert made().count("| copy |") >= 2
    assert "Not run" not in tables.fields()
    monkeypatch.setattr(common, "RESULTS", tmp_path / "none")
    assert tables.running() == "Not run.\n"
