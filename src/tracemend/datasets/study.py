"""The nine benchmarks of the study (Janecek et al. 2025): windows of bare ids, as published.

An npz file holds the published windows ``train_50/100/150`` (10000, L) and ``test_50/100/150/200`` (500, L), uint8, ids
from 1 by frequency and ranked anew for each length. They were cut with stride 5 from one stream for training and one
for testing. There is no public training file of length 200, so two arrays are derived:

``train_stream``, the 50,145 events of ``train_150`` chained to one stream again, which cuts into exactly these windows.
It was made from them as an unordered bag (``walked``) and doesn't keep their published order: where a stretch occurs
several times it may go on as another occurrence does, and its second half is hardly anything but the loop of period 14,
which in the published order (``reassembled``) is spread over the whole. The benchmarks of this project have used it for
length 200; lengths 50 to 150 use the published order.

``test_200_as_150``, ``test_200`` in the ids of that stream (``translated``).

Axis legend: N windows, L length, S events of a stream.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracemend.datasets.base import (
    Arrays,
    Data,
    Entry,
    Windows,
    bare,
    brief,
    check,
    cut,
    read_arrays,
    reassembled,
    write_arrays,
)
from tracemend.errors import DataError
from tracemend.trace import ngrams
from tracemend.trace.ngrams import Bools, Hashes
from tracemend.trace.vocabulary import FIRST, numbered
from tracemend.trace.windows import Ints, Stream

BENCHMARKS = (
    "compress-gzip",
    "ffmpeg",
    "scimark2",
    "stream",
    "ramspeed",
    "phpbench",
    "pybench",
    "iozone",
    "unpack-linux",
)
LENGTHS = (50, 100, 150, 200)
PERIOD, STRIDE, GAP = 14, 5, 10
#: What is left between two purged runs must have this many events to train on.
SHORTEST = 32

PUBLISHED = (*(f"train_{n}" for n in LENGTHS[:-1]), *(f"test_{n}" for n in LENGTHS))
KEYS = (*PUBLISHED, "train_stream", "test_200_as_150")

COMMIT = "f461f807437a754ce4e2ac1f22b86c797bef2004"
BASE_URL = f"https://raw.githubusercontent.com/janecekm/TraceReconstruction/{COMMIT}/Datasets"

#: Content of the nine files (``base.digest``).
DIGESTS = {
    "compress-gzip": "46a730de3a62a94b01ceb9a341c617c0ac9da04595e1891bee8a164ba740fbbb",
    "ffmpeg": "778a59e8d53da97696d2a26a4d535cc7a10a7024743d459711a01867ea9d6ad3",
    "scimark2": "51eb730dee57815d503ba0a61e73629924eb32bbc38f498ae92737044525dcf0",
    "stream": "65406f138d44d1f22b458b5ad11067d5d3f608cd62a79356a8afeb2c519c1554",
    "ramspeed": "9e0c6e85bfb10748da59ce5966ab2f6b411932e26c210febce66f27b145cf478",
    "phpbench": "6d4d6c0ef31e30b7ddd7ff425c3772ce7a2bff13015a581ce74e0afc4ebc958e",
    "pybench": "40b4f76c61a92e18ba912cfa1f0f05df5468d1c7e5c210576e19ea8d896d8ec4",
    "iozone": "40b098c700bdc0fb42252d19811b667f261dfedd50b136886af5cfeaaf587e92",
    "unpack-linux": "6736dc220c4aa89dcaf6fda5103a82d2c664ccc9a664441bf23a51ed9acdf312",
}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Study(Data):
    """A benchmark of the study with windows of one length, its own test windows among them.

    windows_NL and group_N: the test windows and the episode each belongs to, a stretch of the test stream inside or
    outside the loop. outside_NL: which of their events lie outside the loop.
    """

    windows_NL: Ints
    group_N: Ints
    outside_NL: Bools

    def windows(self, length: int, number: int, seed: int = 0) -> Windows:
        """The study's own test windows, evenly thinned if ``number`` is less; ``seed`` changes nothing.

        Raises DataError for another length than was loaded.
        """
        if length != self.windows_NL.shape[1]:
            raise DataError(
                f"{self.name}: loaded for windows of {self.windows_NL.shape[1]}, not {length}; "
                f"load it for one of {', '.join(map(str, LENGTHS))}"
            )
        n = len(self.windows_NL)
        chosen = np.arange(min(number, n)) * n // min(number, n) if number and n else np.arange(0)
        return Windows(self.windows_NL[chosen], self.group_N[chosen])

    def subsets(self, windows: Windows, known_L: Bools) -> dict[str, Bools]:
        """As for any data, and "outside the loop": at least one hidden event belongs to no stretch of period 14.

        Whether an event does is told by the stream around the window (around its first occurrence, should it occur
        several times); for a window that is none of the study's, by the window alone.
        """
        first = {w.tobytes(): n for n, w in reversed(list(enumerate(self.windows_NL)))}
        at = [first.get(w.tobytes()) for w in np.ascontiguousarray(windows.ids_NL, np.int64)]
        outside = [~in_loop(w) if n is None else self.outside_NL[n] for n, w in zip(at, windows.ids_NL, strict=True)]
        held = np.array([o[~known_L].any() for o in outside], bool)
        return {**super().subsets(windows, known_L), "outside the loop": held}

    def test_hashes(self, length: int, stride: int) -> Hashes:
        """Hashes of the study's own test windows where they have this length."""
        if length == self.windows_NL.shape[1] and stride == STRIDE:
            return ngrams.windows(self.windows_NL)
        return super().test_hashes(length, stride)


