"""Commands that are killed at random moments leave everything whole (scripts/kills.py, a few times)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.long
def test_fifty_kills() -> None:
    command = [sys.executable, "scripts/kills.py", "--times", "50", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("inputs unchanged, every output absent or whole, nothing left behind\n")
