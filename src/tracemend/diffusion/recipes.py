"""Every named model is one row: process, backbone, sizes, how it is trained, and where it comes from.

The table alone needs no PyTorch; ``denoiser.build`` makes the network of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tracemend.diffusion.gaps import GAPS, Blackout, Gaps, Overflow, Points
from tracemend.errors import ModelError, one_of
from tracemend.untrusted import json_of

#: No recipe needs more: what asks for more asks for memory or time without end.
MOST = {"width": 1 << 14, "length": 1 << 16, "steps": 10_000, "samples": 1000, "batch": 1 << 16, "layers": 1000}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made and trained.

    how, options: options of the process and of the backbone. length: positions of a training window. steps: reverse
    steps; samples: chains whose beliefs are averaged. vocabulary: "universal", or "frequency" (made from the training
    traces). iterations, batch, optimiser ("adamw", or "muon" for the backbone's linear maps), rate, warmup, decay (of
    the weights' moving average, 0 for none), anneal (cosine, else constant), keep ("last" weights or those of the
    "best" validation loss): training.
    """

    name: str
    source: str
    process: str = "masked"
    how: dict[str, Any] = field(default_factory=dict)
    backbone: str = "transformer"
    width: int = 128
    options: dict[str, Any] = field(default_factory=dict)
    length: int = 256
    steps: int = 8
    samples: int = 1
    vocabulary: str = "universal"
    gaps: Gaps = field(default_factory=Overflow)
    iterations: int = 5000
    batch: int = 32
    optimiser: str = "adamw"
    rate: float = 2e-3
    warmup: int = 200
    decay: float = 0.999
    anneal: bool = True
    keep: str = "last"

    def __post_init__(self) -> None:
        one_of("vocabulary", self.vocabulary, ("universal", "frequency"))
        one_of("weights to keep", self.keep, ("last", "best"))
        one_of("optimiser", self.optimiser, ("adamw", "muon"))
        numbers = (self.width, self.length, self.steps, self.samples, self.batch, self.iterations)
        if min(*numbers, self.options.get("layers", 1)) < 1:
            raise ModelError(
                f"{self.name}: width, length, steps, samples, batch, iterations and layers must be positive"
            )
        for what, most in MOST.items():
            asked = self.options.get(what, 1) if what == "layers" else getattr(self, what)
            if asked > most:
                raise ModelError(f"{self.name}: {what} of {asked:,} can't be meant (at most {most:,})")

    def changed(self, settings: Sequence[str]) -> Recipe:
        """The recipe with some fields set: "steps=50", "how.codec=onehot", "gaps.shared=true" (values are JSON, else
        text). Raises ModelError for a setting without a value and for a field that isn't there."""
        chosen = self
        for setting in settings:
            key, equals, text = setting.partition("=")
            outer, _, inner = key.partition(".")
            if not equals or outer not in {f.name for f in fields(Recipe)}:
                raise ModelError(f"no setting of a recipe: {setting!r}")
            try:
                value: Any = json_of(text)
            except ValueError:
                value = text
            try:
                if inner and outer == "gaps":
                    value = replace(chosen.gaps, **{inner: value})
                elif inner:
                    value = getattr(chosen, outer) | {inner: value}
                chosen = replace(chosen, **{outer: value})
            except (TypeError, AttributeError) as e:
                raise ModelError(f"no setting of a recipe: {setting!r} ({e})") from e
        return chosen

    def as_dict(self) -> dict[str, Any]:
        kind = next(k for k, v in GAPS.items() if isinstance(self.gaps, v))
        return asdict(self) | {"gaps": {"kind": kind, **asdict(self.gaps)}}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """Raises ModelError for unknown keys and for a missing name, source or gaps."""
        try:
            gaps = dict(values["gaps"])
            return Recipe(**{**values, "gaps": GAPS[gaps.pop("kind")](**gaps)})
        except (TypeError, KeyError) as e:
            raise ModelError(f"no recipe: {e}") from e


