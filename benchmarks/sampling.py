"""How long the reverse chain takes: kernels held against kernels made anew, and accuracy beside time for each sampler.

    python benchmarks/sampling.py --data ../shared/data/pts/compress-gzip.npz [--iterations 500]

One core. The step of the paper's SSSD-S4 needs no training. For the samplers a small model of each kind is trained in
the same run, then restores the same windows with every sampler and number of steps.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import GAP, command, commit, judge, read, trained

from tracemend.backbones.held import chain
from tracemend.mender import Restorer
from tracemend.recipes import build, published, recipe
from tracemend.training import keep_memory
from tracemend.vocabulary import numbered

HERE = Path(__file__).parent
GAUSSIAN = [("ddpm", n) for n in (200, 50, 20)] + [(s, n) for s in ("ddim", "dpm++") for n in (50, 20, 10, 5, 2, 1)]
MASKED = (1, 2, 4, 8, 16)


def step_seconds(runs: int) -> dict[str, Any]:
    """One reverse step of SSSD-S4 at the paper's size, batch 1, length 200: medians over ``runs``, taken in turns.

    "held": within a chain; "anew": kernels, normalised weights and the conditioning's share computed in each step.
    """
    torch.manual_seed(0)
    _, network = build(published("sssd-s4", "paper"), numbered(100, range(100, 0, -1)))
    network.eval().requires_grad_(False)
    x, known = torch.randn(1, 200, 2), torch.ones(1, 200, dtype=torch.bool)
    held, anew = [], []
    with torch.inference_mode():
        for t in range(runs):
            begin = time.perf_counter()
            network(x, known, torch.full((1,), t))
            anew.append(time.perf_counter() - begin)
            with chain(network):
                network(x, known, torch.zeros(1))  # the chain's first step, which makes the kernels
                begin = time.perf_counter()
                network(x, known, torch.full((1,), t))
                held.append(time.perf_counter() - begin)
    a, b = float(np.median(held)), float(np.median(anew))
    return {"held_s": round(a, 4), "anew_s": round(b, 4), "ratio": round(b / a, 1), "runs": runs}


def samplers(data: dict[str, Any], iterations: int, windows: int) -> list[dict[str, Any]]:
    """Seconds and accuracy for ``windows`` windows, each sampler and number of steps on the same weights."""
    part = data | {k: data[k][:: len(data[k]) // windows][:windows] for k in ("windows", "known", "hard")}
    rows = []
    for name in ("diffwave-small", "masked-transformer-small"):
        model, _, _ = trained(replace(recipe(name), iterations=iterations), data, 0)
        choices = GAUSSIAN if name.startswith("diffwave") else [("unmasking", n) for n in MASKED]
        for sampler, steps in choices:
            how = model.recipe.how | ({"sampler": sampler} if name.startswith("diffwave") else {})
            changed = Restorer(replace(model.recipe, how=how, steps=steps), model.vocabulary, model.network)
            row = judge(changed, part)
            rows.append(
                {
                    "recipe": name,
                    "sampler": sampler,
                    "steps": steps,
                    "seconds": row["impute_s"],
                    "accuracy": row["all"]["accuracy"],
                    "perfect": row["all"]["perfect"],
                    "hard": row["hard"]["accuracy"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "sampling.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    document = {
        "command": command(),
        "commit": commit(),
        "seed": 0,
        "gap": GAP,
        "windows": given.windows,
        "step": step_seconds(given.runs),
        "samplers": samplers(read(given.data), given.iterations, given.windows),
    }
    print(document["step"])
    given.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
