"""The processes: how events are hidden and brought back. One file each, one entry here."""

from __future__ import annotations

from collections.abc import Callable

from tracemend.diffusion.processes.autoregressive import Autoregressive
from tracemend.diffusion.processes.base import Process
from tracemend.diffusion.processes.gaussian import Gaussian
from tracemend.diffusion.processes.masked import Masked

PROCESSES: dict[str, Callable[..., Process]] = {
    "masked": Masked,
    "gaussian": Gaussian,
    "autoregressive": Autoregressive,
}
