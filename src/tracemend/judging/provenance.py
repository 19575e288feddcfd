"""Where results come from: version, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from tracemend import __version__
from tracemend.judging.results import Row


@cache
def provenance() -> Row:
    """Version, commit (if this is a checkout) and machine."""
    return {"version": __version__, "commit": commit(Path(__file__).parent), "machine": _machine()}


def commit(folder: Path) -> str | None:
    """What the checkout that holds a folder is at, "-dirty" behind it if it has changes; None where nothing of the
    folder is under version control."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False).stdout

    try:
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip() if git("ls-files") else None
    except OSError:
        return None


def _machine() -> Row:
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": processor, "cores": os.cpu_count(), "torch": _torch(), "python": platform.python_version()}


def _torch() -> str | None:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
