"""The user's own library of recordings, and what mending makes of it."""

from __future__ import annotations

import json
import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from conftest import ROOT, make_trace, threads_on_cpus
from hypothesis import given
from hypothesis import strategies as st

import tracemend
from tracemend import library
from tracemend.errors import OptionError, OutputError, TraceError
from tracemend.menders.examples import Example, packaged
from tracemend.menders.likeness import ALIKE, MOST, WORTH, chosen, likeness, sentence, together
from tracemend.trace.events import Gap, Trace
from tracemend.trace.evidence import Unplaced
from tracemend.trace.pieces import Size, cut
from tracemend.trace.vocabulary import Vocabulary, universal
from tracemend.trace.windows import Stream, streams

REDIS = ROOT / "recordings" / "redis"
#: Gaps that are enough to see a difference.
SOME = frozenset(range(2))


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty library."""
    where = tmp_path / "library"
    monkeypatch.setenv("TRACEMEND_LIBRARY", str(where))
    return where


@pytest.fixture(scope="module")
def lossy() -> Trace:
    return tracemend.read(REDIS / "lossy.txt")


def made_up(seed: int, events: int = 400) -> Trace:
    return threads_on_cpus(np.random.default_rng(seed), events)


def test_it_lies_where_the_environment_says(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.folder() == own
    monkeypatch.delenv("TRACEMEND_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert library.folder() == Path("/data/tracemend/library")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # is to be ignored, says the specification
    monkeypatch.setenv("HOME", "/home/me")
    assert library.folder() == Path("/home/me/.local/share/tracemend/library")


def test_what_is_added_is_read_again_event_by_event() -> None:
    trace = made_up(1)
    recording, new = library.add(trace, "mine")
    assert new
    found = library.read()
    assert found.recordings == (recording,)
    assert not found.passed_over
    example = found.examples[0]
    assert example.own
    assert len(example) == recording.events == len(trace)
    vocabulary = universal().extended(trace)
    before = [s.ids for s in streams(trace, vocabulary)]
    assert [s.ids.tolist() for s in example.within(vocabulary)] == [ids.tolist() for ids in before]
    assert example.within(vocabulary) is example.within(vocabulary)


def test_times_paths_and_arguments_are_not_kept(own: Path) -> None:
    recording, _ = library.add(REDIS / "complete.txt.xz")
    table = pq.read_table(next(own.iterdir()))
    assert table.column_names == ["stream", "id", "thread"]
    assert table["thread"].to_numpy().max() < 64  # numbered anew
    assert recording.source == str(REDIS / "complete.txt.xz")
    assert recording.name == "complete"


def test_the_same_events_are_added_once(own: Path) -> None:
    first, _ = library.add(made_up(1), "one")
    assert library.add(made_up(1), "two") == (first, False)
    with pytest.raises(OptionError, match="'one' is in the library already"):
        library.add(made_up(2), "one")
    assert len(list(own.iterdir())) == 1
    assert library.remove("one") == first
    assert not library.read().recordings
    with pytest.raises(OptionError, match="'one' isn't in the library"):
        library.remove("one")


@pytest.mark.parametrize("name", ["", " ", "-x", "a\nb", "x" * 81, "\x1b[31m"])
def test_names_are_ones_that_can_be_shown(name: str) -> None:
    with pytest.raises(OptionError, match="a name has"):
        library.add(made_up(1), name)


def test_of_a_lossy_trace_what_lies_beside_gaps_is_left_out() -> None:
    rows = [(i, 0, 7, f"call{i % 5}", i % 2) for i in range(1_000)]
    whole = make_trace(rows)
    trace = replace(whole, gaps=(Gap(0, 0, 499, 500, 499, 500, 9, "counted", 500),))
    recording, _ = library.add(trace, "cut")
    assert "lost events" in recording.note
    found = library.read().examples[0]
    assert [len(s) for s in found.streams] == [500 - library.BESIDE] * 2
    ends = replace(whole, gaps=(Gap(0, 0, 999, None, 999, 999, 9, "counted", 1000),))
    assert [len(s) for s in library.read().examples[0].streams] == [468, 468]
    assert library.add(ends, "open")[0].events == 1_000 - library.BESIDE


def test_what_is_no_evidence_is_refused(lossy: Trace) -> None:
    trace = made_up(1)
    inferred = trace.table.append_column("inferred", pa.array([False] * len(trace)))
    for wrong, why in (
        (replace(trace, table=inferred), "a fill is no evidence"),
        (replace(trace, unplaced=(Unplaced("made up", 3),)), "doesn't tell where"),
        (make_trace([(i, 0, 1, "read", i % 2) for i in range(50)]), "too few"),
        (make_trace([]), "too few"),
    ):
        with pytest.raises(TraceError, match=why):
            library.add(wrong, "x")
    assert not library.read().recordings


def test_of_a_long_trace_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MOST", 200)
    recording, _ = library.put(cut(made_up(1), Size(300, 50)), "long")
    assert recording.events == 200
    assert "its beginning" in recording.note
    assert len(library.read().examples[0]) == 200


def test_a_library_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    library.add(made_up(1), "one")
    library.add(made_up(2), "two")
    monkeypatch.setattr(library, "WHOLE", 1_000)
    with pytest.raises(OptionError, match="the library is full"):
        library.add(made_up(3), "three")
    monkeypatch.setattr(library, "WHOLE", 500)
    found = library.read()
    assert (len(found.recordings), len(found.passed_over)) == (1, 1)


def test_damaged_and_foreign_files_are_told_and_passed_over(own: Path) -> None:
    good, _ = library.add(made_up(1), "good")
    path = next(own.iterdir())
    content = path.read_bytes()
    (own / "empty.parquet").write_bytes(b"")
    (own / "renamed.parquet").write_bytes(content)
    (own / "folder.parquet").mkdir()
    (own / "notes.txt").write_text("mine")
    os.mkfifo(own / "pipe.parquet")
    pq.write_table(pa.table({"a": ["x"]}), own / "other.parquet")
    nobody = pa.Table.from_arrays([pa.array([0], pa.int32())] * 3, schema=library.COLUMNS)
    pq.write_table(nobody, own / "nothing.parquet")
    deep = nobody.replace_schema_metadata({library.KEY: b"[" * 100_000})
    pq.write_table(deep, own / "deep.parquet")
    huge = own / "huge.parquet"
    huge.touch()
    os.truncate(huge, library.LARGEST + 1)
    found = library.read()
    assert found.recordings == (good,)
    assert len(found.passed_over) == 8
    assert all("\n" not in line and "passed over" in line for line in found.passed_over)


@pytest.mark.long
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_file_with_a_changed_byte_is_never_taken_for_another(
    at: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACEMEND_LIBRARY", str(where))
        recording, _ = library.add(made_up(1, 150), "good")
        path = next(where.iterdir())
        content = bytearray(path.read_bytes())
        content[at % len(content)] = byte
        path.write_bytes(content)
        found = library.read()
    assert len(found.recordings) + len(found.passed_over) == 1
    assert all(r.sha256 == recording.sha256 for r in found.recordings)


def _add(seed: int) -> None:
    library.add(made_up(seed % 4), f"n{seed % 4}")


def test_several_may_add_at_once(own: Path) -> None:
    with ThreadPoolExecutor(4) as crew:
        list(crew.map(_add, range(8)))
    assert [r.name for r in library.read().recordings] == ["n0", "n1", "n2", "n3"]
    assert len(list(own.iterdir())) == 4


def test_a_mended_text_is_not_added(tmp_path: Path) -> None:
    call = "  cat-7 [000] ..... {}.000000: sys_enter: NR 0 (3, 0, 0, 0, 0, 0){}\n"
    text = "".join(call.format(n, " tracemend_inferred gap=0" if n == 5 else "") for n in range(300))
    path = tmp_path / "merged.txt"
    path.write_text(text)
    with pytest.raises(TraceError, match="is a mended trace, and a fill is no evidence: not added"):
        library.add(path)


def test_a_folder_that_can_not_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMEND_LIBRARY", "/dev/null")
    assert not library.read().recordings
    with pytest.raises(OutputError, match="can't be used as the library"):
        library.add(made_up(1), "x")


def test_mend_copies_from_it_and_says_so(lossy: Trace, own: Path, tmp_path: Path) -> None:
    without = tracemend.mend(lossy, "lookup", only=SOME)
    library.add(made_up(1), "unlike")
    recording, _ = library.add(REDIS / "complete.txt.xz", "shop")
    with_it = tracemend.mend(lossy, "lookup", only=SOME)
    off = tracemend.mend(lossy, "lookup", library=False, only=SOME)
    assert with_it.provenance["options"]["library"] == [{"name": "shop", "sha256": recording.sha256}]
    assert with_it.alike == "Looks like: shop (in your library; 100 %)."
    assert with_it.inferred != without.inferred
    assert off.inferred == without.inferred
    library.remove("unlike")  # which wasn't chosen
    (own / "x.parquet").write_bytes(b"")
    with pytest.warns(UserWarning, match="no recording of the library"):
        again = tracemend.mend(lossy, "lookup", only=SOME)
    assert again.inferred == with_it.inferred
    done = run("mend", REDIS / "lossy.txt", "-o", tmp_path / "o", "--model", "lookup", "--no-figures", "--quiet")
    assert "Copied also from your library: shop." in done.stdout
    assert "x.parquet: no recording of the library" in done.stderr
    header = json.loads((tmp_path / "o" / "overlay.jsonl").read_text().partition("\n")[0])
    assert header["alike"] == [{"name": "shop", "own": True, "share": 1.0}]


def test_the_command_line(own: Path, tmp_path: Path) -> None:
    empty = run("library", "list")
    assert "Your library is empty" in empty.stdout
    added = run("library", "add", REDIS / "complete.txt.xz", "--name", "shop", "--quiet")
    assert "shop: 19,070 events added to your library" in added.stdout
    twice = run("library", "add", REDIS / "complete.txt.xz", "--quiet")
    assert (twice.returncode, "nothing was done" in twice.stdout) == (0, True)
    lossy = run("library", "add", ROOT / "recordings" / "shell" / "lossy.txt", "--quiet")
    assert "It lost events" in lossy.stdout
    listed = json.loads(run("library", "list", "--json").stdout)
    assert [r["name"] for r in listed["recordings"]] == ["lossy", "shop"]
    assert "shop" in run("library", "list").stdout
    like = json.loads(run("library", "like", REDIS / "lossy.txt", "--json", "--quiet").stdout)
    assert like[0] == {"name": "shop", "own": True, "share": 1.0}
    assert run("library", "remove", "shop", "lossy").stdout.count("removed") == 2
    assert run("library", "remove", "shop").returncode == 1


@pytest.mark.long
def test_the_most_alike_of_the_packages_recordings_is_that_of_the_same_program() -> None:
    from tracemend.datasets import corpus

    names = [e.name for e in packaged()]
    for trace in corpus(ROOT / "corpus", "validation", ROOT / "experiments" / "workloads.toml"):
        assert trace.path is not None
        shares = likeness(streams(trace, universal()), packaged(), universal())
        assert names[int(np.argmax(shares))] == trace.path.stem.rpartition("-")[0]


def example(name: str, ids: list[int], own: bool = True) -> Example:
    return Example(name, (Stream(np.array(ids), np.zeros(len(ids), np.int64)),), universal(), own)


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(0, 60), st.data())
def test_the_choice_does_not_hang_on_what_is_not_chosen(shares: list[float], most: int, data: st.DataObject) -> None:
    every = [example(f"e{i}", list(range(3, 4 + 5 * i))) for i in range(len(shares))]
    found = chosen(every, shares, most)
    assert sum(map(len, found)) <= most
    assert all(shares[every.index(e)] >= WORTH for e in found)
    kept = [i for i, e in enumerate(every) if e in found or data.draw(st.booleans())]
    assert chosen([every[i] for i in kept], [shares[i] for i in kept], most) == found
    package = replace(example("p", [3] * (most + 1)), always=True)
    assert chosen([package, *every], [0.0, *shares], most)[0] is package
    assert most < MOST


@pytest.mark.long
def test_of_many_programs_those_are_copied_from_that_a_trace_is_like(lossy: Trace) -> None:
    mended = tracemend.mend(lossy, "lookup", only=frozenset({0}), more_examples=True)
    options = mended.provenance["options"]
    named = {e.name for e in packaged(more=True)}
    assert options["more_examples"] is True
    assert {e["name"] for e in options["programs"]} < named
    assert options["shipped"] <= MOST
    assert len(named) > 200
    assert {e.name for e in packaged()} < named
    assert all(e.always for e in packaged())
    assert not any(e.always for e in packaged(more=True))


def test_no_program_that_tests_or_validates_is_among_the_many() -> None:
    """Nor one that is nearly the same: the manifest says which those are."""
    listed = tomllib.loads((ROOT / "experiments" / "library.toml").read_text())["workload"]
    tests = tomllib.loads((ROOT / "experiments" / "workloads.toml").read_text())["split"]["test"]
    held = {w["name"] for w in listed if "split" in w}
    names = {e.name for e in packaged(more=True)} - {e.name for e in packaged()}
    assert not names & (held | set(tests))
    assert {w["split"] for w in listed if "split" in w} == {"validation", "apart"}
    manifest = [json.loads(line) for line in (ROOT / "corpus" / "library" / "manifest.jsonl").read_text().splitlines()]
    assert names == {r["workload"] for r in manifest if r["split"] == "examples" and r["run"] < 2}
    assert len(names) >= 150
    assert {r["workload"] for r in manifest if "how" in r} == {
        w["name"] for w in listed if w.get("split") == "validation"
    }


def test_what_a_trace_is_like_in_words_and_in_parts() -> None:
    rows = [{"name": "a", "own": False, "share": 1.0}, {"name": "b", "own": True, "share": 0.95}]
    assert sentence(rows) == "Looks like: a (comes with tracemend; 100 %), b (in your library; 95 %)."
    assert sentence([]) == ""
    assert together([(rows, 10), (rows[:1], 30)]) == rows[:1]
    assert together([(rows, 10), ([], 10)]) == []
    assert together([]) == []
    assert likeness([], [example("a", [3, 4])], universal()) == [0.0]
    assert 0 < WORTH < ALIKE < 1


def test_events_of_other_names_are_said_by_the_vocabulary_asked_for() -> None:
    names = Vocabulary([("mine", 2), ("read", 0)])
    own = Example("x", (Stream(np.array([3, 4]), np.zeros(2, np.int64)),), names)
    wider = Vocabulary([("read", 0), ("mine", 2)])
    assert own.within(wider)[0].ids.tolist() == [4, 3]
    assert own.sha256 != replace(own, vocabulary=Vocabulary([("yours", 2), ("read", 0)])).sha256
