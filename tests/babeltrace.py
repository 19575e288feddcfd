"""babeltrace 1 and 2, the judges of the CTF that this package reads and writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

JUDGE = Path(__file__).parent / "formats" / "ctf_judge.py"
Event = dict[str, Any]


@cache
def python_of_babeltrace() -> str:
    """A Python that has babeltrace2's bindings."""
    for python in ("/usr/bin/python3", "python3"):
        if (
            shutil.which(python)
            and not subprocess.run([python, "-c", "import bt2"], capture_output=True, check=False).returncode
        ):
            return python
    pytest.skip("babeltrace2's bindings for Python are not installed (python3-bt2)")


def judged(*folders: Path) -> list[tuple[list[Event], list[Event], str]]:
    """Events and losses that babeltrace2 reads from each folder, and what it complains of."""
    command = [python_of_babeltrace(), str(JUDGE), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[tuple[list[Event], list[Event], str]] = [([], [], "") for _ in folders]
    for line in map(json.loads, done.stdout.splitlines()):
        events, lost, _ = found[line["trace"]]
        if "error" in line:
            found[line["trace"]] = events, lost, line["error"]
        else:
            (lost if "lost" in line else events).append(line)
    return found


def lines_of_the_first(folder: Path) -> list[str]:
    """Events as babeltrace 1 prints them, each with its time in front; fails where it complains of more than losses."""
    if shutil.which("babeltrace") is None:
        pytest.skip("babeltrace 1 is not installed (babeltrace)")
    command = ["babeltrace", "--clock-force-correlate", "--no-delta", "--fields", "loglevel", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[:500]
    return re.split(r"\n(?=\[\d\d:)", done.stdout.decode(errors="surrogateescape").rstrip("\n"))
