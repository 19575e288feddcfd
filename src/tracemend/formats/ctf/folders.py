"""Where CTF traces lie: the folders that have metadata, and the files of their streams."""

from __future__ import annotations

import os
from pathlib import Path

from tracemend.formats.ctf.metadata_file import recognise

METADATA = "metadata"


def folder_of(path: Path) -> Path:
    """The folder that a path stands for: itself, or the one around a file."""
    return path if path.is_dir() else path.parent


def folders(path: Path) -> tuple[list[Path], list[Path]]:
    """The folders at and below ``path`` that hold a trace, in order, and those whose metadata are none."""
    traces: list[Path] = []
    others: list[Path] = []
    for folder in sorted(Path(folder) for folder, _, files in os.walk(path) if METADATA in files):
        (traces if recognise(_head(folder / METADATA)) else others).append(folder)
    return traces, others


def _head(path: Path) -> bytes:
    with open(path, "rb") as f:
        return f.read(16)


def stream_files(folder: Path) -> list[Path]:
    """The files of one trace that hold packets."""
    files = [f for f in folder.iterdir() if f.is_file() and f.name != METADATA and not f.name.startswith(".")]
    return sorted(f for f in files if f.stat().st_size)
