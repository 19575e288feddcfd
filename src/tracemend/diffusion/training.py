"""Training as a generator of steps: the caller logs, saves and stops.

Everything random in step k is drawn from (seed, k): a run that is taken up again after step k draws the same windows.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tracemend.diffusion.denoiser import Denoiser, build, fitted
from tracemend.diffusion.gaps import Overflow
from tracemend.diffusion.processes.base import Noise
from tracemend.diffusion.recipes import Recipe
from tracemend.diffusion.sampler import restore
from tracemend.errors import ModelError
from tracemend.trace.events import ENTER
from tracemend.trace.vocabulary import Vocabulary
from tracemend.trace.windows import Stream, batch
from tracemend.untrusted import json_of


@dataclass(frozen=True, slots=True)
class Step:
    """What one training step tells. ``validation`` and ``validation_loss``: on the steps that measure them, the
    share of hidden events right in a few reverse steps, and what is minimised."""

    number: int
    loss: float
    rate: float
    validation: float | None = None
    validation_loss: float | None = None


def draw(
    recipe: Recipe, data: Sequence[Stream], share: NDArray[np.float64], seed: int, step: int, size: int
) -> tuple[Tensor, Tensor]:
    """A batch of training windows: clean_BLC and known_BL. size: windows of the recipe's length."""
    rng = np.random.default_rng([seed, step])
    windows, truths = [], []
    gaps = recipe.gaps.for_batch(rng)
    for i in rng.choice(len(data), gaps.windows(size, recipe.length), p=share):
        w, truth = gaps.draw(data[i], rng, recipe.length)
        windows.append(w)
        truths.append(truth)
    ids, known = batch(windows)
    ids[~known] = np.concatenate(truths)
    return torch.from_numpy(ids), torch.from_numpy(known)


def weights_of(data: Sequence[Stream], seldom: Sequence[Stream] = (), *, least: int = 1) -> NDArray[np.float64]:
    """How often each stream is drawn: by the root of its length, so that long traces don't drown short ones.

    The streams of ``seldom`` come behind those of ``data`` and are drawn a tenth as often; those of fewer than
    ``least`` events never. Raises ModelError if no stream is left.
    """
    root = np.sqrt([len(s) for s in data] + [len(s) / 100 for s in seldom])
    root[[len(s) < least for s in (*data, *seldom)]] = 0
    if not root.any():
        raise ModelError(f"no stream of {least} events or more to train on")
    return np.asarray(root / root.sum(), np.float64)


def enters_only(data: Sequence[Stream], vocabulary: Vocabulary) -> list[Stream]:
    """The same streams as a tracer shows them that records system calls on entry only."""
    result = []
    for s in data:
        kept = np.flatnonzero(vocabulary.phase[s.ids] == ENTER)
        if len(kept) >= 32:
            time = np.cumsum(np.maximum(s.steps, 0))
            steps = np.where((s.steps >= 0).any(), np.diff(time[kept]), -1)
            result.append(Stream(s.ids[kept], s.tids[kept], np.append(-1, steps)))
    return result


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


def pick_device(name: str = "auto") -> torch.device:
    """The device to train on: "auto" takes a GPU if there is one. Raises ModelError for one that isn't there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        first = str(e).splitlines()[0]
        raise ModelError(f"no device {name!r} here: {first}") from e
    return device


def join(device: str = "auto") -> tuple[str, bool]:
    """Join the processes that torchrun started, if it did: the device of this one, and whether it is the first."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return device, True
    if device in {"auto", "cuda"} and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device, torch.distributed.get_rank() == 0


