"""babeltrace: where the plug-in lies."""

from __future__ import annotations

import sys


def babeltrace() -> None:
    """Print where the plug-in for babeltrace2 lies, which shows a mended trace without a copy (docs/ctf.md)."""
    from tracemend.outputs.ctf import PLUGIN_FOLDER

    sys.stdout.write(f"{PLUGIN_FOLDER}\n")
