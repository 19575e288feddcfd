"""Whoever does the work, the result is the same: in this process, in others, and on a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tracemend.api import how
from tracemend.engines import Engine, Local, at_work
from tracemend.errors import MissingError, TraceError, WorkerError
from tracemend.formats import pieces
from tracemend.judging.jobs import shared_out
from tracemend.menders.examples import Example
from tracemend.mending.pieces import mend_pieces
from tracemend.outputs import write
from tracemend.trace.pieces import Size
from tracemend.whole import work_folder

ROOT = Path(__file__).parents[1]  # not from conftest, which workers would wait for
DATA = ROOT / "tests" / "data"
needs_ray = pytest.mark.filterwarnings("default")  # its own are not ours to mend


@pytest.fixture(scope="module")
def ray_of_two() -> Iterator[Engine]:
    """A local cluster of two workers."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from tracemend.engines.cluster import Cluster

    engine = Cluster(2)
    with pytest.MonkeyPatch.context() as patch:  # workers import what is in this file
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        ray.init("local", num_cpus=2, object_store_memory=80 << 20, include_dashboard=False, log_to_driver=False)
    yield engine
    ray.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=[needs_ray, pytest.mark.long])])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Local(2) if request.param == "local" else request.getfixturevalue("ray_of_two")


def _times(common: int, number: int) -> int:
    return common * number


def _fails(common: object) -> None:
    raise TraceError("a.txt", 3, "broken")


def _dies_first(flag: Path, value: int) -> int:
    """The first to come here is killed."""
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return value
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _dies(common: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.long
def test_tasks_and_what_they_have_in_common(engine: Engine) -> None:
    with at_work(engine, 7) as crew:
        assert list(crew.in_order(_times, range(20))) == [7 * n for n in range(20)]
        with pytest.raises(TraceError) as told:
            crew.submit(_fails).result()
    assert str(told.value) == "a.txt:3: broken"


@pytest.mark.long
def test_jobs_come_with_their_results(engine: Engine) -> None:
    assert dict(shared_out([1, 2, 3], engine, lambda job: partial(_times, 2, job))) == {1: 2, 2: 4, 3: 6}


@pytest.mark.long
def test_whose_tasks_are_always_killed_is_told(engine: Engine) -> None:
    with pytest.raises(WorkerError, match="was killed"), at_work(engine) as crew:
        crew.submit(_dies).result()


@needs_ray
@pytest.mark.long
def test_a_lost_workers_task_is_done_again(ray_of_two: Engine, tmp_path: Path) -> None:
    with at_work(ray_of_two, tmp_path / "flag") as crew:
        assert list(crew.in_order(_dies_first, range(6))) == list(range(6))
    assert (tmp_path / "flag").exists()


def _shipped(flag: Path) -> Sequence[Example]:
    """Nothing; the first worker to ask is killed."""
    _dies_first(flag, 0)
    return ()


@needs_ray
@pytest.mark.long
def test_a_mend_on_a_cluster_that_loses_a_worker_gives_the_same_bytes(ray_of_two: Engine, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    lines = (ROOT / "recordings" / "deploy" / "lossy.txt").read_text().splitlines(keepends=True)
    trace.write_text("".join(lines[:6000]))
    here = how("lookup", alone=True)
    ways = {
        "here": here,
        "local": replace(here, engine=Local(2)),
        "ray": replace(here, engine=ray_of_two, shipped=partial(_shipped, tmp_path / "flag")),
    }
    for name, way in ways.items():
        with work_folder(tmp_path / f".{name}", {}) as folder:
            mended = mend_pieces(pieces(trace, cuts=Size(1500, 500)), way, folder)
            write(mended, tmp_path / name, ["overlay", "report", "perfetto", "merged"])
    assert (tmp_path / "flag").exists()
    for path in (tmp_path / "here").iterdir():
        for name in ("local", "ray"):
            assert path.read_bytes() == (tmp_path / name / path.name).read_bytes(), (name, path.name)


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracemend.engines.cluster import Cluster

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError) as told:
        Cluster()
    assert str(told.value) == "ray is not installed: pip install 'tracemend[ray]'"


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "tracemend", *map(str, args)]


def test_an_address_is_for_ray() -> None:
    done = subprocess.run(command("scan", DATA, "--address", "a:1"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--engine ray" in done.stderr


@needs_ray
def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from tracemend.engines.cluster import Cluster

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # other tests' cluster
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:99999"):
        with pytest.raises(WorkerError, match=f"no Ray cluster at {address}: "):
            Cluster(address=address).begin(None)


@needs_ray
@pytest.mark.long
def test_a_cluster_by_its_address_must_have_the_same_version(ray_of_two: Engine) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    asked = ["scan", DATA / "perf_lost.txt.xz", "--engine", "ray", "--address", address]
    done = subprocess.run(command(*asked), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    older = "import tracemend; tracemend.__version__ = '0'; from tracemend.__main__ import main; main()"
    typed = [sys.executable, "-c", older, *map(str, asked)]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tracemend: this is tracemend 0, and on the Ray cluster it is " in done.stderr


@needs_ray
@pytest.mark.long
def test_a_scan_on_a_cluster_says_the_same() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    traces = ["perf_lost.txt.xz", "trace_cmd.dat.xz", "not_there", "ftrace_complete.txt.xz"]
    for options in ([], ["--json"]):
        ran = [
            subprocess.run(
                command("scan", *(os.path.relpath(DATA / t) for t in traces), *options, "--quiet", "--engine", engine),
                capture_output=True,
                text=True,
                check=False,
            )
            for engine in ("local", "ray")
        ]
        assert ran[0].returncode == ran[1].returncode == 1
        assert (ran[0].stdout, ran[0].stderr) == (ran[1].stdout, ran[1].stderr)


@needs_ray
@pytest.mark.long
def test_a_mend_on_a_cluster_can_be_stopped_and_taken_up(tmp_path: Path) -> None:
    """Made of a recording, repeated."""
    pytest.importorskip("ray", reason="ray is not installed")
    trace = tmp_path / "trace.txt"
    source = ROOT / "recordings" / "deploy" / "lossy.txt"
    enlarge = [sys.executable, str(ROOT / "scripts" / "enlarge.py"), str(source), str(trace), "--bytes", "6e7"]
    subprocess.run(enlarge, check=True, capture_output=True)
    mend = partial(command, "mend", trace, "--model", "lookup", "--alone", "--quiet", "-o")
    stopped = [*mend(tmp_path / "ray"), "--engine", "ray", "--jobs", "2"]
    child = subprocess.Popen(stopped, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    work = tmp_path / ".ray.tracemend-work"
    end = time.monotonic() + 120
    while not list(work.glob("*.part")) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 128 + signal.SIGTERM, said
    assert "--resume takes it up" in said
    kept = {p.name: p.stat().st_mtime_ns for p in work.glob("*.part")}
    subprocess.run([*stopped, "--resume"], check=True, capture_output=True)
    assert kept
    subprocess.run(mend(tmp_path / "local"), check=True, capture_output=True)
    for path in (tmp_path / "local").iterdir():
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes(), path.name
