"""Write docs/pictures/perfetto.png: a mended trace in Perfetto's viewer, one of its gaps and an inferred event chosen.

Run: pip install 'tracemend[view]' playwright, have chromium, then this script. It mends recordings/deploy/lossy.txt.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from tracemend.outputs import overlay
from tracemend.outputs.perfetto import NAME
from tracemend.outputs.perfetto.serving import serving

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "pictures" / "perfetto.png"
TRACE = ROOT / "recordings" / "deploy" / "lossy.txt"
#: The gap in the middle of the picture, its width in gaps, and bytes of the picture at most.
GAP, WIDE, MOST = 7, 9, 150_000

#: Hides the menu, unfolds one group of threads, shows a span of time and chooses an inferred event in the gap's middle.
CHOOSE = """async ([begin, end, middle]) => {
  const trace = self.app.trace;
  if (trace.sidebar.visible) trace.sidebar.toggleVisibility();
  trace.workspace.children.filter((track) => track.name.startsWith("git"))[0].expand();
  trace.timeline.setViewportTime(BigInt(begin), BigInt(end));
  const found = await trace.engine.query(
    `select id from slice where category = 'tracemend.inferred.by_cpu' and ts >= ${middle} and dur > 0 order by ts`);
  trace.selection.selectSqlEvent("slice", Number(found.iter({}).get("id")));
  await self.waitForPerfettoIdle();
}"""


def main() -> None:
    """Mend, show, look."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "mended"
        if not made.exists():
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "tracemend",
                "mend",
                TRACE,
                "-o",
                made,
                "--perfetto",
                "--no-figures",
                "-q",
            ]
            subprocess.run(command, check=True)
        gap = overlay.read_header(made / overlay.JSONL)["gaps"][GAP]
        begin, end = gap["begin_ns"], gap["end_ns"]
        aside = (WIDE - 1) * (end - begin) // 2
        with serving(made / NAME) as server, sync_playwright() as play:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 920})
            page.goto(server.address)
            page.wait_for_url("**/viewer*", timeout=120_000)
            page.evaluate("() => self.waitForPerfettoIdle()")
            page.evaluate(CHOOSE, [str(begin - aside), str(end + aside), str((begin + end) // 2)])
            page.wait_for_timeout(2000)
            OUT.parent.mkdir(exist_ok=True)
            page.screenshot(path=OUT)
            browser.close()
            server.shutdown()
    assert OUT.stat().st_size <= MOST, f"{OUT} is large"
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