class Training:
    """A model in training: network, its moving average, optimiser and step number; saved and resumed as plain files.

    In a process group (``torch.distributed``, as torchrun starts it) every process takes its part of each batch, and
    gradients are averaged over the processes, so that all hold the same weights. (Where gaps differ in length this is
    the mean of the parts' means, not the mean over all hidden events.)
    """

    def __init__(
        self, recipe: Recipe, vocabulary: Vocabulary, *, total: int | None = None, seed: int = 0, device: str = "auto"
    ) -> None:
        """total: iterations, the recipe's own if not given."""
        torch.manual_seed(seed)
        self.recipe, self.vocabulary, self.seed = recipe, vocabulary, seed
        self.total = recipe.iterations if total is None else total
        self.device = pick_device(device)
        self.process, self.network = build(recipe, vocabulary)
        self.network.to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.best = math.inf
        self.optimisers = optimisers(self.network, recipe)
        self.number = 0
        self.bfloat16 = not self.process.fine and (self.device.type == "cuda" or "bf16" in _cpu_flags())
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.processes = torch.distributed.get_world_size() if distributed else 1
        if self.processes > recipe.batch:
            raise ModelError(f"{self.processes} processes can't share batches of {recipe.batch} windows")

    def start_from(self, network: Denoiser) -> None:
        """Begin with the weights of another network of the same recipe and vocabulary."""
        self.network.load_state_dict(network.state_dict())
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def rate(self) -> float:
        """Linear warm-up, then constant or, if annealed, a cosine to a hundredth (Loshchilov, Hutter 2017, eq. 5)."""
        r, k = self.recipe, self.number
        if k < r.warmup:
            return r.rate * (k + 1) / r.warmup
        if not r.anneal:
            return r.rate
        done = (k - r.warmup) / max(1, self.total - r.warmup)
        return r.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def steps(self, data: Sequence[Stream], held_out: Sequence[Stream] = (), *, every: int = 250) -> Iterator[Step]:
        """Train up to ``total`` steps. ``held_out`` is measured every ``every`` steps, with the average's weights."""
        seldom = enters_only(data, self.vocabulary)
        share, data = weights_of(data, seldom, least=self.recipe.gaps.least), [*data, *seldom]
        self.network.train()
        while self.number < self.total:
            torch.manual_seed(self.seed * 1_000_003 + self.number)  # for dropout, which draws from nowhere else
            rate = self.rate()
            for group in (g for o in self.optimisers for g in o.param_groups):
                group["lr"] = rate
            loss = self._loss(*draw(self.recipe, data, share, self.seed, self.number, self.recipe.batch))
            self.network.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._share_gradients()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
            self.number += 1
            measured = bool(held_out) and (self.number % every == 0 or self.number == self.total)
            validation = self._keep(held_out if measured else ())
            yield Step(self.number, float(loss.detach()), rate, *validation)

    def _loss(self, clean: Tensor, known: Tensor) -> Tensor:
        part = slice(self.rank, None, self.processes)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.number) * 64 + self.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.process.loss(self.network, clean[part].to(self.device), known[part].to(self.device), generator)

    def _share_gradients(self) -> None:
        if self.processes == 1:
            return
        for p in self.network.parameters():
            if p.grad is not None:
                torch.distributed.all_reduce(p.grad)
                p.grad /= self.processes

    def _keep(self, held_out: Sequence[Stream]) -> tuple[float | None, float | None]:
        """Bring ``average`` up to date: a moving average of the weights, the last ones, or the best ones so far.

        Returns the validation's accuracy and loss where there is something to measure on.
        """
        best = self.recipe.keep == "best"
        decay = min(self.recipe.decay, (1 + self.number) / (10 + self.number))
        current = self.network.state_dict()
        if not best:
            self._follow(current, decay)
        if not held_out:
            if best and math.isinf(self.best):
                self._follow(current)
            return None, None
        loss = self.validation_loss(held_out, current if best else self.average)
        if best and loss < self.best:
            self._follow(current)
        self.best = min(self.best, loss)
        return self.measure(held_out), loss

    def _follow(self, current: dict[str, Tensor], decay: float = 0.0) -> None:
        """Move ``average`` towards the current weights; without decay it becomes them, bit for bit."""
        with torch.no_grad():
            for name, value in current.items():
                self.average[name].lerp_(value, 1 - decay)

    def averaged(self) -> Denoiser:
        """A network with the averaged (or best) weights, ready for use on the CPU."""
        return self._network(self.average).to("cpu")

    def _network(self, weights: dict[str, Tensor]) -> Denoiser:
        _, network = build(self.recipe, self.vocabulary)
        network.load_state_dict(weights)
        return network.to(self.device).eval().requires_grad_(False)

    def _validation(self, held_out: Sequence[Stream], windows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same windows every time."""
        recipe = self.recipe
        if isinstance(recipe.gaps, Overflow):  # of many lengths, though training may give batches one each
            recipe = replace(recipe, gaps=replace(recipe.gaps, shared=False))
        share = weights_of(held_out, least=recipe.gaps.least)
        for a in range(0, windows, 32):
            clean, known = draw(recipe, held_out, share, 1, a, min(32, windows - a))
            yield clean.to(self.device), known.to(self.device)

    def validation_loss(
        self, held_out: Sequence[Stream], weights: dict[str, Tensor], *, windows: int = 96, repeats: int = 4
    ) -> float:
        """What training minimises, on the same windows with the same noise every time."""
        network, losses = self._network(weights), []
        parts = list(self._validation(held_out, windows))
        with torch.inference_mode():
            for k in range(repeats):
                for n, (clean, known) in enumerate(parts):
                    generator = torch.Generator().manual_seed(1000 * k + n)
                    losses.append(float(self.process.loss(network, clean, known, generator)))
        return sum(losses) / len(losses)

    def measure(self, held_out: Sequence[Stream], *, windows: int = 96, steps: int = 4) -> float:
        """Share of hidden events right, restored in a few reverse steps, on the same windows every time."""
        network = self._network(self.average)
        right = count = 0
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            for clean, known in self._validation(held_out, windows):
                noise = Noise(range(len(clean))) if self.process.noisy else None
                events = restore(self.process, network, clean, known, steps, noise)[0]
                right += int((events.argmax(-1) == clean[..., 0])[~known].sum())
                count += int((~known).sum())
        return right / max(1, count)

    def save(self, folder: Path) -> None:
        """Write the state that ``resume`` needs as one file, state.safetensors, whole or not at all."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for first, optimiser in self._numbered():
            for i, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{first + i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.contiguous().clone() for k, v in tensors.items()}
        document = {
            "number": self.number,
            "total": self.total,
            "seed": self.seed,
            "best": None if math.isinf(self.best) else self.best,
            "recipe": self.recipe.as_dict(),
            "vocabulary": self.vocabulary.digest,
        }
        save_file(tensors, folder / "state.tmp", {"state": json.dumps(document)})
        (folder / "state.tmp").replace(folder / "state.safetensors")

    @staticmethod
    def resume(folder: Path, vocabulary: Vocabulary, *, device: str = "auto") -> Training:
        """Take up a saved run; raises ModelError if the folder holds none, or one of another vocabulary."""
        try:
            with safe_open(folder / "state.safetensors", "pt") as file:
                document = json_of((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, KeyError, SafetensorError) as e:
            raise ModelError(f"{folder}: no training to take up ({e})") from e
        if document["vocabulary"] != vocabulary.digest:
            raise ModelError(f"{folder}: the training to take up has another vocabulary")
        chosen = Recipe.from_dict(document["recipe"])
        run = Training(chosen, vocabulary, total=document["total"], seed=document["seed"], device=device)
        run.number = int(document["number"])
        run.best = math.inf if document["best"] is None else float(document["best"])
        what = f"{folder}: the saved weights don't fit recipe and vocabulary"
        fitted(run.network, _part(tensors, "network."), what)
        run.average = {k: v.to(run.device) for k, v in _part(tensors, "average.").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        for offset, optimiser in run._numbered():
            groups = optimiser.state_dict()["param_groups"]
            own = {i - offset: state[i] for i in sorted(state) if 0 <= i - offset < len(groups[0]["params"])}
            optimiser.load_state_dict({"state": own, "param_groups": groups})
        return run

    def _numbered(self) -> Iterator[tuple[int, torch.optim.Optimizer]]:
        """The optimisers, each with the number of its first parameter."""
        first = 0
        for optimiser in self.optimisers:
            yield first, optimiser
            first += sum(len(g["params"]) for g in optimiser.param_groups)


def optimisers(network: Denoiser, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """What moves a network's weights: AdamW (Loshchilov and Hutter 2017) and, if the recipe asks for it, Muon (Jordan
    et al. 2024) for the linear maps of the backbone, with steps as large as AdamW's (Liu et al., "Muon is Scalable for
    LLM Training", 2025, eq. 4)."""
    linear = [m.weight for m in network.backbone.modules() if isinstance(m, nn.Linear)]
    matrices = linear if recipe.optimiser == "muon" else []
    own = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in own]
    result: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    if matrices:
        result.append(torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    return result


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
