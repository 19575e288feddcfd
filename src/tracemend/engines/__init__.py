"""Where work in parts is done: in this process, in processes of this machine, on the machines of a Ray cluster."""

from __future__ import annotations

from tracemend.engines.base import Crew, Engine, at_work, tell
from tracemend.engines.local import HERE, Local

__all__ = ["HERE", "Crew", "Engine", "Local", "at_work", "tell"]
