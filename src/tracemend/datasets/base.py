"""What every data set is once it is loaded: streams to train on, to validate with and to test with, split by trace
before anything was windowed.

Axis legend: N windows, L length, S events of a stream.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tracemend.errors import DataError
from tracemend.trace import ngrams
from tracemend.trace.events import INSTANT
from tracemend.trace.ngrams import Bools, Hashes
from tracemend.trace.vocabulary import FIRST, Vocabulary
from tracemend.trace.windows import Ints, Stream
from tracemend.whole import whole_file

#: Windows are drawn in batches of this size, so that the first ones are the same however many are asked for.
DRAWN = 1024


@dataclass(frozen=True, slots=True)
class Windows:
    """Test windows of bare ids. ids_NL: vocabulary ids. group_N: the trace (or episode) each was cut from, which is
    what to resample by."""

    ids_NL: Ints
    group_N: Ints

    def __len__(self) -> int:
        return len(self.ids_NL)


@dataclass(frozen=True, eq=False)
class Data:
    """One data set, split before anything was windowed.

    named: whether the ids have system-call names. dropped: traces left out since they equal another one event for
    event. groups: the number of the recording that each test stream is a part of; empty where each is one by itself.
    """

    name: str
    vocabulary: Vocabulary
    train: list[Stream]
    validation: list[Stream]
    test: list[Stream]
    named: bool
    dropped: int = 0
    groups: tuple[int, ...] = ()
    _seen: dict[int, Hashes] = field(default_factory=dict, repr=False)

    def windows(self, length: int, number: int, seed: int = 0) -> Windows:
        """Up to ``number`` different windows from the test streams of at least ``length`` events.

        The stream is drawn uniformly, then the position in it; a window equal to one that is already there is dropped.
        At most twenty times ``number`` are drawn. Raises DataError where no stream is long enough.
        """
        long = [i for i, s in enumerate(self.test) if len(s) >= length > 0]
        if not long:
            longest = max((len(s) for s in self.test), default=0)
            raise DataError(f"{self.name}: no test windows of {length}; the longest test trace has {longest} events")
        room = np.array([len(self.test[i]) - length + 1 for i in long])
        rng = np.random.default_rng(seed)
        found: dict[bytes, int] = {}
        for _ in range(-(-20 * number // DRAWN)):
            trace = rng.integers(len(long), size=DRAWN)
            begin = (rng.random(DRAWN) * room[trace]).astype(np.int64)
            for t, b in zip(trace.tolist(), begin.tolist(), strict=True):
                found.setdefault(self.test[long[t]].ids[b : b + length].tobytes(), long[t])
            if len(found) >= number:
                break
        words, origin = list(found)[:number], list(found.values())[:number]
        ids = np.frombuffer(b"".join(words), np.int64).reshape(len(words), length).copy()
        return Windows(ids, np.array([self.groups[i] if self.groups else i for i in origin], np.int64))

    def subsets(self, windows: Windows, known_L: Bools) -> dict[str, Bools]:
        """Which windows belong to what, each (N,): "all"; "unseen": those that occur nowhere word for word in the
        training streams. known_L: False where events are hidden."""
        unseen = ~ngrams.occur(ngrams.windows(windows.ids_NL), self.seen(windows.ids_NL.shape[1]))
        return {"all": np.ones(len(windows), bool), "unseen": unseen}

    def seen(self, length: int) -> Hashes:
        """Distinct hashes of all runs of ``length`` in the training streams, sorted; computed once a length."""
        if length not in self._seen:
            self._seen[length] = ngrams.distinct((s.ids for s in self.train), length)
        return self._seen[length]

    def test_hashes(self, length: int, stride: int) -> Hashes:
        """Hashes of the test windows: every ``stride``-th of the test streams."""
        return np.concatenate([np.empty(0, np.uint64), *(ngrams.runs(s.ids, length)[::stride] for s in self.test)])


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set that can be loaded. home: where it is public. file: where it lies in the folder of data.

    read: (name, folder, length) -> Data, raising DataError. fetch: (name, folder, archive) -> files written; None where
    the data can't be had by this program. lengths: the only lengths of windows there are; empty if any will do.
    """

    name: str
    title: str
    home: str
    terms: str
    citation: str
    file: str
    read: Callable[[str, Path, int], Data]
    fetch: Callable[[str, Path, Path | None], Path] | None = None
    lengths: tuple[int, ...] = ()
    archive: bool = False
    note: str = ""

    @property
    def family(self) -> str:
        """ "pts" for "pts/compress-gzip"."""
        return self.name.partition("/")[0]

    def as_dict(self) -> dict[str, Any]:
        keys = ("name", "title", "home", "terms", "citation", "file", "note")
        return {k: getattr(self, k) for k in keys} | {"fetch": self.fetch is not None, "lengths": list(self.lengths)}