def in_loop(stream_S: NDArray[np.integer], period: int = PERIOD, shortest: int | None = None) -> Bools:
    """Which events belong to a stretch that repeats itself after ``period`` events for at least two periods.

    shortest: events that such a stretch must have, if that is to be more.
    """
    inside = np.zeros(len(stream_S) + 1, np.int64)
    same = stream_S[:-period] == stream_S[period:]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    begin, end = edges[::2], edges[1::2]
    long = end - begin + period >= max(2 * period, shortest or 0)
    np.add.at(inside, begin[long], 1)
    np.add.at(inside, end[long] + period, -1)
    return np.asarray(np.cumsum(inside)[:-1] > 0, np.bool_)


def read(name: str, folder: Path, length: int) -> Study:
    """One benchmark for windows of ``length``: "pts/NAME", "pts-hard30/NAME" or "pts-hard15/NAME". Raises DataError.

    Of every tenth of the training stream the last tenth validates. The vocabulary counts the whole training stream.

    The hard versions: every run of 30 (15) consecutive events of the test stream that holds at least one event outside
    the loop is purged from training and validation, that is, the streams are cut there and all events of these runs are
    gone; pieces of less than 32 events are dropped. Of the test windows those are left whose centre gap of 10 holds an
    event outside the loop. Runs of pure loop stay. The vocabulary still counts the stream before the purge.
    """
    family, _, benchmark = name.partition("/")
    if length not in LENGTHS:
        raise DataError(f"{name}: no windows of {length}; one of {', '.join(map(str, LENGTHS))}")
    path = folder / "pts" / f"{benchmark}.npz"
    arrays = read_arrays(path, name, KEYS)
    check(str(path), arrays, DIGESTS[benchmark])
    return made(name, arrays, length, purged=int(family.removeprefix("pts-hard")) if family != "pts" else 0)


