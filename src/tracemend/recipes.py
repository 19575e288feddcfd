"""Every named model is one row: backbone, process, sizes, and where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tracemend.backbones import BACKBONES
from tracemend.denoiser import Denoiser
from tracemend.errors import ModelError
from tracemend.gaps import Loss
from tracemend.processes import PROCESSES
from tracemend.processes.masked import Masked
from tracemend.vocabulary import MASK
from tracemend.windows import HIDDEN_THREAD, SLOTS


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made and trained. ``length``: positions of a training window; ``steps``: reverse steps."""

    name: str
    source: str
    backbone: str = "transformer"
    process: str = "masked"
    width: int = 128
    options: dict[str, Any] = field(default_factory=dict)
    length: int = 256
    steps: int = 8
    batch: int = 32
    rate: float = 2e-3
    warmup: int = 200
    decay: float = 0.999
    loss: Loss = field(default_factory=Loss)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """Raises ModelError for unknown or missing keys."""
        try:
            return Recipe(**{**values, "loss": Loss(**values["loss"])})
        except (TypeError, KeyError) as e:
            raise ModelError(f"no recipe: {e}") from e


AUSTIN = "absorbing-state diffusion: Austin et al. 2021, Sahoo et al. 2024; transformer: Vaswani et al. 2017"

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe("masked-transformer", AUSTIN, width=128, options={"layers": 6, "heads": 2}),
        Recipe(
            "masked-transformer-tiny",
            AUSTIN,
            width=32,
            options={"layers": 2, "heads": 2},
            length=64,
            batch=16,
            warmup=20,
            decay=0.98,
            loss=Loss(longest=16, context=32),
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The named recipe; raises ModelError naming the accepted ones."""
    try:
        return RECIPES[name]
    except KeyError:
        raise ModelError(f"unknown recipe {name!r}; one of {', '.join(RECIPES)}") from None


def build(recipe: Recipe, vocabulary_size: int) -> tuple[Masked, Denoiser]:
    """The process and a freshly initialised network of a recipe."""
    if recipe.backbone not in BACKBONES:
        raise ModelError(f"unknown backbone {recipe.backbone!r}; one of {', '.join(BACKBONES)}")
    if recipe.process not in PROCESSES:
        raise ModelError(f"unknown process {recipe.process!r}; one of {', '.join(PROCESSES)}")
    process = PROCESSES[recipe.process]((vocabulary_size, SLOTS), (MASK, HIDDEN_THREAD), (1.0, 0.5))
    try:
        backbone = BACKBONES[recipe.backbone](recipe.width, **recipe.options)
    except (TypeError, ValueError) as e:
        raise ModelError(f"backbone {recipe.backbone}: {e}") from e
    return process, Denoiser(process.stem(recipe.width), backbone, process.head(recipe.width), recipe.width)
