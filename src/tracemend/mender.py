"""Menders: whatever can say what stood at hidden positions. Networks, lookups and baselines all look the same.

Axis legend: B batch, L length, C channels (event, thread), N hidden positions of a window in order, M candidates,
T thread slots, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tracemend.backbones.ssm import Kernel
from tracemend.calibration import Calibration, Weight
from tracemend.denoiser import Denoiser
from tracemend.errors import ModelError
from tracemend.gaps import Overflow
from tracemend.processes.base import Noise
from tracemend.recipes import Recipe, build, process_of
from tracemend.sampler import restore
from tracemend.vocabulary import BREAK, MASK, OTHER, Vocabulary
from tracemend.windows import HIDDEN, SLOTS, STEPS, UNKNOWN_STEP, Window, batch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Candidates a network's distribution over events is cut down to.
CANDIDATES = 12
#: Windows that a network runs together, and positions of them: attention's memory grows with their square.
BATCH, POSITIONS = 16, 8192
#: Known events that a window shows on each side of its gap.
CONTEXT = 96


@dataclass(frozen=True, slots=True)
class Proposal:
    """Beliefs about the N hidden positions of one window.

    events_NM: candidate ids, likeliest first, -1 where there are fewer; p_NM: their probabilities (a row's sum may be
    below 1: the rest is spread over everything else). threads_NT: probabilities of the thread slots, rows sum to 1.
    steps: (N + 1,) the expected time since the event before each, and from the last one to the event behind it, in ns;
    NaN (all of them, if not given) where the mender can't say.
    """

    events_NM: Ints
    p_NM: Floats
    threads_NT: Floats
    steps: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.steps):
            object.__setattr__(self, "steps", np.full(len(self.events_NM) + 1, np.nan))
        if len(self.steps) != len(self.events_NM) + 1:
            raise ValueError(f"{len(self.steps)} steps don't fit {len(self.events_NM)} events")

    def __len__(self) -> int:
        return len(self.events_NM)


@dataclass(frozen=True, slots=True)
class Restored:
    """ids of the same shape as given in, hidden positions filled; confidence_BL in [0, 1], 1 where observed."""

    ids: Ints
    confidence_BL: Floats


class Mender(Protocol):
    """What evaluation and mending see."""

    name: str
    #: Turns beliefs into confidence; None if nobody has measured how far they can be trusted.
    calibration: Calibration | None
    #: Hidden events that a window may have; longer gaps come in blocks.
    longest: int
    #: Known events that a window has on each side.
    context: int
    #: Windows that it is best asked for at once; None: as many as there are. Few, if none gains by the others' company:
    #: then there is progress to be seen. (Not for menders with noise: a window's is drawn by its number.)
    at_once: int | None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        """Beliefs about the hidden positions of each window, each window for itself."""
        ...

    def restore(self, ids: ArrayLike, known: ArrayLike, seed: int = 0) -> Restored:
        """Fill windows: ids (B, L) of events or (B, L, 2) of events and thread slots, known_BL True where observed."""
        ...


class Proposer:
    """``restore`` for every mender that can propose: the likeliest candidate of each position."""

    name = ""
    calibration: Calibration | None = None
    longest = 128
    context = CONTEXT
    at_once: int | None = None

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        raise NotImplementedError

    def restore(self, ids: ArrayLike, known: ArrayLike, seed: int = 0) -> Restored:
        """See Mender. Raises ValueError for shapes that don't fit."""
        given = np.asarray(ids, np.int64)
        known_BL = np.asarray(known, bool)
        if given.ndim not in (2, 3) or given.shape[:2] != known_BL.shape or (given.ndim == 3 and given.shape[2] != 2):
            raise ValueError(f"ids of shape {given.shape} and known of shape {known_BL.shape} don't fit")
        events, threads = np.moveaxis(given, -1, 0) if given.ndim == 3 else (given, np.ones_like(given))
        full = np.stack([events, threads, np.full_like(events, UNKNOWN_STEP)], axis=-1)
        full = np.where(known_BL[..., None], full, HIDDEN)
        slots = np.arange(-1, SLOTS - 1)
        windows = [Window(w, k, slots) for w, k in zip(full, known_BL, strict=True)]
        result, confidence = full[..., :2].copy(), np.ones(known_BL.shape, np.float32)
        for b, proposal in enumerate(self.propose(windows, seed)):
            hidden = ~known_BL[b]
            result[b, hidden, 0] = proposal.events_NM[:, 0]
            result[b, hidden, 1] = proposal.threads_NT.argmax(axis=1)
            confidence[b, hidden] = proposal.p_NM[:, 0]
        return Restored(result if given.ndim == 3 else result[..., 0], confidence)


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
            recipe = Recipe.from_dict(json.loads((folder / "recipe.json").read_text()))
            weights = load_file(folder / "weights.safetensors")
            with safe_open(folder / "weights.safetensors", "pt") as file:
                about = file.metadata() or {}
            digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        except (OSError, ValueError, SafetensorError) as e:
            raise ModelError(f"{folder}: no model ({e})") from e
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        if about.get("vocabulary", vocabulary.digest) != vocabulary.digest:
            raise ModelError(f"{folder}: vocabulary.json is not the one that the weights were trained with")
        _, network = build(recipe, vocabulary)
        try:
            network.load_state_dict({k: v.float() for k, v in weights.items()})
        except RuntimeError as e:
            first = str(e).splitlines()[-1].strip()
            raise ModelError(f"{folder}: the weights don't fit recipe and vocabulary: {first}") from e
        model = Restorer(recipe, vocabulary, network, digest)
        if (folder / "calibration.json").exists():
            try:
                document = json.loads((folder / "calibration.json").read_text())
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


def certain(events: Ints, threads: Ints, p: float | Floats = 1.0) -> Proposal:
    """A proposal of one candidate a position."""
    n = len(events)
    table = np.zeros((n, SLOTS), np.float32)
    table[np.arange(n), np.clip(threads, 0, SLOTS - 1)] = 1
    return Proposal(events[:, None].astype(np.int64), np.broadcast_to(np.float32(p), n)[:, None].copy(), table)