AUSTIN = "absorbing-state diffusion: Austin et al. 2021, Sahoo et al. 2024"
VASWANI = f"{AUSTIN}; transformer: Vaswani et al. 2017"
GU = "S4: Gu et al. 2022"
DAO = "Mamba-2: Dao and Gu 2024, in both directions; transformer: Vaswani et al. 2017"
SOURCES = {
    "diffwave": "DiffWave: Kong et al. 2021",
    "sssd-s4": f"SSSD-S4: Alcaraz and Strodthoff 2022; {GU}",
    "sssd-sa": f"SSSD-SA: Alcaraz and Strodthoff 2022; SaShiMi: Goel et al. 2022; {GU}",
    "csdi-s4": f"CSDI-S4: Alcaraz and Strodthoff 2022, CSDI: Tashiro et al. 2021; {GU}",
}

#: Sizes of the study's networks: backbone, width, its options, and the widths of the time embedding.
NETWORKS: dict[str, dict[str, tuple[str, int, dict[str, Any], list[int]]]] = {
    "diffwave": {
        "paper": ("gated", 256, {"mixer": "conv", "layers": 36, "cycle": 12}, [128, 512, 512]),
        "small": ("gated", 64, {"mixer": "conv", "layers": 10, "cycle": 5}, [64, 128, 128]),
        "tiny": ("gated", 16, {"mixer": "conv", "layers": 4, "cycle": 4}, [16, 32, 32]),
    },
    "sssd-s4": {
        "paper": ("gated", 256, {"mixer": "s4", "layers": 36, "state": 64, "length": 200}, [128, 512, 512]),
        "small": ("gated", 48, {"mixer": "s4", "layers": 4, "state": 32, "length": 200}, [64, 128, 128]),
        "tiny": ("gated", 16, {"mixer": "s4", "layers": 2, "state": 16, "length": 64}, [16, 32, 32]),
    },
    "sssd-sa": {
        "paper": ("sashimi", 128, {"layers": 6, "state": 64, "length": 200, "trainable": True}, [128, 512, 512]),
        "small": ("sashimi", 32, {"layers": 2, "state": 32, "length": 200, "trainable": True}, [64, 128, 128]),
        "tiny": ("sashimi", 16, {"layers": 1, "state": 16, "length": 64, "trainable": True}, [16, 32, 32]),
    },
    "csdi-s4": {
        "paper": (
            "gated",
            64,
            {"mixer": "s4-single", "layers": 4, "state": 64, "length": 251, "inverse": 250},
            [128, 128, 128],
        ),
        "small": ("gated", 64, {"mixer": "s4-single", "layers": 4, "state": 32, "length": 200}, [64, 64, 64]),
        "tiny": ("gated", 16, {"mixer": "s4-single", "layers": 2, "state": 16, "length": 64}, [16, 16, 16]),
    },
}

#: What training a size means: window, batch, iterations, learning rate of the corrected models.
SIZES: dict[str, dict[str, Any]] = {
    "paper": {"length": 200, "batch": 50, "iterations": 10_000, "rate": 5e-4, "warmup": 500},
    "small": {"length": 200, "batch": 32, "iterations": 1_000, "rate": 2e-3, "warmup": 100},
    "tiny": {"length": 64, "batch": 16, "iterations": 200, "rate": 2e-3, "warmup": 20, "decay": 0.98},
}

#: Small models that need longer until their validation loss stops falling.
SLOW = {"sssd-sa": 3_000, "csdi-s4": 4_000}


def published(name: str, size: str) -> Recipe:
    """A model of the study as the public implementation has it: encoding, schedule, gaps, conditioning and sampling.

    The optimiser is the project's own (AdamW, gradients clipped to norm 1); only the paper's size has the paper's
    learning rate, since the others train for a tenth of the iterations or less. CSDI-S4 takes the median of 50 chains
    there and one chain here (``samples``).
    """
    backbone, width, options, embedding = NETWORKS[name][size]
    how: dict[str, Any] = {"codec": "scalar", "predict": "noise", "sampler": "ddpm", "clip": False}
    how |= {"embedding": embedding, "normed": name in {"diffwave", "sssd-s4"}}
    gaps: Gaps = Blackout(10, "grid", shared=True)
    rate = 2e-4 if size == "paper" else 1e-3
    if name == "csdi-s4":
        how |= {"schedule": "quadratic", "diffusion_steps": 50, "condition": "position", "frequencies": "rising"}
        gaps, rate = Points(), 1e-3
        options = options | {"normed": False}
    else:
        how |= {"schedule": "linear", "diffusion_steps": 200, "consistent": False}
    options = options | ({"label": [71, 128]} if name == "sssd-sa" else {"idle": True})
    return Recipe(
        f"{name}-{size}-published",
        SOURCES[name],
        "gaussian",
        how,
        backbone,
        width,
        options,
        steps=how["diffusion_steps"],
        vocabulary="frequency",
        gaps=gaps,
        **(SIZES[size] | {"rate": rate, "warmup": 0, "decay": 0.0}),
        anneal=False,
        keep="best",
    )