def made(name: str, arrays: Arrays, length: int, *, purged: int = 0) -> Study:
    """A benchmark from its arrays; ``purged``: the length of the runs to purge, 0 for none."""
    if length == LENGTHS[-1]:
        stream, windows = arrays["train_stream"], arrays["test_200_as_150"]
    else:
        stream = reassembled(arrays[f"train_{length}"], STRIDE, f"{name}: train_{length}")
        windows = arrays[f"test_{length}"]
    whole = reassembled(windows, STRIDE, f"{name}: test windows of {length}")
    counts = np.bincount(stream, minlength=int(max(stream.max(), windows.max())) + 1)[1:]
    # of every tenth, since by itself the end of the walked stream is one loop, which would tell nothing
    pieces = [np.split(tenth, [len(tenth) * 9 // 10]) for tenth in np.array_split(stream, 10)]
    outside: Bools = np.asarray(~in_loop(whole), np.bool_)
    outside_NL = cut(outside, length, STRIDE)
    begin = (length - GAP) // 2
    hidden_NG = outside_NL[:, begin : begin + GAP]
    hard_N: Bools = np.asarray(hidden_NG.any(axis=1), np.bool_)
    episode = np.cumsum(np.concatenate([[False], outside[1:] != outside[:-1]]))
    # a window belongs to the episode of the first event outside the loop in its gap, else to that of its centre
    at = np.where(hard_N, hidden_NG.argmax(axis=1), GAP // 2)
    group_N = episode[STRIDE * np.arange(len(windows)) + begin + at]
    data = Study(
        name=name,
        vocabulary=numbered(len(counts), counts.tolist()),
        train=[bare(p[0]) for p in pieces],
        validation=[bare(p[1]) for p in pieces],
        test=[bare(whole)],
        named=False,
        windows_NL=windows.astype(np.int64) - 1 + FIRST,
        group_N=group_N.astype(np.int64),
        outside_NL=outside_NL,
    )
    return _hard(data, outside, hard_N, purged) if purged else data


def _hard(data: Study, outside_S: Bools, hard_N: Bools, run: int) -> Study:
    forbidden = ngrams.unique(ngrams.runs(data.test[0].ids, run)[cut(outside_S, run, 1).any(axis=1)])

    def left(streams: list[Stream]) -> list[Stream]:
        return [piece for s in streams for piece in purge(s, forbidden, run)]

    return replace(
        data,
        train=left(data.train),
        validation=left(data.validation),
        windows_NL=data.windows_NL[hard_N],
        group_N=data.group_N[hard_N],
        outside_NL=data.outside_NL[hard_N],
        _seen={},
    )


def purge(stream: Stream, forbidden: Hashes, run: int) -> list[Stream]:
    """What is left of a stream without every event that lies in a run whose hash is forbidden, cut where some went."""
    if len(stream) < run:
        return [stream] if len(stream) >= SHORTEST else []
    gone = ngrams.covered(ngrams.occur(ngrams.runs(stream.ids, run), forbidden), run)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], gone, [True]]).astype(np.int8)))
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= SHORTEST]
    return [stream[a:b] for a, b in spans]


def walked(windows_NL: Bytes) -> Bytes:
    """A stream that these windows, in any order, cut into with stride 5, beginning with the first one.

    An Eulerian walk (Hierholzer 1873): a window leads from its first L - 5 events to its last L - 5, and of the
    continuations of a place the greatest in byte order is gone first. Raises DataError where no walk uses all of them.
    """
    onward: dict[bytes, list[bytes]] = {}
    for w in windows_NL:
        onward.setdefault(w[:-STRIDE].tobytes(), []).append(w[STRIDE:].tobytes())
    for ends in onward.values():
        ends.sort()
    stack, walk = [windows_NL[0, :-STRIDE].tobytes()], []
    while stack:
        ends = onward.get(stack[-1], [])
        if ends:
            stack.append(ends.pop())
        else:
            walk.append(stack.pop())
    walk.reverse()
    stream = np.frombuffer(walk[0] + b"".join(place[-STRIDE:] for place in walk[1:]), np.uint8)
    if len(walk) != len(windows_NL) + 1 or any(a[STRIDE:] != b[:-STRIDE] for a, b in pairwise(walk)):
        raise DataError("the training windows can't be chained to one stream")
    return stream


def translated(test_NL: Bytes, stream_S: Bytes, *, run: int = 60, least: int = 6) -> Bytes:
    """Test windows in the ids of a training stream that was ranked by itself.

    Where a run of 60 test events of at least 6 kinds has the same pattern of repetitions as a run of the stream, its
    ids stand for that run's ids; the matches vote. An id without a match keeps its number (in the nine sets there is
    none). Raises DataError where two ids would become one.
    """
    whole = reassembled(test_NL, STRIDE, "the test windows of 200")
    train, test = cut(stream_S, run, 1), cut(whole, run, 1)
    place: dict[bytes, dict[bytes, int]] = {}
    for n, pattern in enumerate(repetitions(train)):
        place.setdefault(pattern.tobytes(), {}).setdefault(train[n].tobytes(), n)
    votes = np.zeros((256, 256), np.int64)
    for n, pattern in enumerate(repetitions(test)):
        ids, at = np.unique(test[n], return_index=True)
        if len(ids) >= least:
            for m in place.get(pattern.tobytes(), {}).values():
                votes[ids, train[m, at]] += 1
    table = np.where(votes.any(axis=1), votes.argmax(axis=1), np.arange(256))
    used = np.unique(test_NL)
    if len(np.unique(table[used])) < len(used):
        raise DataError("the test windows of 200 can't be told in the ids of the training stream")
    return np.asarray(table[test_NL], np.uint8)


