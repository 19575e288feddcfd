"""What doesn't change along a reverse chain is computed once: kernels, normalised weights, the conditioning's share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.utils import parametrize


class Held(nn.Module):
    """A layer some of whose results don't depend on the chain's state or time.

    held: None outside of a chain; within one, the results so far by the length of the window.
    """

    held: dict[int, Tensor] | None = None


class Conditioning(Held, nn.Conv1d):
    """The convolution that brings the conditioning in: what is known, and where, stays the same along a chain."""

    def forward(self, input: Tensor) -> Tensor:
        length = input.shape[-1]
        if self.held is None:
            return super().forward(input)
        if length not in self.held:
            self.held[length] = super().forward(input)
        return self.held[length]


@contextmanager
def chain(network: nn.Module) -> Iterator[None]:
    """One reverse chain: the same windows, gaps and weights from here to the end."""
    layers = [m for m in network.modules() if isinstance(m, Held)]
    for layer in layers:
        layer.held = {}
    try:
        with parametrize.cached():
            yield
    finally:
        for layer in layers:
            layer.held = None