def corrected(name: str, size: str) -> Recipe:
    """The same network with categories as bits, a schedule that ends in noise, and training as in sampling.

    CSDI-S4 learns its kernels' A, B and steps as well: with one S4 layer a block it needs them.
    """
    first = published(name, size)
    _, _, options, embedding = NETWORKS[name][size]
    how = {"codec": "bits", "schedule": "cosine-zero", "predict": "clean", "sampler": "ddim", "embedding": embedding}
    how |= {"normed": first.how["normed"]}
    if name == "csdi-s4":
        how |= {"condition": "position"}
        options = options | {"normed": False, "trainable": True}
    return replace(
        first,
        name=f"{name}-{size}",
        how=how,
        options=options,
        steps=20,
        gaps=Blackout(10),
        **({"decay": 0.999} | SIZES[size] | ({"iterations": SLOW[name]} if size == "small" and name in SLOW else {})),
        anneal=True,
        keep="last",
    )


def _rows() -> Iterator[Recipe]:
    yield Recipe("masked-transformer", VASWANI, width=128, options={"layers": 6, "heads": 2})
    tiny: dict[str, Any] = {"length": 64, "batch": 16, "warmup": 20, "decay": 0.98, "iterations": 200}
    gaps = Overflow(longest=16, context=32)
    yield Recipe("masked-transformer-tiny", VASWANI, width=32, options={"layers": 2, "heads": 2}, gaps=gaps, **tiny)
    long: dict[str, Any] = {
        "how": {"channels": 3},
        "length": 1768,
        "batch": 4,
        "gaps": Overflow(longest=1000, context=384, shared=True),
        "optimiser": "muon",
        "iterations": 4000,
    }
    yield Recipe("masked-transformer-long", VASWANI, width=128, options={"layers": 6, "heads": 2}, **long)
    mixed: dict[str, Any] = {"layers": 6, "heads": 2, "state": 64, "attention": 3}
    yield Recipe("masked-selective-long", f"{AUSTIN}; {DAO}", backbone="selective", width=128, options=mixed, **long)
    mixed = {"layers": 2, "heads": 2, "state": 16, "chunk": 16}
    small = tiny | {"backbone": "selective", "optimiser": "muon", "how": {"channels": 3}}
    yield Recipe("masked-selective-tiny", f"{AUSTIN}; {DAO}", width=32, options=mixed, gaps=gaps, **small)
    study: dict[str, Any] = {"gaps": Blackout(10), "vocabulary": "frequency", "decay": 0.999} | SIZES["small"]
    slow = study | {"iterations": 3_000}
    yield Recipe("masked-transformer-small", VASWANI, width=64, options={"layers": 4, "heads": 2}, **slow)
    s4: dict[str, Any] = {"mixer": "s4", "layers": 4, "state": 32, "length": 200, "normed": False}
    yield Recipe("masked-s4-small", f"{AUSTIN}; {GU}", backbone="gated", width=48, options=s4, **study)
    s4 = {"mixer": "s4", "layers": 2, "state": 16, "length": 64, "normed": False}
    yield Recipe("masked-s4-tiny", f"{AUSTIN}; {GU}", backbone="gated", width=16, options=s4, gaps=gaps, **tiny)
    lstm = "next-event predictor: Janecek et al. 2025, RQ3; LSTM: Hochreiter and Schmidhuber 1997"
    yield Recipe("lstm-small", lstm, "autoregressive", backbone="lstm", width=64, **slow)
    yield Recipe("lstm-tiny", lstm, "autoregressive", backbone="lstm", width=16, gaps=gaps, **tiny)
    for name in NETWORKS:
        for size in SIZES:
            yield corrected(name, size)
            yield published(name, size)


RECIPES: dict[str, Recipe] = {r.name: r for r in _rows()}


def recipe(name: str) -> Recipe:
    """The named recipe; raises ModelError naming the accepted ones."""
    return RECIPES[one_of("recipe", name, RECIPES)]
