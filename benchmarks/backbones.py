"""What windows of thousands of events cost each backbone, and what it learns from them in so many steps.

    python benchmarks/backbones.py [--iterations 400] [--only times|numbers|learning]

One core. Times: a forward pass of one window without gradients, and a training step's passes over 8,192 positions, by
the window's length; all backbones take turns. Numbers: the same forward pass in bfloat16, and with linear maps in
eight bits. Learning: the long recipes, with Muon and with AdamW, trained on the corpus for the same number of steps,
then measured on windows of the validation recordings by the gap's length.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command

from tracemend.datasets import corpus
from tracemend.diffusion.denoiser import build
from tracemend.diffusion.gaps import Overflow
from tracemend.diffusion.recipes import Recipe, recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.training import Training, keep_memory, weights_of
from tracemend.judging.provenance import provenance
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

SPLIT = ROOT / "experiments" / "workloads.toml"
LENGTHS, POSITIONS = (256, 1024, 4096), 8192
BINS = ((1, 10), (11, 40), (41, 200), (201, 1000))
LONG = recipe("masked-transformer-long")
SELECTIVE = recipe("masked-selective-long")
#: What is timed. All are 128 wide with six layers; SaShiMi, which widens inwards, has half of that at its edge.
TIMED: dict[str, Recipe] = {
    "attention": LONG,
    "selective scans and two of attention": SELECTIVE,
    "selective scans": replace(SELECTIVE, options=SELECTIVE.options | {"attention": 0}),
    "S4D": replace(
        LONG,
        backbone="gated",
        options={"mixer": "s4-single", "kernel": "diagonal", "layers": 6, "state": 32, "normed": False},
    ),
    "SaShiMi, S4D": replace(
        LONG, backbone="sashimi", width=64, options={"layers": 2, "kernel": "diagonal", "state": 32}
    ),
}
LEARNING: dict[str, Recipe] = {
    "attention, AdamW": replace(LONG, optimiser="adamw"),
    "attention": LONG,
    "selective scans and two of attention": SELECTIVE,
}


def window_of(length: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows of which the middle third isn't known."""
    ids = torch.stack([torch.randint(3, most, (size, length)) for most in (300, 16, 40)], dim=-1)
    known = torch.ones(size, length, dtype=torch.bool)
    known[:, length // 3 : 2 * length // 3] = False
    return ids, known


def times(runs: int) -> list[dict[str, Any]]:
    """Milliseconds of CPU time a thousand positions, medians."""
    torch.manual_seed(0)
    made = {name: build(r, universal()) for name, r in TIMED.items()}
    rows = []
    for length in LENGTHS:
        taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in made}
        for _ in range(runs):
            for name, (process, network) in made.items():
                ids, known = window_of(length, 1)
                begin = time.process_time()
                with torch.inference_mode():
                    network(ids, known, torch.zeros(1))
                taken[name][0].append((time.process_time() - begin) / length)
                ids, known = window_of(length, POSITIONS // length)
                begin = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=True):
                    loss = process.loss(network, ids, known, torch.Generator().manual_seed(0))
                loss.backward()  # type: ignore[no-untyped-call]
                taken[name][1].append((time.process_time() - begin) / POSITIONS)
                network.zero_grad(set_to_none=True)
        for name, (forward, training) in taken.items():
            row = {"backbone": name, "length": length}
            row |= {"forward_ms": float(np.median(forward)) * 1e6, "training_ms": float(np.median(training)) * 1e6}
            rows.append(row)
            print(row, flush=True)
    return rows


def numbers(runs: int) -> list[dict[str, Any]]:
    """Milliseconds of CPU time of a forward pass of one window with each kind of numbers, medians, in turns."""
    torch.manual_seed(0)
    _, network = build(LONG, universal())
    network.eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have its new package for this
        eight = torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, torch.qint8)  # type: ignore[no-untyped-call]
    kinds = {"float32": (network, False), "bfloat16": (network, True), "int8": (eight, False)}
    rows = []
    for length in (200, 832, 1768):
        ids, known = window_of(length, 1)
        taken: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(runs):
            for name, (chosen, brief) in kinds.items():
                begin = time.process_time()
                with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=brief):
                    chosen(ids, known, torch.zeros(1))
                taken[name].append(time.process_time() - begin)
        rows.append({"length": length, **{name: float(np.median(s)) * 1e3 for name, s in taken.items()}})
        print(rows[-1], flush=True)
    return rows


def learning(iterations: int, windows: int) -> list[dict[str, Any]]:
    """Accuracy by the gap's length, of events restored in eight reverse steps."""
    train, check = (
        [s for t in corpus(ROOT / "corpus", part, SPLIT) for s in streams(t, universal())]
        for part in ("train", "validation")
    )
    assert isinstance(LONG.gaps, Overflow)
    gaps = replace(LONG.gaps, shared=False)
    rng = np.random.default_rng(5)
    held_out = [gaps.draw(check[i], rng, LONG.length) for i in rng.choice(len(check), windows, p=weights_of(check))]
    rows = []
    for name, chosen in LEARNING.items():
        run = Training(replace(chosen, decay=0.99), universal(), total=iterations, seed=0, device="cpu")
        begin, losses = time.process_time(), []
        for step in run.steps(train):
            losses.append(step.loss)
            if step.number % 50 == 0:
                print(name, step.number, float(np.mean(losses[-50:])), flush=True)
        seconds = time.process_time() - begin
        model = Restorer(run.recipe, universal(), run.averaged())
        right = [
            (len(truth), float((p.events_NM[:, 0] == truth[:, 0]).mean()))
            for (_, truth), p in zip(held_out, model.propose([w for w, _ in held_out]), strict=True)
        ]
        row: dict[str, Any] = {"backbone": name, "parameters": sum(p.numel() for p in run.network.parameters())}
        row |= {"seconds_per_step": seconds / iterations, "loss": float(np.mean(losses[-50:]))}
        row["accuracy"] = {
            f"{low}-{high}": [float(np.mean(found)), len(found)]
            for low, high in BINS
            if (found := [a for n, a in right if low <= n <= high])
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--windows", type=int, default=150)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("times", "numbers", "learning"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "backbones.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    document = json.loads(options.out.read_text()) if options.only and options.out.exists() else {}
    works: dict[str, Callable[[], Any]] = {
        "times": lambda: times(options.runs),
        "numbers": lambda: numbers(4 * options.runs),
        "learning": lambda: learning(options.iterations, options.windows),
    }
    for part, work in works.items():
        if options.only in (None, part):
            about = {"command": command(), **provenance()}
            document[part] = about | {"iterations": options.iterations, "rows": work()}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


if __name__ == "__main__":
    main()
