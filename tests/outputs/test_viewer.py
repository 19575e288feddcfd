"""Perfetto's own viewer on a mended trace: who may see what is served, and what the viewer makes of it.

Traces are real recordings; what was "inferred" in them is made up at random, by no model.
"""

from __future__ import annotations

import http.client
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from made_up import KERNEL, RAW, made_up, mended

from tracemend.cli import view as cli
from tracemend.errors import MissingError, OutputError, TracemendError
from tracemend.mending.mended import Mended
from tracemend.outputs import DEFAULT, perfetto, write
from tracemend.outputs.perfetto import serving
from tracemend.recording import pairs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

needs_viewer = pytest.mark.skipif(find_spec("viztracer") is None, reason="needs the extra view (viztracer)")


@pytest.fixture(scope="module")
def made() -> Mended:
    return mended(statuses=("filled", "refused", "filled", "left"))


@pytest.fixture(scope="module")
def served(made: Mended, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Viewer]:
    (trace,) = perfetto.write(made, tmp_path_factory.mktemp("served"))
    yield from started(trace)


def started(trace: Path) -> Iterator[serving.Viewer]:
    if find_spec("viztracer") is None:
        pytest.skip("needs the extra view (viztracer)")
    with serving.Viewer(trace, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# Who may see what -------------------------------------------------------------------------------------------------


def ask(server: serving.Viewer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Asks as a browser of this machine does, or with other headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": server.host} | headers).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_trace_is_served_whole(served: serving.Viewer) -> None:
    status, headers, body = ask(served, f"/{served.secret}/trace")
    assert status == 200
    assert body == served.files["trace"].read_bytes()
    assert headers["Cache-Control"] == "no-store"
    assert ask(served, f"/{served.secret}/trace", "HEAD")[0::2] == (200, b"")
    status, headers, _ = ask(served, f"/{served.secret}/")
    assert (status, headers["Location"]) == (302, served.opened)
    assert ask(served, f"/{served.secret}/index.html?x=1")[1]["Content-Type"] == "text/html"


def test_nothing_is_served_to_who_does_not_know_the_address(served: serving.Viewer) -> None:
    for path in (
        "/",
        "/trace",
        "/index.html",
        "//trace",
        f"/{served.secret}",
        f"/{served.secret[:-1]}/trace",
        "/%C3%BC/trace",
    ):
        status, headers, body = ask(served, path)
        assert (status, body) == (404, b"")
        assert "Location" not in headers


def test_addresses_differ_from_run_to_run(served: serving.Viewer) -> None:
    with serving.Viewer(Path("x"), 0) as other:
        assert other.secret != served.secret
        assert len(other.secret) >= 16


def test_the_address_that_others_may_see_leads_there_once(served: serving.Viewer) -> None:
    path = served.invitation().removeprefix(f"http://{served.host}")
    assert ask(served, path, Host="evil.example")[0] == 421
    assert ask(served, f"{path}trace")[0] == 404
    status, headers, _ = ask(served, path)
    assert (status, headers["Location"]) == (302, served.opened)
    assert ask(served, path)[0] == 404


@pytest.mark.parametrize(
    "name",
    [
        "../trace",
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "trace/",
        "trace%00",
        "x" * 9000,
    ],
)
def test_nothing_but_the_viewer_and_the_trace_is_served(served: serving.Viewer, name: str) -> None:
    status, _, body = ask(served, f"/{served.secret}/{name}")
    assert (status, body) == (404, b"")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost:{port}", "127.0.0.1", "127.0.0.1:1", ""]
)
def test_other_names_of_this_machine_are_refused(served: serving.Viewer, host: str) -> None:
    """So that no page of another site, whose name leads here by now, reads the trace (DNS rebinding)."""
    status, headers, body = ask(served, f"/{served.secret}/trace", Host=host.format(port=served.server_port))
    assert (status, body) == (421, b"")
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(served: serving.Viewer, method: str) -> None:
    assert ask(served, f"/{served.secret}/trace", method)[0] == 501


def test_it_listens_to_this_machine_alone(served: serving.Viewer) -> None:
    assert served.server_address[0] == "127.0.0.1"


def test_a_taken_port_is_told_or_passed_over(served: serving.Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match=rf"port {served.server_port} of this machine can't be had"):
        serving.serving(Path("x"), served.server_port).__enter__()
    monkeypatch.setattr(serving, "PORT", served.server_port)
    with serving.serving(Path("x")) as other:
        assert other.server_port != served.server_port


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=re.escape("pip install 'tracemend[view]'")):
        serving.viewer()