Arrays = dict[str, NDArray[Any]]


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of arrays by content: name, type, shape and little-endian bytes in C order, in order of the names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def check(what: str, arrays: Mapping[str, NDArray[Any]], expected: str) -> None:
    """Raises DataError for other content than expected."""
    found = digest(arrays)
    if found != expected:
        raise DataError(f"{what}: other content than expected: SHA-256 {found[:16]}..., not {expected[:16]}...")


def read_arrays(path: Path, entry: str, keys: tuple[str, ...]) -> Arrays:
    """The named arrays of an ``.npz``; raises DataError where there is no such file, or it holds something else."""
    if not path.is_file():
        raise DataError(
            f"{entry}: no {path}; 'tracemend datasets fetch' brings what is public, --from names a folder that has it"
        )
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [k for k in keys if k not in file.files]
            if missing:
                raise DataError(f"{path}: no array {missing[0]!r}; it must hold {', '.join(keys)}")
            return {k: file[k] for k in keys}
    except DataError:
        raise
    except Exception as e:  # a damaged file makes numpy raise a dozen kinds of errors
        raise DataError(f"{path}: can't read the arrays: {brief(e)}") from e


def brief(error: Exception) -> str:
    """An error of somebody else's in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write an ``.npz``, whole or not at all; raises DataError."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content.getvalue())
    except OSError as e:
        raise DataError(f"{path}: can't be written: {e.strerror or e}") from e
    return path


def reassembled(windows_NL: NDArray[Any], stride: int, what: str) -> NDArray[Any]:
    """The stream that windows were cut from with this stride; raises DataError unless each continues the one before."""
    if not (windows_NL[1:, :-stride] == windows_NL[:-1, stride:]).all():
        raise DataError(f"{what}: the windows are not cut from one stream with stride {stride}")
    return np.concatenate([windows_NL[0], windows_NL[1:, -stride:].ravel()])


def cut(stream_S: NDArray[Any], length: int, stride: int) -> NDArray[Any]:
    """Windows of a stream (N, L), as a view."""
    return sliding_window_view(stream_S, length)[::stride]


def by_trace(name: str, arrays: Arrays, seed: int = 0) -> Data:
    """Traces of named calls (ids, offsets, vocab) split 80/10/10 by trace, exact duplicates and empty ones left out.

    The vocabulary holds the calls of the training part, the commonest first, as instants; others become OTHER.
    """
    ids, offsets, names = arrays["ids"], arrays["offsets"].astype(np.int64), arrays["vocab"].tolist()
    kept: dict[bytes, tuple[int, int]] = {}
    full = [(a, b) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True) if b > a]
    for a, b in full:
        kept.setdefault(hashlib.sha256(ids[a:b].tobytes()).digest(), (a, b))
    spans = list(kept.values())
    order = np.random.default_rng(seed).permutation(len(spans)).tolist()
    held = len(spans) // 10
    parts = {"test": order[:held], "validation": order[held : 2 * held], "train": order[2 * held :]}
    counts = np.zeros(len(names), np.int64)
    for i in parts["train"]:
        a, b = spans[i]
        counts += np.bincount(ids[a:b], minlength=len(names))
    ranked = sorted(np.flatnonzero(counts).tolist(), key=lambda i: (-int(counts[i]), names[i]))
    vocabulary = Vocabulary(((names[i], INSTANT) for i in ranked), (int(counts[i]) for i in ranked))
    table = np.array([vocabulary.id(n, INSTANT) for n in names], np.int64)
    no_thread = np.zeros(max((b - a for a, b in spans), default=0), np.int64)

    def streams(part: str) -> list[Stream]:
        return [Stream(table[ids[a:b]], no_thread[: b - a]) for a, b in (spans[i] for i in sorted(parts[part]))]

    return Data(
        name,
        vocabulary,
        streams("train"),
        streams("validation"),
        streams("test"),
        named=True,
        dropped=len(full) - len(spans),
    )


def bare(stream_S: NDArray[Any]) -> Stream:
    """A stream of ids that begin at 1, without threads, as vocabulary ids."""
    ids = stream_S.astype(np.int64) - 1 + FIRST
    return Stream(ids, np.zeros_like(ids))
