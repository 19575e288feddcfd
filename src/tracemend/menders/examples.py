"""Recordings that ship with the package, to copy from: the corpus's training part, as streams of ids.

``scripts/make_examples.py`` makes the file. Times, commands and arguments aren't in it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracemend.errors import ModelError
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream
from tracemend.whole import whole_file

NAME = "examples.parquet"
#: The digest of the universal vocabulary that the ids are of.
KEY = b"vocabulary"


def write(streams: list[Stream], path: Path) -> None:
    """Write streams of ids of the universal vocabulary; threads are numbered anew in each. Raises OSError."""
    number = np.repeat(np.arange(len(streams)), [len(s) for s in streams])
    threads = [np.unique(s.tids, return_inverse=True)[1] for s in streams]
    columns = {
        "stream": pa.array(number.astype(np.int16)),
        "id": pa.array(np.concatenate([s.ids for s in streams]).astype(np.uint16)),
        "thread": pa.array(np.concatenate(threads).astype(np.uint16)),
    }
    table = pa.table(columns).replace_schema_metadata({KEY: universal().digest.encode()})
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=19)


def read(path: Path) -> list[Stream]:
    """The streams of a file that ``write`` made. Raises ModelError for one of another vocabulary or kind."""
    try:
        table = pq.read_table(path, use_threads=False)
        number, ids, threads = (table[c].to_numpy().astype(np.int32) for c in ("stream", "id", "thread"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as e:
        raise ModelError(f"{path}: no examples ({str(e).splitlines()[0]})") from e
    if (table.schema.metadata or {}).get(KEY, b"").decode() != universal().digest:
        raise ModelError(f"{path}: examples of another vocabulary; scripts/make_examples.py makes them anew")
    del table
    pa.default_memory_pool().release_unused()  # fifty megabytes, in each process that mends
    cuts = np.flatnonzero(np.diff(number)) + 1
    return [Stream(i, t) for i, t in zip(np.split(ids, cuts), np.split(threads, cuts), strict=True)]


@cache
def shipped() -> list[Stream]:
    """The examples of the package."""
    with resources.as_file(resources.files("tracemend.menders") / NAME) as path:
        return read(path)
