"""The recordings that ship with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DEMO, ROOT

import tracemend
from tracemend.datasets import corpus
from tracemend.errors import ModelError
from tracemend.menders import Lookup, examples
from tracemend.menders.examples import Example
from tracemend.trace.vocabulary import BREAK, OTHER, Vocabulary, universal
from tracemend.trace.windows import Stream, streams, window

SPLIT = ROOT / "experiments" / "workloads.toml"


@pytest.mark.long
def test_what_ships_is_the_training_part_of_the_corpus() -> None:
    made = [s for t in corpus(ROOT / "corpus", "train", SPLIT) for s in streams(t, universal())]
    shipped = examples.shipped()
    assert len(shipped) == len(made)
    for a, b in zip(shipped, made, strict=True):
        assert (a.ids == b.ids).all()
        assert len(np.unique(a.tids)) == len(np.unique(b.tids))


def test_nothing_that_is_tested_ships() -> None:
    """No stream of a test recording is among them, nor any long run of one of another program."""
    ids = {s.ids[:500].tobytes() for s in examples.shipped()}
    tested = [s for t in corpus(ROOT / "corpus", "test", SPLIT) for s in streams(t, universal(), shortest=500)]
    assert tested
    assert not any(s.ids[:500].tobytes() in ids for s in tested)


def test_written_and_read_again(tmp_path: Path) -> None:
    two = [Stream(np.array([3, 4, 5]), np.array([900, -1, 900])), Stream(np.array([7]), np.array([12]))]
    made = [Example("nginx", tuple(two), universal()), Example("make", (two[0],), universal())]
    examples.write(made, tmp_path / "e.parquet")
    again = examples.read(tmp_path / "e.parquet")
    assert [(e.name, [s.ids.tolist() for s in e.streams]) for e in again] == [
        ("nginx", [[3, 4, 5], [7]]),
        ("make", [[3, 4, 5]]),
    ]
    assert [s.tids.tolist() for s in again[0].streams] == [[1, 0, 1], [0]]
    assert [e.sha256 for e in again] == [e.sha256 for e in made]


def test_what_is_no_file_of_examples_is_told(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    for content in (b"", b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="no examples"):
            examples.read(path)
    pq.write_table(pa.table({"stream": [0]}), path)
    with pytest.raises(ModelError, match="no examples"):
        examples.read(path)
    pq.write_table(pa.table({"stream": [0], "id": [3], "thread": [0]}), path)
    with pytest.raises(ModelError, match="another vocabulary"):
        examples.read(path)
    unnamed = pa.table({"stream": [0], "id": [3], "thread": [0]})
    pq.write_table(unnamed.replace_schema_metadata({examples.KEY: universal().digest}), path)
    with pytest.raises(ModelError, match="0 names of 1 streams"):
        examples.read(path)


def test_the_trace_itself_counts_more_than_examples() -> None:
    """Both know what follows the context; the trace's own word counts, and where it has none that of the examples."""
    context = np.arange(10, 20)
    own = Stream(np.concatenate([context, [30, 31]]), np.zeros(12, np.int64))
    other = Stream(np.concatenate([context, [40, 41]]), np.zeros(12, np.int64))
    gap = window(own[:10], own[:0], 2)

    def said(streams_: list[Stream], examples_: list[Stream]) -> list[int]:
        found: list[int] = Lookup(streams_, examples_).propose([gap])[0].events_NM[:, 0].tolist()
        return found

    assert said([own], [other, other, other]) == [30, 31]
    assert said([Stream(np.array([5]), np.array([0]))], [other]) == [40, 41]


@pytest.mark.long
@pytest.mark.skipif(not DEMO.is_dir(), reason="recordings/deploy isn't there")
def test_mend_copies_from_them_unless_told_not_to() -> None:
    lossy = tracemend.read(DEMO / "lossy.txt")
    with_them = tracemend.mend(lossy, "lookup")
    without = tracemend.mend(lossy, "lookup", alone=True)
    assert with_them.provenance["options"]["shipped"] == sum(map(len, examples.shipped()))
    assert without.provenance["options"]["shipped"] == 0
    assert with_them.inferred != without.inferred


def test_examples_are_named_anew_for_a_model_of_another_vocabulary() -> None:
    small = Vocabulary([("write", 1), ("read", 0), ("read", 1)])
    known = universal()
    ids = np.array([BREAK, known.id("read", 0), known.id("read", 1), known.id("openat", 0)])
    assert small.translated(ids, known).tolist() == [BREAK, small.id("read", 0), small.id("read", 1), OTHER]
