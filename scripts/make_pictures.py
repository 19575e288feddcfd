"""Pictures of the report for the documentation: docs/pictures/report-*.png, by headless Chromium.

    python scripts/make_pictures.py

The traces are those in recordings/; the one with 1,500 gaps is one of them repeated, with more marks of losses put
between its events (see benchmarks/report.py). Needs playwright, Pillow and Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from report import make  # noqa: E402  (of the benchmarks)

from tracemend import mend  # noqa: E402
from tracemend.formats import read  # noqa: E402
from tracemend.outputs import report  # noqa: E402
from tracemend.recording import align  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OUT = ROOT / "docs" / "pictures"
DEPLOY = ROOT / "recordings" / "deploy"
SIZE = {"width": 1180, "height": 760}
COLOURS = 160  # of a picture: flat colours and text need no more


def picture(
    browser: Browser, name: str, page: str, folder: Path, *, gap: int, tab: str = "", dark: bool = False
) -> None:
    """One gap of a page as it is seen, its timeline on top."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    context = browser.new_context(viewport=SIZE, color_scheme="dark" if dark else "light", reduced_motion="reduce")  # type: ignore[arg-type]
    seen = context.new_page()
    seen.goto(f"{path.as_uri()}#gap-{gap}" if gap >= 0 else path.as_uri())
    seen.wait_for_selector("html[data-drawn]")
    if gap >= 0:
        seen.keyboard.press("s")
        seen.keyboard.press("s")
    if tab:
        seen.locator(".tabs button", has_text=tab).click()
    seen.wait_for_timeout(300)
    image = Image.open(io.BytesIO(seen.screenshot())).convert("RGB")
    context.close()
    path = OUT / f"report-{name}.png"
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.name, path.stat().st_size)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as play:
        folder = Path(made)
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=root)
        deploy = mend(DEPLOY / "lossy.txt", hypotheses=4)
        plain, alone = report.render(deploy), report.render(deploy.with_draws(0))
        pair = align(deploy.trace, read(DEPLOY / "complete.txt.xz"))
        picture(browser, "demonstration", alone, folder, gap=-1)
        picture(browser, "dark", alone, folder, gap=8, dark=True)
        picture(browser, "hypotheses", plain, folder, gap=16, tab="other fills")
        picture(
            browser, "pair", report.render(deploy.with_draws(0), pair=pair), folder, gap=16, tab="Against the truth"
        )
        make(folder / "many.txt", 150_000, 1500)
        many = mend(folder / "many.txt", "lookup", alone=True, refuse=0.5)
        picture(browser, "1500-gaps", report.render(many), folder, gap=1200)
        browser.close()


if __name__ == "__main__":
    main()