# The command ------------------------------------------------------------------------------------------------------


def view(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tracemend", "view", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


@pytest.mark.long
@needs_viewer
def test_view_serves_a_folder_until_it_is_interrupted(made: Mended, tmp_path: Path) -> None:
    """Also one without a Perfetto trace; it is as it was afterwards."""
    write(made, tmp_path / "out", DEFAULT)
    held = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    process = view(tmp_path / "out", "--no-browser", "--quiet")
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0]
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+/) until you press Ctrl-C$", line.strip())
    assert found, line
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    connection.request("GET", f"{found[2]}trace")
    assert len(connection.getresponse().read()) > 1000
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "\nno longer shown\n")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == held
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", int(found[1])))


def test_view_says_what_it_does_not_take(tmp_path: Path) -> None:
    for path, why in (
        (RAW, "is no Perfetto trace"),
        (tmp_path, "no folder that mend"),
        (tmp_path / "none", "no such file"),
    ):
        with pytest.raises(TracemendError, match=why):
            cli.view(path, None, browser=False)


# What the viewer makes of it --------------------------------------------------------------------------------------

#: What the viewer itself complains of where it isn't at home: it asks for its users' statistics and for other traces.
ITS_OWN = re.compile(r"navigate-to|is_internal_user|127\.0\.0\.1:9001/status|live_?reload|status of 404", re.I)

ASK = """async (sql) => {
  const answer = await self.app.trace.engine.query(sql), rows = [];
  for (const row = answer.iter({}); row.valid(); row.next())
    rows.push(answer.columns().map((name) => {
      const value = row.get(name);
      return typeof value === "bigint" ? Number(value) : value;
    }));
  return rows;
}"""

Ask = Callable[[str], list[list[Any]]]


