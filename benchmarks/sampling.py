"""How long the reverse chain takes: kernels held against kernels made anew, and accuracy beside time for each sampler.

    python benchmarks/sampling.py --data ../shared/data [--iterations 500]

One core. The step of the paper's SSSD-S4 needs no training. For the samplers a small model of each kind is trained in
the same run, then restores the same windows with every sampler and number of steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command
from torch import Tensor

from tracemend.datasets import Data, load
from tracemend.diffusion.backbones.held import chain
from tracemend.diffusion.backbones.ssm import DPLR, _doubled
from tracemend.diffusion.denoiser import build
from tracemend.diffusion.recipes import published, recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.training import keep_memory
from tracemend.judging.provenance import commit
from tracemend.judging.trained import trained
from tracemend.judging.windows import Hidden, blackout, judge_windows
from tracemend.trace.vocabulary import numbered

#: What is hidden of each window.
GAP = 10
GAUSSIAN = [("ddpm", n) for n in (200, 50, 20)] + [(s, n) for s in ("ddim", "dpm++") for n in (50, 20, 10, 5, 2, 1)]
MASKED = (1, 2, 4, 8, 16)


def step_seconds(runs: int) -> dict[str, Any]:
    """One reverse step of SSSD-S4 at the paper's size, batch 1, length 200: medians over ``runs``, taken in turns.

    held: within a chain. anew: kernels, normalised weights and the conditioning's share computed in each step. plain:
    the same with the kernels' Cauchy sums as the paper writes them. Seconds of CPU time.
    """
    torch.manual_seed(0)
    _, network = build(published("sssd-s4", "paper"), numbered(100, range(100, 0, -1)))
    network.eval().requires_grad_(False)
    x, known = torch.randn(1, 200, 2), torch.ones(1, 200, dtype=torch.bool)
    kernels = [m for m in network.modules() if isinstance(m, DPLR)]
    seconds: dict[str, list[float]] = {"held": [], "anew": [], "plain": []}

    def step(kind: str) -> None:
        begin = time.process_time()
        network(x, known, torch.full((1,), len(seconds[kind])))
        seconds[kind].append(time.process_time() - begin)

    with torch.inference_mode():
        network(x, known, torch.zeros(1))
        for _ in range(runs):
            step("anew")
            with chain(network):
                network(x, known, torch.zeros(1))  # the chain's first step, which makes the kernels
                step("held")
            for kernel in kernels:
                kernel.__class__ = Plain
            step("plain")
            for kernel in kernels:
                kernel.__class__ = DPLR
    medians = {f"{kind}_s": round(float(np.median(s)), 4) for kind, s in seconds.items()}
    return medians | {"runs": runs}


class Plain(DPLR):
    """The same kernel by Gu et al. (2022), algorithm 1, word for word: complex Cauchy sums over all states."""

    def _kernel(self, C: Tensor, reach: int) -> Tensor:
        omega = torch.exp(-2j * torch.pi * torch.arange(reach // 2 + 1) / reach)
        dt = self.log_dt.exp()[:, None, None]
        z = 2 * (1 - omega) / (1 + omega)
        w, P, Q, B = (_doubled(x) for x in (self.w, self.P, self.Q, self.B))
        cauchy = 1 / (z - w[..., None] * dt)  # (H, 2N, F)

        def summed(v: Tensor) -> Tensor:
            return (v[..., None] * cauchy).sum(dim=-2) * dt[..., 0]

        C = _doubled(C)
        BC, BQ, PC, PQ = summed(B * C), summed(B * Q), summed(P * C), summed(P * Q)
        result: Tensor = torch.fft.irfft(2 / (1 + omega) * (BC - BQ * PC / (1 + PQ)), n=reach)
        return result


def samplers(data: Data, iterations: int, number: int, models: Path) -> list[dict[str, Any]]:
    """Seconds and accuracy for so many windows, each sampler and number of steps on the same weights.

    models: a folder for what is trained.
    """
    windows, known = data.windows(200, number), blackout(200, GAP, "centre")
    subsets = data.subsets(windows, known)
    rows = []
    for name in ("diffwave-small", "masked-transformer-small"):
        model, _ = trained(replace(recipe(name), iterations=iterations), data, 0, models)
        choices = GAUSSIAN if name.startswith("diffwave") else [("unmasking", n) for n in MASKED]
        for sampler, steps in choices:
            how = model.recipe.how | ({"sampler": sampler} if name.startswith("diffwave") else {})
            changed = Restorer(replace(model.recipe, how=how, steps=steps), model.vocabulary, model.network)
            row = judge_windows(changed, Hidden(windows.ids_NL, known, subsets, data.vocabulary))
            parts = row["subsets"]
            rows.append(
                {
                    "recipe": name,
                    "sampler": sampler,
                    "steps": steps,
                    "seconds": row["impute_s"],
                    "accuracy": parts["all"]["accuracy"],
                    "perfect": parts["all"]["perfect"],
                    "hard": parts["outside the loop"]["accuracy"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--benchmark", default="compress-gzip")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "sampling.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    data = load(f"pts/{given.benchmark}", given.data)
    with tempfile.TemporaryDirectory(prefix="sampling-") as models:
        found = samplers(data, given.iterations, given.windows, Path(models))
    document = {
        "command": command(),
        "commit": commit(ROOT),
        "seed": 0,
        "gap": GAP,
        "windows": given.windows,
        "step": step_seconds(given.runs),
        "samplers": found,
    }
    print(document["step"])
    given.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