def repetitions(windows_NL: NDArray[np.integer]) -> NDArray[np.int16]:
    """For each position (N, L) where in its window the same id was last, -1 where it is new: the same for windows that
    differ only in how ids are called."""
    order = np.argsort(windows_NL, axis=1, kind="stable").astype(np.int16)
    ranked = np.take_along_axis(windows_NL, order.astype(np.int64), axis=1)
    before = np.full(windows_NL.shape, -1, np.int16)
    before[:, 1:] = np.where(ranked[:, 1:] == ranked[:, :-1], order[:, :-1], -1)
    result = np.empty_like(before)
    np.put_along_axis(result, order.astype(np.int64), before, axis=1)
    return result


def fetch(name: str, folder: Path, archive: Path | None = None, *, url: str = BASE_URL) -> Path:
    """Download a benchmark's seven files, derive what isn't published, check all of it and keep it as one file.

    Raises DataError; then nothing is left behind.
    """
    from tracemend.datasets.download import download

    benchmark = name.partition("/")[2]
    arrays: Arrays = {}
    with tempfile.TemporaryDirectory() as work:
        for key in PUBLISHED:
            part, length = key.split("_")
            file = download(f"{url}/{benchmark}/sequence_length_{length}/{part}.npy", Path(work) / f"{key}.npy")
            arrays[key] = _bytes(file, f"{name}: {part}.npy of length {length}", int(length))
    arrays["train_stream"] = walked(arrays["train_150"])
    arrays["test_200_as_150"] = translated(arrays["test_200"], arrays["train_stream"])
    check(name, arrays, DIGESTS[benchmark])
    return write_arrays(folder / "pts" / f"{benchmark}.npz", arrays)


def _bytes(path: Path, what: str, length: int) -> Bytes:
    try:
        with open(path, "rb") as opened:
            array = np.load(opened, allow_pickle=False)
    except Exception as e:  # as in read_arrays
        raise DataError(f"{what}: no array: {brief(e)}") from e
    array = array.reshape(len(array), -1) if array.ndim > 2 else array
    if array.ndim != 2 or array.shape[1] != length or not len(array):
        raise DataError(f"{what}: an array of shape {array.shape}, not windows of {length}")
    if array.dtype.kind not in "iuf" or array.min() < 1 or array.max() > 255 or (array != np.floor(array)).any():
        raise DataError(f"{what}: {array.dtype} that are no ids from 1 to 255")
    return np.asarray(array, np.uint8)


HOME = "https://github.com/janecekm/TraceReconstruction"
CITATION = (
    "Janecek, Ezzati-Jivan, Hamou-Lhadj: Execution Trace Reconstruction Using Diffusion-Based Generative Models. "
    "ICSE 2025. Traces: Zenodo record 437207."
)
TERMS = "no licence stated by the repository; the traces behind it at Zenodo, see there"
NOTE = (
    "ids have no names; the LTTng traces (CTF) that have them: https://zenodo.org/records/437207. Most test "
    "windows occur in training: see 'tracemend datasets audit'."
)


def _title(run: int, benchmark: str) -> str:
    return f"the study's {benchmark}" + (f", runs of {run} outside the loop purged" if run else "")


ENTRIES = [
    Entry(
        f"pts{f'-hard{run}' if run else ''}/{benchmark}",
        _title(run, benchmark),
        HOME,
        TERMS,
        CITATION,
        f"pts/{benchmark}.npz",
        read,
        fetch,
        LENGTHS,
        note=NOTE,
    )
    for run in (0, 30, 15)
    for benchmark in BENCHMARKS
]