@pytest.fixture
def shown(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Opens a trace in the viewer; fails for errors of the page, and for anything asked of another machine."""
    pages, wrong = [], []

    def show(trace: Path) -> Page:
        server = next(running := started(trace))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        pages.append((page, running))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text)
                if said.type == "error" and not ITS_OWN.search(f"{said.text} {said.location}")
                else None
            ),
        )
        page.on(
            "response",
            lambda said: (
                wrong.append(said.url) if not said.url.startswith(("http://127.0.0.1:", "blob:", "data:")) else None
            ),
        )
        page.goto(server.address)
        page.wait_for_url("**/viewer*", timeout=120_000)
        page.evaluate("() => self.waitForPerfettoIdle()")
        return page

    yield show
    for page, running in pages:
        page.close()
        next(running, None)
    assert not wrong


def calls() -> Mended:
    """System calls, with gaps whose fills were refused and others that were left open."""
    return mended(statuses=("filled", "refused", "filled", "left"))


def scheduling() -> Mended:
    """The kernel's events, with switches, of a machine whose recording lost events; one fill was refused."""
    path = min((ROOT / "corpus" / "kernel" / "pairs").glob("*.parquet"))
    return made_up(pairs.read(path).lossy, names=KERNEL, statuses=("filled", "refused"))


@pytest.mark.long
@pytest.mark.parametrize("made", [calls, scheduling], ids=lambda m: m.__name__)
def test_the_viewer_shows_what_was_written(
    made: Callable[[], Mended], shown: Callable[[Path], Page], tmp_path: Path
) -> None:
    mended = made()
    (trace,) = perfetto.write(mended, tmp_path)
    page = shown(trace)

    def ask(sql: str) -> list[list[Any]]:
        rows: list[list[Any]] = page.evaluate(ASK, sql)
        return rows

    assert page.locator(".pf-modal-dialog").count() == 0
    assert not ask("select name, value from stats where value > 0 and severity in ('error', 'data_loss')")
    the_cpus_are_on_top(page, mended)
    the_gaps_are_there(ask, mended)
    the_inferred_events_are_there(ask, mended)
    the_threads_are_there(ask, mended)
    the_page_s_queries_find_something(ask)
    details_say_how_sure_it_is(page, ask)


def details_say_how_sure_it_is(page: Page, ask: Ask) -> None:
    """Of an inferred event that is chosen."""
    ((event, confidence),) = ask(
        f"select id, {noted('s', 'confidence')} from slice s where category = 'tracemend.inferred.by_cpu' limit 1"
    )
    page.evaluate("(id) => self.app.trace.selection.selectSqlEvent('slice', id)", event)
    page.get_by_text(str(confidence), exact=True).first.wait_for()


def noted(table: str, key: str) -> str:
    """An annotation of a slice, in SQL."""
    return f"extract_arg({table}.arg_set_id, 'debug.{key}')"


def the_page_s_queries_find_something(ask: Ask) -> None:
    (said,) = re.findall(r"^```sql\n(.*?)^```", (ROOT / "docs" / "outputs.md").read_text(), re.S | re.M)
    for query in said.rstrip().removesuffix(";").split(";"):
        assert ask(query)


def the_cpus_are_on_top(page: Page, mended: Mended) -> None:
    top = page.evaluate("() => self.app.trace.workspace.children.map((track) => [track.name, track.collapsed])")
    cpus = sorted({*mended.trace.cpu.tolist(), *(g.cpu for g in mended.trace.gaps)})
    assert top[: 1 + len(cpus)] == [["about this trace", False], *([f"cpu {cpu}", False] for cpu in cpus)]


def the_gaps_are_there(ask: Ask, mended: Mended) -> None:
    began = int(mended.trace.time_ns.min())
    gap, status, count = (noted("s", key) for key in ("gap", "status", "count"))
    found = ask(
        f"select t.name, s.ts - {began}, s.dur, s.depth, {gap}, {status}, {count} "
        "from slice s join track t on t.id = s.track_id where s.category = 'tracemend.lost' and t.name glob 'cpu *'"
    )
    assert sorted(found, key=lambda row: row[4]) == [
        [f"cpu {g['cpu']}", g["begin_ns"] - began, g["end_ns"] - g["begin_ns"], 0, g["gap"], g["status"], g["count"]]
        for g in mended.gap_table()
    ]


def the_inferred_events_are_there(ask: Ask, mended: Mended) -> None:
    """Each of them once on its thread and once within its gap, as a whole call or as one of its ends."""
    began = int(mended.trace.time_ns.min())
    rows = mended.inferred.select(["time_ns", "name", "phase", "gap", "confidence", "tid"]).to_pylist()
    expected = Counter((r["time_ns"] - began, r["name"], r["phase"]) for r in rows)
    of = {(r["time_ns"] - began, r["name"], r["gap"], round(r["confidence"], 4)) for r in rows}
    for category in ("tracemend.inferred", "tracemend.inferred.by_cpu"):
        told: Counter[tuple[int, str, str]] = Counter()
        for ts, dur, name, gap, confidence in ask(
            f"select ts - {began}, dur, name, {noted('s', 'gap')}, {noted('s', 'confidence')} from slice s "
            f"where category = '{category}'"
        ):
            call, end = re.fullmatch(r"(.*) \((?:(enter|exit), )?inferred\)", name).groups()  # type: ignore[union-attr]
            ends = {end or ("instant" if (ts, call, "instant") in expected else ""): ts}
            if "" in ends:
                ends = {"enter": ts, "exit": ts + dur}
            told.update((time, call, phase) for phase, time in ends.items())
            assert (ts, call, gap, confidence) in of
        assert told == expected
    elsewhere = ask(
        "select count(*) from slice s join slice p on p.id = s.parent_id and p.category = 'tracemend.lost' "
        f"where s.category = 'tracemend.inferred.by_cpu' and {noted('s', 'gap')} != {noted('p', 'gap')}"
    )
    alone = ask("select count(*) from slice where category = 'tracemend.inferred.by_cpu' and parent_id is null")
    assert (elsewhere, alone) == ([[0]], [[0]])


def the_threads_are_there(ask: Ask, mended: Mended) -> None:
    tids = {int(t) for t in mended.trace.tid} | {int(t) for t in mended.inferred["tid"].to_pylist()}
    assert {tid for (tid,) in ask("select distinct tid from thread_track join thread using (utid)")} - {0} == {
        t for t in tids if t > 0
    }
    found = ask(
        "select t.tid, count(*) from slice s join thread_track k on k.id = s.track_id join thread t using (utid) "
        "where s.category = 'tracemend.inferred' and s.dur = 0 group by 1"
    )
    assert {tid for tid, _ in found} <= {int(t) for t in mended.inferred["tid"].to_pylist()}
    assert ask("select count(*) from slice where name = 'read' and category like '%inferred%'") == [[0]]
