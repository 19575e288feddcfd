"""Data sets: contents, splits, what test and training share, fetching from a local server, bad input in one line."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recording import twice

from tracemend.datasets import DATASETS, Data, Windows, adfa, fetch, load, pairs, study
from tracemend.datasets.audit import audit, twins
from tracemend.datasets.audit import loop as loop_of
from tracemend.datasets.base import by_trace, check, cut, digest, read_arrays, reassembled, write_arrays
from tracemend.datasets.recordings import read_split
from tracemend.datasets.study import BENCHMARKS, in_loop, made, repetitions, translated, walked
from tracemend.errors import DataError, TraceError
from tracemend.formats import parquet
from tracemend.recording.corpus import workloads
from tracemend.recording.pairs import by_times
from tracemend.recording.pairs import write as write_pair
from tracemend.trace import ngrams
from tracemend.trace.syscalls import table
from tracemend.trace.vocabulary import FIRST, OTHER, numbered
from tracemend.trace.windows import Ints, Stream

SPLIT = ROOT / "experiments" / "workloads.toml"
SHARED = ROOT.parent / "shared" / "data"
FAMILIES = ["pts/compress-gzip", "pts-hard30/phpbench", "pts-hard15/ffmpeg", "adfa", "android", "recordings"]


def source(name: str) -> Path:
    return ROOT if name == "recordings" else SHARED


@cache
def loaded(name: str, length: int = 200) -> Data:
    if not (source(name) / DATASETS[name].file).exists():
        pytest.skip(f"needs ../shared/data/{DATASETS[name].file}")
    return load(name, source(name), length=length)


def streams(*rows: list[int]) -> list[Stream]:
    return [Stream(np.array(r, np.int64), np.zeros(len(r), np.int64)) for r in rows]


def made_up_study(rng: np.random.Generator, episodes: int = 60) -> dict[str, np.ndarray[Any, Any]]:
    """Made-up published arrays: a loop of period 14 and words of other ids between, ranked anew for length 200."""
    loop = np.array([1, 1, 2, 2, 3, 3, 1, 1, 4, 4, 2, 2, 3, 3])
    words = [rng.integers(5, 30, 40) for _ in range(6)]

    def stream(count: int, events: int) -> np.ndarray[Any, Any]:
        parts = [np.concatenate([np.tile(loop, rng.integers(3, 6)), words[rng.integers(6)]]) for _ in range(count)]
        whole = np.concatenate(parts)
        return whole[: len(whole) // 5 * 5] if events == 0 else whole[:events]

    train, test = stream(episodes, 0), stream(20, 800)
    renamed = np.arange(256)
    renamed[[7, 8]] = [8, 7]  # as if two ids had changed their ranks
    arrays = {f"train_{n}": cut(train, n, 5) for n in (50, 100, 150)}
    arrays |= {f"test_{n}": cut(test, n, 5) for n in (50, 100, 150)} | {"test_200": cut(renamed[test], 200, 5)}
    return {k: np.ascontiguousarray(v, np.uint8) for k, v in arrays.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_contract(name: str) -> None:
    data = loaded(name)
    assert data.name == name
    for part in (data.train, data.validation, data.test):
        assert part
        assert all(len(s.ids) == len(s.tids) > 0 for s in part)
        assert all(s.ids.min() >= OTHER and s.ids.max() < len(data.vocabulary) for s in part)
    assert data.vocabulary.counts is not None
    assert list(data.vocabulary.counts) == sorted(data.vocabulary.counts, reverse=True) or not data.named
    windows = data.windows(200, 100)
    assert windows.ids_NL.shape == (len(windows.group_N), 200)
    assert 0 < len(windows) <= 100
    if data.named:
        assert len(np.unique(windows.ids_NL, axis=0)) == len(windows)
        more = data.windows(200, 150)
        np.testing.assert_array_equal(more.ids_NL[:100], windows.ids_NL)  # asking for more changes nothing
        assert (data.windows(200, 100, seed=1).ids_NL != windows.ids_NL).any()
    known = np.ones(200, bool)
    known[95:105] = False
    subsets = data.subsets(windows, known)
    assert {"all", "unseen"} <= subsets.keys()
    assert all(s.shape == (len(windows),) and s.dtype == bool for s in subsets.values())
    assert subsets["all"].all()
    assert ("outside the loop" in subsets) == name.startswith("pts")


@pytest.mark.parametrize("name", ["adfa", "android"])
def test_no_training_trace_is_in_the_test_part(name: str) -> None:
    data = loaded(name)
    parts = [{s.ids.tobytes() for s in part} for part in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(parts[0] | parts[1] | parts[2])
    total = len(data.train) + len(data.validation) + len(data.test)
    assert len(data.test) == len(data.validation) == total // 10
    assert {"adfa": 2083, "android": 30}[name] == data.dropped


def test_recordings_are_grouped_by_recording() -> None:
    data = loaded("recordings")
    assert len(data.groups) == len(data.test) > len(set(data.groups))
    assert set(data.windows(200, 200).group_N.tolist()) <= set(data.groups)


def test_the_split_names_workloads_that_are_there() -> None:
    found, packages = workloads(SPLIT)
    names = [w.name for w in found]
    assert len(set(names)) == len(names)
    assert read_split(SPLIT).tested < set(names)
    assert {"ffmpeg", "linux-perf"} <= set(packages)
    assert all(file.is_file() for w in found for file in w.files)
    recorded = {p.stem.rpartition("-")[0] for p in (ROOT / "corpus").glob("*.parquet")}
    assert recorded == {w.name for w in found if not w.ust} or not recorded


@pytest.mark.long
def test_the_corpus_pairs_agree_with_themselves() -> None:
    """Of each file: what survived and what is missing is everything, and what was stated is what is missing."""
    split, names = read_split(SPLIT), set()
    for lossy in pairs(ROOT / "corpus", SPLIT):
        pair, name = lossy.read(), lossy.name
        about = parquet.read_columns(ROOT / "corpus" / "pairs" / f"{name}.parquet")[1]["pair"]
        assert (about["workload"], about["run"], about["how"]) == (lossy.workload, lossy.run, lossy.how)
        assert (lossy.tests == "by workload") == (lossy.workload in split.tested)
        assert len(pair.lossy) < len(pair.lossy) + pair.lost == len(pair.complete)
        recorded = about["recorded"]
        assert recorded["survived"] + recorded["missing"] == recorded["events"]
        assert about["cut"] or recorded["survived"] == len(pair.lossy)
        if lossy.how == "perf":  # its counts include lost records of no event
            beyond = [g.count - len(m) for g, m in zip(pair.lossy.gaps, pair.missing, strict=True) if g.count]
            assert min(beyond) >= 0, name
            assert sum(beyond) <= about["counted"] - recorded["missing"], name
        elif lossy.how != "ust_overwrite":  # nobody counts the events of packets that LTTng overwrote
            assert about["counted"] == recorded["missing"]
            assert pair.faults(None if about["cut"] else about["counted"]) == [], name
        if lossy.how == "overwrite":
            assert pair.lossy.lost == pair.lost
        names.add(name)
    if not names:
        pytest.skip("corpus/pairs isn't there")
    found = workloads(SPLIT)[0]
    assert {f"{w.name}-3-overwrite" for w in found if not w.ust} <= names
    assert {f"{w.name}-{run}-{how}" for w in found if w.ust for run in range(4) for how in w.ways} <= names


def test_pairs_are_read_by_what_they_test(tmp_path: Path) -> None:
    split = tmp_path / "workloads.toml"
    split.write_text("[split]\nvalidation_run = 2\ntest_run = 3\ntest = ['b-c']\n")
    (tmp_path / "pairs").mkdir()
    lossy, complete, _ = twice(1)
    pair, _ = by_times(lossy, complete)
    for name in ("a-3-drop", "a-0-perf", "b-c-0-overwrite", "b-c-3-perf"):
        write_pair(pair, tmp_path / "pairs" / f"{name}.parquet")
    found = [(p.workload, p.run, p.how, p.tests) for p in pairs(tmp_path, split)]
    assert found == [
        ("a", 3, "drop", "by run"),
        ("b-c", 0, "overwrite", "by workload"),
        ("b-c", 3, "perf", "by workload"),
    ]
    assert [p.workload for p in pairs(tmp_path, split, "by run")] == ["a"]
    assert next(pairs(tmp_path, split)).read().lost == pair.lost
    (tmp_path / "pairs" / "x.parquet").touch()
    with pytest.raises(TraceError, match="WORKLOAD-RUN-HOW"):
        list(pairs(tmp_path, split))


def test_adfa_has_the_calls_by_name() -> None:
    data = loaded("adfa")
    arrays = read_arrays(SHARED / adfa.FILE, "adfa", adfa.KEYS)
    first = arrays["ids"][: arrays["offsets"][1]]
    names = [arrays["vocab"][i] for i in first]
    trace = next(
        s
        for part in (data.train, data.validation, data.test)
        for s in part
        if [(e := data.vocabulary.entry(i)) and e[0] for i in s.ids.tolist()] == names
    )
    assert data.vocabulary.entry(int(trace.ids[0])) == (names[0], 2)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_studys_derived_arrays_come_out_again(benchmark: str) -> None:
    loaded(f"pts/{benchmark}")  # has the content it should have
    arrays = read_arrays(SHARED / "pts" / f"{benchmark}.npz", benchmark, study.KEYS)
    np.testing.assert_array_equal(walked(arrays["train_150"]), arrays["train_stream"])
    np.testing.assert_array_equal(translated(arrays["test_200"], arrays["train_stream"]), arrays["test_200_as_150"])
    for length in (50, 100, 150):
        whole = reassembled(arrays[f"train_{length}"], 5, benchmark)
        np.testing.assert_array_equal(cut(whole, length, 5), arrays[f"train_{length}"])


@pytest.mark.parametrize("length", [50, 100, 150, 200])
def test_the_studys_windows_are_its_own(length: int) -> None:
    data = loaded("pts/compress-gzip", length)
    windows = data.windows(length, 500)
    np.testing.assert_array_equal(windows.ids_NL, cut(data.test[0].ids, length, 5))
    np.testing.assert_array_equal(data.windows(length, 100).ids_NL, windows.ids_NL[::5])
    with pytest.raises(DataError, match="50, 100, 150, 200"):
        data.windows(length + 1, 10)


def test_the_hard_version_shares_no_run_with_the_gaps() -> None:
    easy, hard = loaded("pts/phpbench"), loaded("pts-hard15/phpbench")
    runs = cut(easy.test[0].ids, 15, 1)[cut(~in_loop(easy.test[0].ids), 15, 1).any(axis=1)]
    forbidden = {r.tobytes() for r in np.ascontiguousarray(runs)}
    held = [np.ascontiguousarray(cut(s.ids, 15, 1)) for s in hard.train + hard.validation]
    assert not any(r.tobytes() in forbidden for rows in held for r in rows)
    kept = sum(map(len, hard.train))
    assert 0.6 < kept / sum(map(len, easy.train)) < 0.9
    known = np.ones(200, bool)
    known[95:105] = False
    windows = hard.windows(200, 500)
    assert len(windows) == 145 == easy.subsets(easy.windows(200, 500), known)["outside the loop"].sum()
    assert all(hard.subsets(windows, known)[k].all() for k in ("unseen", "outside the loop"))


def test_loops() -> None:
    loop = np.tile(np.arange(14), 3)
    stream = np.concatenate([np.arange(100, 120), loop, np.arange(200, 220), loop[:27]])
    expected = np.zeros(len(stream), bool)
    expected[20:62] = True  # 27 events are less than two periods
    np.testing.assert_array_equal(in_loop(stream), expected)
    assert not in_loop(np.arange(5)).any()
    assert loop_of([np.tile(np.arange(9), 30), np.tile([1], 200)]) == 9
    assert not in_loop(np.repeat(np.arange(20), 2), period=1, shortest=28).any()


numbers = st.lists(st.integers(0, 3), min_size=0, max_size=40)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(numbers, max_size=4), st.lists(numbers, max_size=3), st.integers(1, 12))
def test_unseen_agrees_with_brute_force(train: list[list[int]], test: list[list[int]], length: int) -> None:
    data = Data("made-up", numbered(4), streams(*train), [], streams(*test), False)
    there = {tuple(t[i : i + length]) for t in train for i in range(len(t) - length + 1)}
    rows = [t[i : i + length] for t in test for i in range(len(t) - length + 1)]
    windows = Windows(np.array(rows, np.int64).reshape(len(rows), length), np.zeros(len(rows), np.int64))
    unseen = data.subsets(windows, np.ones(length, bool))["unseen"]
    assert unseen.tolist() == [tuple(r) not in there for r in rows]
    assert ngrams.windows(windows.ids_NL).tolist() == [
        h for s in data.test for h in ngrams.runs(s.ids, length).tolist()
    ]


def test_hashes_of_many_long_runs_do_not_collide() -> None:
    stream = np.random.default_rng(0).integers(0, 2, 200_000)
    assert len(ngrams.distinct([stream], 64)) == 200_000 - 63
    swapped = np.arange(1000)
    found = set()
    for i in range(999):
        swapped[[i, i + 1]] = swapped[[i + 1, i]]
        found.add(int(ngrams.windows(swapped[None])[0]))
    assert len(found) == 999


def test_windows_give_fewer_when_there_are_not_enough() -> None:
    data = Data("made-up", numbered(9), [], [], streams([3, 4, 5, 6], [3, 4, 5], [3]), False)
    assert len(data.windows(3, 100)) == 2
    with pytest.raises(DataError, match="no test windows of 5; the longest test trace has 4"):
        data.windows(5, 10)


def test_splits_of_made_up_traces() -> None:
    rows = [[k % 7, k // 7 % 7, 1, 2] for k in range(49)] + [[0, 0, 1, 2], []]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    arrays = {
        "ids": np.array([i for r in rows for i in r], np.uint8),
        "offsets": offsets,
        "vocab": np.array(list("abcdefg")),
    }
    data = by_trace("made-up", arrays)
    assert (len(data.train), len(data.validation), len(data.test), data.dropped) == (41, 4, 4, 1)
    total: Ints = np.concatenate([s.ids for s in data.train])
    assert data.vocabulary.counts == tuple(np.bincount(total)[FIRST:].tolist())


def test_audit_of_made_up_streams() -> None:
    train, test = streams(list(range(10)), list(range(10, 20))), streams([*range(5), 30, 31, 32, 33, 34])
    told = audit(Data("made-up", numbered(40), train, [], test, False), 5, stride=1)
    assert told["events"] == {"train": 20, "validation": 0, "test": 10}
    assert told["distinct_ids"] == 25
    assert told["test_windows_in_training"]["train"] == round(1 / 6, 4)
    assert told["test_runs_in_training"] == {"5": round(1 / 6, 4), "10": 0.0, "20": 0.0, "40": 0.0}
    assert told["loop"]["test"] == 0


@pytest.mark.long
def test_the_audit_shows_the_studys_leak() -> None:
    told = audit(loaded("pts/compress-gzip"))
    assert told["test_windows_in_training"] == {"train": 0.986, "train_and_validation": 1.0}
    assert told["loop"]["period"] == 14
    assert told["loop"]["test"] == 0.8026
    assert told["distinct_train_windows"] == 0.3085
    hard = audit(loaded("pts-hard30/compress-gzip"))
    assert hard["test_windows_in_training"]["train_and_validation"] == 0
    assert audit(loaded("adfa"))["test_windows_in_training"]["train"] == 0.3043


def test_three_of_the_nine_sets_have_the_same_test_windows() -> None:
    sets = {b: loaded(f"pts/{b}") for b in BENCHMARKS}
    assert twins(sets) == [("compress-gzip", "ffmpeg"), ("compress-gzip", "stream"), ("ffmpeg", "stream")]


def test_windows_with_other_names_have_the_same_repetitions() -> None:
    windows = np.array([[5, 6, 5, 7], [1, 2, 1, 3], [1, 2, 2, 3]])
    first, second, third = repetitions(windows).tolist()
    assert first == second == [-1, -1, 0, -1]
    assert third == [-1, -1, 1, -1]


def test_content_is_checked(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3, dtype=np.uint8), "a": np.zeros((2, 2), np.uint8)}
    assert digest(arrays) == digest(dict(reversed(arrays.items())))
    assert digest(arrays) != digest(arrays | {"a": np.zeros(4, np.uint8)})
    with pytest.raises(DataError, match="other content"):
        check("it", arrays, "0" * 64)
    path = write_arrays(tmp_path / "x" / "y.npz", arrays)
    assert digest(read_arrays(path, "it", ("a", "b"))) == digest(arrays)
    assert [p.name for p in path.parent.iterdir()] == ["y.npz"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}", folder
        http.shutdown()


def test_fetching_the_study(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, folder = server
    arrays = made_up_study(np.random.default_rng(0))
    for key, array in arrays.items():
        part, length = key.split("_")
        path = folder / "ffmpeg" / f"sequence_length_{length}" / f"{part}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array.astype(np.int64))
    stream = walked(arrays["train_150"])
    assert sorted(map(bytes, cut(stream, 150, 5))) == sorted(map(bytes, arrays["train_150"]))
    whole = {**arrays, "train_stream": stream, "test_200_as_150": translated(arrays["test_200"], stream)}
    test = reassembled(arrays["test_150"], 5, "made-up")
    np.testing.assert_array_equal(reassembled(whole["test_200_as_150"], 5, "made-up"), test[:800])
    with pytest.raises(DataError, match="other content"):
        study.fetch("pts/ffmpeg", tmp_path / "cache", url=url)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setitem(study.DIGESTS, "ffmpeg", digest(whole))
    path = study.fetch("pts/ffmpeg", tmp_path / "cache", url=url)
    assert path == tmp_path / "cache" / "pts" / "ffmpeg.npz"
    monkeypatch.setenv("TRACEMEND_DATA", str(tmp_path / "cache"))
    data = load("pts/ffmpeg", length=100)
    assert sum(map(len, data.train + data.validation)) == 5 * len(arrays["train_100"]) + 95
    with pytest.raises(DataError, match=r"stream/.*train\.npy: can't be downloaded: 404"):
        study.fetch("pts/stream", tmp_path / "cache", url=url)
    np.save(folder / "ffmpeg" / "sequence_length_50" / "train.npy", np.zeros((3, 50)))
    with pytest.raises(DataError, match="no ids from 1 to 255"):
        study.fetch("pts/ffmpeg", tmp_path / "other", url=url)
    assert [p.name for p in tmp_path.iterdir()] in (["served", "cache"], ["cache", "served"])


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be downloaded"):
        study.fetch("pts/ffmpeg", tmp_path, url="http://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def archive(path: Path, texts: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in texts.items():
            file.writestr(name, text)
    return path


def test_the_archive_of_adfa_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {f"ADFA-LD/Validation_Data_Master/UVD-{n:04}.txt": f"{n % 5 + 3} 6 6 168 " for n in range(1, 30)}
    texts |= {"ADFA-LD/Training_Data_Master/UTD-0001.txt": "6 5\n3 6"}
    texts |= {"ADFA-LD/Attack_Data_Master/Adduser_1/UAD-Adduser-1-1.txt": "1", "ADFA-LD/ADFA-LD+Syscall+List.txt": "x"}
    texts |= {"__MACOSX/ADFA-LD/Training_Data_Master/._UTD-0001.txt": "rubbish"}
    packed = archive(tmp_path / "a.zip", texts)
    arrays = adfa.converted(packed)
    assert len(arrays["offsets"]) == 31
    assert [arrays["vocab"][i] for i in arrays["ids"][:4]] == ["close", "open", "read", "close"]
    assert arrays["trace"][0] == "Training_Data_Master/UTD-0001.txt"
    with pytest.raises(DataError, match="other content"):
        fetch("adfa", tmp_path / "cache", packed)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(adfa, "DIGEST", digest(adfa.canonical(arrays)))
    fetch("adfa", tmp_path / "cache", packed)
    assert load("adfa", tmp_path / "cache").dropped == 24
    for bad in ({"x.txt": "1"}, {"Training_Data_Master/UTD-1.txt": "one"}):
        with pytest.raises(DataError, match="no archive of ADFA-LD"):
            adfa.converted(archive(tmp_path / "b.zip", bad))


@pytest.mark.long
def test_adfa_comes_out_of_its_texts_again(tmp_path: Path) -> None:
    loaded("adfa")
    arrays = read_arrays(SHARED / adfa.FILE, "adfa", adfa.KEYS)
    numbers = {name: number for number, name in table("i386").items()}
    codes = np.array([numbers[n] for n in arrays["vocab"].tolist()])[arrays["ids"]]
    spans = zip(arrays["trace"].tolist(), arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
    texts = {f"ADFA-LD/{t}": " ".join(map(str, codes[a:b].tolist())) for t, a, b in spans}
    again = adfa.converted(archive(tmp_path / "a.zip", texts))
    assert digest(adfa.canonical(again)) == adfa.DIGEST


def test_a_study_can_be_made_up() -> None:
    arrays = made_up_study(np.random.default_rng(1))
    arrays["train_stream"] = walked(arrays["train_150"])
    arrays["test_200_as_150"] = translated(arrays["test_200"], arrays["train_stream"])
    data = made("made-up", arrays, 200, purged=30)
    assert data.windows(200, 10).ids_NL.shape == (10, 200)
    broken = arrays | {"train_50": arrays["train_50"][::2]}
    with pytest.raises(DataError, match="not cut from one stream"):
        made("made-up", broken, 50)


def one_line(*arguments: str | Path) -> str:
    done = run("datasets", *arguments)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tracemend: ")
    assert "Traceback" not in done.stderr
    return last


def test_bad_input_is_told_in_one_line(tmp_path: Path) -> None:
    assert "pts/ffmpeg" in one_line("audit", "pts/nope")
    assert "adfa" in one_line("audit", "nope")
    assert "datasets fetch" in one_line("audit", "adfa", "--from", tmp_path)
    assert "no data set there" in one_line("audit", "--from", tmp_path)
    assert "50, 100, 150, 200" in one_line("audit", "pts/ffmpeg", "--length", "60", "--from", tmp_path)
    (tmp_path / "pts").mkdir()
    broken = tmp_path / "pts" / "ffmpeg.npz"
    broken.write_bytes(b"PK\x03\x04rubbish")
    assert "can't read the arrays" in one_line("audit", "pts/ffmpeg", "--from", tmp_path)
    content = io.BytesIO()
    np.savez(content, train_50=np.zeros(3))
    broken.write_bytes(content.getvalue())
    assert "no array 'train_100'" in one_line("audit", "pts/ffmpeg", "--from", tmp_path)
    assert "can't be fetched" in one_line("fetch", "android")
    assert "no archive of ADFA-LD" in one_line("fetch", "adfa", "--archive", broken, "--to", tmp_path)


def test_the_commands() -> None:
    listed = run("datasets", "list")
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in DATASETS)
    assert "Creech, Hu" in listed.stdout
    loaded("pts/ffmpeg")
    done = run("datasets", "audit", "pts/compress-gzip", "pts/ffmpeg", "--from", SHARED)
    assert done.returncode == 0, done.stderr
    assert "98.6%" in done.stdout
    assert "the same test windows" in done.stdout
