"""The network as a whole: stem + clock + backbone + head. What goes in and comes out is the process's affair.

Axis legend: B batch, L length, C channels, H width, E width of the time embedding.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tracemend.diffusion.backbones import BACKBONES
from tracemend.diffusion.processes import PROCESSES
from tracemend.diffusion.processes.base import Process
from tracemend.diffusion.recipes import Recipe
from tracemend.errors import ModelError, one_of
from tracemend.trace.vocabulary import Vocabulary


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


def fitted(network: Denoiser, weights: dict[str, Tensor], what: str) -> Denoiser:
    """The network with these weights. Raises ModelError, which begins with ``what`` doesn't fit."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as e:
        raise ModelError(f"{what}: {str(e).splitlines()[-1].strip()}") from e
    return network


def process_of(recipe: Recipe, vocabulary: Vocabulary) -> Process:
    """The process of a recipe. Raises ModelError for an option nobody knows."""
    try:
        return PROCESSES[one_of("process", recipe.process, PROCESSES)](vocabulary, **recipe.how)
    except TypeError as e:
        raise ModelError(f"process {recipe.process}: {e}") from e


def build(recipe: Recipe, vocabulary: Vocabulary) -> tuple[Process, Denoiser]:
    """The process and a freshly initialised network of a recipe. Raises ModelError for an option nobody knows."""
    one_of("backbone", recipe.backbone, BACKBONES)
    process = process_of(recipe, vocabulary)
    try:
        backbone = BACKBONES[recipe.backbone](process.widths(recipe.width), **recipe.options)
    except (TypeError, ValueError) as e:
        raise ModelError(f"backbone {recipe.backbone}: {e}") from e
    if getattr(backbone, "causal", False) != process.causal:
        raise ModelError(
            f"backbone {recipe.backbone} and process {recipe.process} don't go together: only a causal one "
            "predicts next events, and does nothing else"
        )
    return process, Denoiser(process, backbone, recipe.width)
