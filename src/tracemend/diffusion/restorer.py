"""A mender made of a trained network. On disk it is a folder of plain files.

Axis legend: B batch, L length, N hidden positions of a window in order, M candidates, T thread slots, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tracemend.diffusion import DEFAULT_MODEL
from tracemend.diffusion.backbones.ssm import Kernel
from tracemend.diffusion.denoiser import Denoiser, build, fitted, process_of
from tracemend.diffusion.gaps import Overflow
from tracemend.diffusion.processes.base import Noise
from tracemend.diffusion.recipes import Recipe
from tracemend.diffusion.sampler import restore
from tracemend.diffusion.tuning import tune
from tracemend.errors import ModelError
from tracemend.menders.base import CANDIDATES, Floats, Ints, Proposal, Proposer
from tracemend.menders.calibration import Calibration, Weight
from tracemend.trace.vocabulary import BREAK, MASK, OTHER, Vocabulary
from tracemend.trace.windows import SLOTS, STEPS, UNKNOWN_STEP, Stream, Window, batch
from tracemend.untrusted import json_of

#: Windows that a network runs together, and positions of them: attention's memory grows with their square.
BATCH, POSITIONS = 16, 8192


def load(path: str | Path = DEFAULT_MODEL) -> Restorer:
    """A trained model from its folder, or the one shipped with the package. Raises ModelError."""
    if str(path) == DEFAULT_MODEL:
        with resources.as_file(resources.files("tracemend.diffusion") / "models" / DEFAULT_MODEL) as folder:
            return Restorer.load(folder)
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder (the shipped model is called {DEFAULT_MODEL!r})")
    return Restorer.load(folder)


class Restorer(Proposer):
    """A trained network with its recipe and vocabulary; a folder of plain files on disk.

    recipe.json, vocabulary.json, weights.safetensors (half precision but for state space kernels), and calibration.json
    if it was calibrated: a curve for the network alone, and for its blend with the mosaic a weight and a curve.
    """

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary, network: Denoiser, digest: str = "") -> None:
        self.recipe, self.vocabulary, self.network, self.digest = recipe, vocabulary, network, digest
        self.process = process_of(recipe, vocabulary)
        self.name = recipe.name
        if isinstance(recipe.gaps, Overflow):
            self.longest, self.context = recipe.gaps.longest, recipe.gaps.context
        self.blend_calibration: Calibration | None = None
        self.weight = Weight()
        self.network.eval().requires_grad_(False)

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"<Restorer {self.name}: {parameters:,} parameters, {len(self.vocabulary):,} kinds of events>"

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Windows of the same length are run together, so that none depends on what others are filled up with.

        Masked and autoregressive models keep the likeliest ids and don't use ``seed``; Gaussian ones begin in noise.
        """
        proposals: list[Proposal | None] = [None] * len(windows)
        alike: dict[int, list[int]] = {}
        for i, w in enumerate(windows):
            alike.setdefault(len(w.known_L), []).append(i)
        together = [
            numbers[a : a + many]
            for length, numbers in alike.items()
            for many in [max(1, min(BATCH, POSITIONS // max(1, length)))]
            for a in range(0, len(numbers), many)
        ]
        with torch.inference_mode():
            for chosen in together:
                ids, known = batch([windows[i] for i in chosen])
                ids[..., 0][ids[..., 0] >= len(self.vocabulary)] = OTHER
                for i, proposal in zip(chosen, self._run(ids, known, seed, chosen), strict=True):
                    proposals[i] = proposal
        return [p for p in proposals if p is not None]

    def _run(self, ids: Ints, known: NDArray[np.bool_], seed: int, numbers: Sequence[int]) -> list[Proposal]:
        """numbers: of the windows; each has its own noise, whatever other windows are run with it."""
        clean, known_BL = torch.from_numpy(ids), torch.from_numpy(known)
        chains = [
            restore(
                self.process,
                self.network,
                clean,
                known_BL,
                self.recipe.steps,
                Noise([int(np.random.SeedSequence([seed, n, k]).generate_state(1)[0]) for n in numbers])
                if self.process.noisy
                else None,
            )
            for k in range(self.recipe.samples)
        ]
        events, *others = (
            torch.stack(channel).logsumexp(0) - math.log(len(chains)) for channel in zip(*chains, strict=True)
        )
        events[..., [MASK, BREAK]] = -torch.inf
        top = events.topk(min(CANDIDATES, events.shape[-1]), dim=-1)
        p, candidates = top.values.exp().numpy(), top.indices.numpy()
        slots = others[0].exp().numpy() if others else np.eye(SLOTS, dtype=np.float32)[np.ones(known.shape, np.int64)]
        steps = _expected(others[1].exp().numpy()) if len(others) > 1 else np.full(known.shape, np.nan)
        return [
            Proposal(
                candidates[b][~k],
                p[b][~k].astype(np.float32),
                slots[b][~k].astype(np.float32),
                np.append(steps[b][~k], np.nan),
            )
            for b, k in enumerate(known)
        ]

    def tuned(
        self, streams: Sequence[Stream], *, seconds: float, steps: int = 1 << 30, seed: int = 0
    ) -> tuple[Restorer, int]:
        """See ``Trained.tuned`` and ``tuning.tune``. Confidence is calibrated as before."""
        network, done = tune(
            self.network, self.recipe, self.vocabulary, streams, seconds=seconds, steps=steps, seed=seed
        )
        if not done:
            return self, 0
        result = Restorer(self.recipe, self.vocabulary, network, self.digest)
        result.calibration, result.blend_calibration = self.calibration, self.blend_calibration
        result.weight = self.weight
        return result, done

    def save(self, folder: Path) -> None:
        """Write the model's files; existing ones are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(self.recipe.as_dict(), indent=1) + "\n")
        self.vocabulary.save(folder / "vocabulary.json")
        exact = {
            f"{name}.{k}" for name, m in self.network.named_modules() if isinstance(m, Kernel) for k in m.state_dict()
        }
        weights = {k: v if k in exact else v.half() for k, v in self.network.state_dict().items()}
        about = {"vocabulary": self.vocabulary.digest}
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / "weights.safetensors", about)
        self.save_calibration(folder)

    def save_calibration(self, folder: Path) -> None:
        """Write calibration.json, if there is anything to write."""
        curves = {"network": self.calibration, "blend": self.blend_calibration}
        document: dict[str, Any] = {name: curve.as_dict() for name, curve in curves.items() if curve}
        if document:
            document["weight"] = self.weight.as_list()
            (folder / "calibration.json").write_text(json.dumps(document) + "\n")

    @staticmethod
    def load(folder: Path) -> Restorer:
        """Raises ModelError for a folder that holds no model, or one whose parts don't fit together."""
        try:
            recipe = Recipe.from_dict(json_of((folder / "recipe.json").read_text()))
            weights = load_file(folder / "weights.safetensors")
            with safe_open(folder / "weights.safetensors", "pt") as file:
                about = file.metadata() or {}
            digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        except (OSError, ValueError, SafetensorError) as e:
            raise ModelError(f"{folder}: no model ({e})") from e
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        if about.get("vocabulary", vocabulary.digest) != vocabulary.digest:
            raise ModelError(f"{folder}: vocabulary.json is not the one that the weights were trained with")
        network = fitted(
            build(recipe, vocabulary)[1],
            {k: v.float() for k, v in weights.items()},
            f"{folder}: the weights don't fit recipe and vocabulary",
        )
        model = Restorer(recipe, vocabulary, network, digest)
        if (folder / "calibration.json").exists():
            try:
                document = json_of((folder / "calibration.json").read_text())
                model.calibration = Calibration.from_dict(document["network"])
                model.blend_calibration = Calibration.from_dict(document["blend"])
                model.weight = Weight.from_list(document.get("weight", model.weight.coefficients))
            except (ModelError, OSError, ValueError, KeyError, TypeError) as e:
                raise ModelError(f"{folder}: no calibration ({e})") from e
        return model


def _expected(p_BLV: Floats) -> NDArray[np.float64]:
    """The geometric mean step (B, L) in ns of beliefs in values of the step channel, the middle of a value standing for
    it; NaN where it is unknown for sure. (The plain mean would be ruled by times that are next to impossible.)"""
    told = p_BLV[..., UNKNOWN_STEP + 1 :].astype(np.float64)
    total = told.sum(axis=-1)
    middle = np.arange(UNKNOWN_STEP + 1, STEPS) - 0.5
    return np.where(total > 1e-6, 2.0 ** (told @ middle / np.maximum(total, 1e-6)), np.nan)
