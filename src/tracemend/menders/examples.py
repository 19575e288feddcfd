"""Recordings to copy from, as streams of ids, and those that ship with the package.

``scripts/make_examples.py`` makes their files: one of the corpus's training part, one of many more programs
(experiments/library.toml). Times, commands and arguments aren't in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tracemend.errors import ModelError
from tracemend.trace.vocabulary import Vocabulary, universal
from tracemend.trace.windows import Stream
from tracemend.untrusted import json_of
from tracemend.whole import whole_file

Ints = NDArray[np.int64]

NAME, PROGRAMS = "examples.parquet", "programs.parquet"
#: The digest of the universal vocabulary that the ids are of, and the name of each stream's program.
KEY, NAMES = b"vocabulary", b"names"


@dataclass(frozen=True, eq=False)
class Example:
    """Recordings of one program: their intact stretches, as ids of a vocabulary. own: it is the user's, not the
    package's. always: to be copied from whether or not a trace is like it."""

    name: str
    streams: tuple[Stream, ...]
    vocabulary: Vocabulary
    own: bool = False
    always: bool = False

    def __len__(self) -> int:
        """Its events."""
        return sum(map(len, self.streams))

    @cached_property
    def sha256(self) -> str:
        """The same for the same events by the same threads, whatever they are called."""
        _, ids, threads = laid_out(self.streams)
        known, local = np.unique(ids, return_inverse=True)
        entries = [self.vocabulary.entry(int(i)) for i in known]
        digest = hashlib.sha256(json.dumps([entries, [len(s) for s in self.streams]]).encode())
        for column in (local, threads):
            digest.update(column.astype("<u4").tobytes())
        return digest.hexdigest()

    def within(self, vocabulary: Vocabulary) -> tuple[Stream, ...]:
        """Its streams by the ids of another vocabulary: the very same objects as long as that stays the same, since
        what is made of them is kept for whoever comes with the same ones."""
        own = self.vocabulary.entries
        if vocabulary.entries[: len(own)] == own:
            return self.streams
        kept: list[tuple[Vocabulary, tuple[Stream, ...]]] = self.__dict__.setdefault("_kept", [])
        if not kept or kept[0][0] != vocabulary:
            ids = (vocabulary.translated(s.ids, self.vocabulary) for s in self.streams)
            kept[:] = [(vocabulary, tuple(Stream(i, s.tids) for i, s in zip(ids, self.streams, strict=True)))]
        return kept[0][1]


def laid_out(streams: Sequence[Stream]) -> tuple[Ints, Ints, Ints]:
    """Streams as columns: of each event the number of its stream, its id, and its thread, numbered anew in each."""
    number = np.repeat(np.arange(len(streams)), [len(s) for s in streams])
    threads = [np.unique(s.tids, return_inverse=True)[1] for s in streams]
    return number, np.concatenate([s.ids for s in streams]), np.concatenate(threads)


def apart(number: Ints, ids: Ints, threads: Ints) -> list[Stream]:
    """The streams of such columns."""
    cuts = np.flatnonzero(np.diff(number)) + 1
    return [Stream(i, t) for i, t in zip(np.split(ids, cuts), np.split(threads, cuts), strict=True)]


def write(examples: Sequence[Example], path: Path) -> None:
    """Write examples of the universal vocabulary; threads are numbered anew in each stream. Raises OSError."""
    named = [(e.name, s) for e in examples for s in e.streams]
    number, ids, threads = laid_out([s for _, s in named])
    columns = {
        "stream": pa.array(number.astype(np.int16)),
        "id": pa.array(ids.astype(np.uint16)),
        "thread": pa.array(threads.astype(np.uint16)),
    }
    about = {KEY: universal().digest.encode(), NAMES: json.dumps([n for n, _ in named]).encode()}
    table = pa.table(columns).replace_schema_metadata(about)
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=19)


def read(path: Path) -> list[Example]:
    """The examples of a file that ``write`` made. Raises ModelError for one of another vocabulary or kind."""
    try:
        table = pq.read_table(path, use_threads=False)
        number, ids, threads = (table[c].to_numpy().astype(np.int32) for c in ("stream", "id", "thread"))
        about = table.schema.metadata or {}
        names = json_of(about.get(NAMES, b"[]"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as e:
        raise ModelError(f"{path}: no examples ({str(e).splitlines()[0]})") from e
    if about.get(KEY, b"").decode() != universal().digest:
        raise ModelError(f"{path}: examples of another vocabulary; scripts/make_examples.py makes them anew")
    del table
    pa.default_memory_pool().release_unused()  # fifty megabytes, in each process that mends
    found = apart(number, ids, threads)
    if len(names) != len(found):
        raise ModelError(f"{path}: no examples ({len(names)} names of {len(found)} streams)")
    by_name = groupby(zip(names, found, strict=True), key=lambda pair: str(pair[0]))
    return [Example(name, tuple(s for _, s in some), universal()) for name, some in by_name]


@cache
def packaged(more: bool = False) -> list[Example]:
    """The examples of the package, by program: those that are always copied from. more: these and those of many more
    programs, of all of which a trace takes what it is like."""
    found = _read(NAME)
    return [*found, *_read(PROGRAMS)] if more else [replace(e, always=True) for e in found]


def _read(name: str) -> list[Example]:
    with resources.as_file(resources.files("tracemend.menders") / name) as path:
        return read(path)


def shipped() -> list[Stream]:
    """The streams of those that are always copied from."""
    return [s for e in packaged() for s in e.streams]
