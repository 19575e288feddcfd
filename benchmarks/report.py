"""A report of a million events and ten thousand gaps: how large its file is, how soon it is drawn, and how long frames
take while somebody zooms and moves in it, in headless Chromium.

    python benchmarks/report.py [--events 1000000] [--gaps 10000]

The trace is a recording, repeated with its times moved on and with marks of losses put between its events (which lost
nothing: it serves to measure time, and what fills it is not judged). It is mended by the lookup, which is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, command

sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

from enlarge import TIME, enlarge  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = ROOT / "recordings" / "deploy" / "lossy.txt"
RESULT = ROOT / "benchmarks" / "results" / "report.json"
LOST = 8  # events that each mark tells
OPENED = 7  # times that the page is opened; the median is told

#: Times of frames in ms while something is done again and again for so many frames; the act is called each frame.
FRAMES = """(act) => new Promise((done) => {
  const lanes = document.getElementById("lanes");
  const box = lanes.getBoundingClientRect();
  const wheel = (more) => lanes.dispatchEvent(new WheelEvent("wheel",
    { bubbles: true, cancelable: true, clientX: box.left + box.width / 3, clientY: box.top + 20, ...more }));
  const acts = {
    "zoom in": () => wheel({ ctrlKey: true, deltaY: -30 }),
    "zoom out": () => wheel({ ctrlKey: true, deltaY: 30 }),
    "move": () => wheel({ deltaX: 40 }),
  };
  const times = [];
  let last = performance.now();
  const frame = (now) => {
    times.push(now - last);
    last = now;
    if (times.length > 120) return done(times.slice(1));
    acts[act]();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def make(path: Path, events: int, gaps: int) -> tuple[int, int]:
    """Write the trace; returns how many events and marks it has."""
    lines = len(TIME.findall(SOURCE.read_bytes()))
    enlarge(SOURCE, path, int(events / lines * SOURCE.stat().st_size))
    text = path.read_bytes().splitlines(keepends=True)
    marks = sum(line.startswith(b"CPU:") for line in text)
    rows = [i for i, line in enumerate(text) if TIME.match(line)]
    more = max(0, gaps - marks)
    put = {rows[len(rows) * k // more] for k in range(more)}
    with open(path, "wb") as file:
        for i, line in enumerate(text):
            if i in put and (cpu := re.search(rb"\[(\d+)\]", line)):
                file.write(b"CPU:%d [LOST %d EVENTS]\n" % (int(cpu[1]), LOST))
            file.write(line)
    return len(rows), marks + len(put)


def summary(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    return {
        "frames": len(times),
        "median_ms": round(times[len(times) // 2], 1),
        "p95_ms": round(times[len(times) * 95 // 100], 1),
        "longest_ms": round(times[-1], 1),
    }


def opened(page: Page, path: Path) -> tuple[int, int]:
    """Milliseconds until there is text, and until the timeline is drawn."""
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]", timeout=60_000)
    drawn = page.evaluate("performance.getEntriesByName('drawn')[0].startTime")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    return round(paint), round(drawn)


def measured(page: Page, path: Path) -> dict[str, Any]:
    times = [opened(page, path) for _ in range(OPENED)]
    text, drawn = (sorted(each) for each in zip(*times, strict=True))
    found: dict[str, Any] = {
        **{"text_ms": text[OPENED // 2], "timeline_ms": drawn[OPENED // 2], "timeline_ms_of_all": drawn},
        "other_work": f"{os.getloadavg()[0]:.1f} processes, on average, wanted the {os.cpu_count()} cores",
    }
    page.evaluate("document.getElementById('bench').scrollIntoView()")
    for act in ("zoom in", "move", "zoom out"):
        found[act] = summary(page.evaluate(FRAMES, act))
    page.locator("#labels .cpu").first.click()
    page.keyboard.press("0")
    page.wait_for_timeout(500)
    found["move, a cpu unfolded"] = summary(page.evaluate(FRAMES, "move"))
    begun = time.perf_counter()
    page.locator("#columns button", has_text="Confidence").click()
    page.locator("#search").fill("openat")
    page.locator("#found", has_text="of").wait_for()
    found["sort_and_search_ms"] = round(1000 * (time.perf_counter() - begun))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, default=1e6)
    parser.add_argument("--gaps", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="A folder to work in, which stays.")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made:
        folder = given.keep or Path(made)
        folder.mkdir(exist_ok=True)
        trace, out = folder / "large.txt", folder / "out"
        events, gaps = make(trace, int(given.events), given.gaps)
        if not out.exists():
            asked = ["mend", str(trace), "-o", str(out), "--model", "lookup", "--quiet"]
            env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
            subprocess.run([sys.executable, "-m", "tracemend", *asked], check=True, env=env, stdout=subprocess.DEVNULL)
        with sync_playwright() as play:
            root = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=root)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            found = measured(page, out / "report.html")
            version = browser.version
            browser.close()
        size = (out / "report.html").stat().st_size
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    about = {"command": command(), "commit": commit, "seed": 0, "chromium": version, "cores": os.cpu_count()}
    RESULT.write_text(json.dumps({**about, "events": events, "gaps": gaps, "bytes": size, **found}, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
