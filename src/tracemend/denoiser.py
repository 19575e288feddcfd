"""The network as a whole: stem + clock + backbone + head. What goes in and comes out is the process's affair.

Axis legend: B batch, L length, C channels, H width, E width of the time embedding.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tracemend.processes.base import Process


class Denoiser(nn.Module):
    """(values_BLC, known_BL, time_B) -> what the process's head gives."""

    def __init__(self, process: Process, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.stem, self.time, self.head = process.stem(width), process.clock(width), process.head(width)
        self.backbone = backbone

    def forward(self, values_BLC: Tensor, known_BL: Tensor, time_B: Tensor) -> Any:
        x_BHL, cond_BCL = self.stem(values_BLC, known_BL)
        return self.head(self.backbone(x_BHL, cond_BCL, self.time(time_B)))

    def advance(self, values_BLC: Tensor, memory: Any) -> tuple[Any, Any]:
        """The head's output for the next events, and the backbone's memory after them (causal backbones only)."""
        x_BHL, _ = self.stem(values_BLC, values_BLC[..., 0] >= 0)
        y_BHL, memory = self.backbone.advance(x_BHL, memory)  # type: ignore[operator]
        return self.head(y_BHL), memory
