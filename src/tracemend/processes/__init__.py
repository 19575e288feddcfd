"""The processes: how events are hidden and brought back. One file each, one entry here."""

from __future__ import annotations

from tracemend.processes.masked import Masked

PROCESSES: dict[str, type[Masked]] = {"masked": Masked}
