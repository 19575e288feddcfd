"""A next-event predictor: an LSTM that sees only what came before.

Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). Axis legend: B batch, L length, H width, N layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from tracemend.diffusion.backbones.widths import Widths


class LSTM(nn.Module):
    """(x_BHL, cond, time) -> _BHL: position l of the output has seen x up to l. ``advance`` goes on from a memory."""

    #: A position sees itself and what came before, nothing else; conditioning and time are not used.
    causal = True

    def __init__(self, widths: Widths, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.cells = nn.LSTM(widths.inner, widths.inner, layers, batch_first=True, dropout=dropout)

    def forward(self, x_BHL: Tensor, cond_BCL: Tensor, time_BE: Tensor) -> Tensor:
        return self.advance(x_BHL, None)[0]

    def advance(self, x_BHL: Tensor, memory: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The output for x, and the memory (hidden and cell state, each (N, B, H)) after it."""
        y_BLH, memory = self.cells(x_BHL.transpose(1, 2), memory)
        assert memory is not None
        return y_BLH.transpose(1, 2), memory
