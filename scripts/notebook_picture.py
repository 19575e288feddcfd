"""Draw docs/pictures/notebook.png: the beginning of the notebook as Jupyter shows it after a run.

    python scripts/notebook_picture.py [--jupyter PYTHON]

It takes Chromium, playwright and Pillow (which matplotlib brings) here, and a Python with nbconvert, ipykernel and this
package (--jupyter): Jupyter itself runs the notebook, which the tests don't (tests/test_notebook.py).
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from docs.common import ROOT
from PIL import Image
from playwright.sync_api import sync_playwright

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
PICTURE = ROOT / "docs" / "pictures" / "notebook.png"
#: Pixels across, colours, and the heading that the picture ends at. A picture in the docs has no more bytes than this.
WIDE, COLOURS, UNTIL, MOST = 900, 64, "Look at one gap", 150_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jupyter", default=sys.executable, help="the Python that has Jupyter")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        run = [options.jupyter, "-m", "nbconvert", "--execute", "--to", "html", f"--output-dir={folder}", NOTEBOOK.name]
        subprocess.run(run, check=True, cwd=NOTEBOOK.parent)
        with sync_playwright() as p, p.chromium.launch(executable_path="/usr/bin/chromium") as browser:
            page = browser.new_page(viewport={"width": WIDE, "height": 800})
            page.goto((Path(folder) / f"{NOTEBOOK.stem}.html").as_uri())
            place = page.get_by_role("heading", name=UNTIL).bounding_box()
            if place is None:
                sys.exit(f"no heading {UNTIL!r}")
            shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDE, "height": place["y"]})
    held = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        held, "png", optimize=True
    )
    picture = held.getvalue()
    if len(picture) > MOST:
        sys.exit(f"{len(picture):,} bytes are more than {MOST:,}")
    PICTURE.write_bytes(picture)
    print(f"{PICTURE.relative_to(ROOT)}: {len(picture):,} bytes")


main()
