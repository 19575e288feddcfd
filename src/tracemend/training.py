"""Training as a generator of steps: the caller logs, saves and stops.

Everything random in step k is drawn from (seed, k): a run that is taken up again after step k draws the same windows.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from tracemend.denoiser import Denoiser
from tracemend.errors import ModelError
from tracemend.events import ENTER, Trace
from tracemend.recipes import Recipe, build
from tracemend.vocabulary import Vocabulary
from tracemend.windows import Stream, batch


@dataclass(frozen=True, slots=True)
class Step:
    """What one training step tells: ``validation`` is the hidden events' accuracy, on the steps that measure it."""

    number: int
    loss: float
    rate: float
    validation: float | None = None


def streams(trace: Trace, vocabulary: Vocabulary, *, shortest: int = 32) -> list[Stream]:
    """A trace's intact stretches: each cpu's stream, cut at its gaps."""
    ids = vocabulary.encode(trace)
    result = []
    for cpu, rows in trace.streams.items():
        cuts = sorted(g.after for g in trace.gaps if g.cpu == cpu and g.after is not None)
        for part in np.split(rows, np.searchsorted(rows, cuts)):
            if len(part) >= shortest:
                result.append(Stream(ids[part].astype(np.int64), trace.tid[part].astype(np.int64)))
    return result


def draw(
    recipe: Recipe, data: Sequence[Stream], share: NDArray[np.float64], seed: int, step: int, size: int
) -> tuple[Tensor, Tensor]:
    """A batch of training windows: clean_BLC and known_BL."""
    rng = np.random.default_rng([seed, step])
    windows, truths = [], []
    for i in rng.choice(len(data), size, p=share):
        w, truth = recipe.loss.draw(data[i], rng, recipe.length)
        windows.append(w)
        truths.append(truth)
    ids, known = batch(windows)
    ids[~known] = np.concatenate(truths)
    return torch.from_numpy(ids), torch.from_numpy(known)


def weights_of(data: Sequence[Stream], seldom: Sequence[Stream] = ()) -> NDArray[np.float64]:
    """How often each stream is drawn: by the root of its length, so that long traces don't drown short ones.

    The streams of ``seldom`` come behind those of ``data`` and are drawn a tenth as often.
    """
    root = np.sqrt([len(s) for s in data] + [len(s) / 100 for s in seldom])
    return np.asarray(root / root.sum(), np.float64)


def enters_only(data: Sequence[Stream], vocabulary: Vocabulary) -> list[Stream]:
    """The same streams as a tracer shows them that records system calls on entry only."""
    enter = vocabulary.phase == ENTER
    return [Stream(s.ids[enter[s.ids]], s.tids[enter[s.ids]]) for s in data if enter[s.ids].sum() >= 32]


def _cpu_flags() -> str:
    """What the processor can do; empty where Linux doesn't say. bfloat16 pays only where it is native."""
    try:
        return next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return ""


def keep_memory() -> None:
    """Let the allocator keep freed memory: giving each step's buffers back and faulting them in again takes a good
    part of a training step on CPUs. (glibc's mallopt: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD.)"""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):
            mallopt(option, value)


class Training:
    """A model in training: network, its moving average, optimiser and step number; saved and resumed as plain files."""

    def __init__(self, recipe: Recipe, vocabulary: Vocabulary, *, total: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.recipe, self.vocabulary, self.total, self.seed = recipe, vocabulary, total, seed
        self.process, self.network = build(recipe, len(vocabulary))
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.number = 0
        self.bfloat16 = "bf16" in _cpu_flags()

    def rate(self) -> float:
        """Linear warm-up, then a cosine to a hundredth (Loshchilov and Hutter 2017, eq. 5)."""
        r, k = self.recipe, self.number
        if k < r.warmup:
            return r.rate * (k + 1) / r.warmup
        done = (k - r.warmup) / max(1, self.total - r.warmup)
        return r.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def steps(self, data: Sequence[Stream], held_out: Sequence[Stream] = (), *, every: int = 250) -> Iterator[Step]:
        """Train up to ``total`` steps. ``held_out`` is measured every ``every`` steps, with the average's weights."""
        seldom = enters_only(data, self.vocabulary)
        share, data = weights_of(data, seldom), [*data, *seldom]
        self.network.train()
        while self.number < self.total:
            rate = self.rate()
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            clean, known = draw(self.recipe, data, share, self.seed, self.number, self.recipe.batch)
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.number)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                loss = self.process.loss(self.network, clean, known, generator)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimiser.step()
            self.number += 1
            decay = min(self.recipe.decay, (1 + self.number) / (10 + self.number))
            with torch.no_grad():
                for name, value in self.network.state_dict().items():
                    self.average[name].lerp_(value, 1 - decay)
            validation = None
            if held_out and (self.number % every == 0 or self.number == self.total):
                validation = self.measure(held_out)
            yield Step(self.number, float(loss.detach()), rate, validation)

    def averaged(self) -> Denoiser:
        """A network with the averaged weights, ready for use."""
        _, network = build(self.recipe, len(self.vocabulary))
        network.load_state_dict(self.average)
        return network.eval().requires_grad_(False)

    def measure(self, held_out: Sequence[Stream], *, windows: int = 96, seed: int = 1) -> float:
        """Share of events right when whole gaps are hidden and guessed at once, on the same windows every time."""
        clean, known = draw(self.recipe, held_out, weights_of(held_out), seed, 0, windows)
        network = self.averaged()
        right = count = 0
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            for a in range(0, windows, 32):
                c, k = clean[a : a + 32], known[a : a + 32]
                guess = network(self.process.prior(c, k), k, torch.ones(len(c)))[0].argmax(-1)
                right += int((guess == c[..., 0])[~k].sum())
                count += int((~k).sum())
        return right / max(1, count)

    def save(self, folder: Path) -> None:
        """Write the state that ``resume`` needs: state.safetensors and state.json, each whole or not at all."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.contiguous().clone() for k, v in tensors.items()}
        save_file(tensors, folder / "state.tmp")
        (folder / "state.tmp").replace(folder / "state.safetensors")
        document = {"number": self.number, "total": self.total, "seed": self.seed, "recipe": self.recipe.as_dict()}
        (folder / "state.json.tmp").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "state.json.tmp").replace(folder / "state.json")

    @staticmethod
    def resume(folder: Path, vocabulary: Vocabulary) -> Training:
        """Take up a saved run; raises ModelError if the folder holds none."""
        try:
            document = json.loads((folder / "state.json").read_text())
            tensors = load_file(folder / "state.safetensors")
        except (OSError, ValueError) as e:
            raise ModelError(f"{folder}: no training to take up ({e})") from e
        run = Training(Recipe.from_dict(document["recipe"]), vocabulary, total=document["total"], seed=document["seed"])
        run.number = int(document["number"])
        run.network.load_state_dict(_part(tensors, "network."))
        run.average = _part(tensors, "average.")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        groups = run.optimiser.state_dict()["param_groups"]
        run.optimiser.load_state_dict({"state": state, "param_groups": groups})
        return run


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
