"""babeltrace: where the plug-in lies."""

from __future__ import annotations

import sys


def babeltrace() -> None:
    """Print the folder of babeltrace2's plug-in, which shows a mended trace without a copy of it (docs/ctf.md)."""
    from tracemend.outputs.ctf import PLUGIN_FOLDER

    sys.stdout.write(f"{PLUGIN_FOLDER}\n")
