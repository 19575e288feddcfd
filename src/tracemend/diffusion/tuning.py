"""A trained network trained on, for a while, on the intact part of the very trace that it is to mend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tracemend.diffusion.denoiser import Denoiser
from tracemend.diffusion.recipes import Recipe
from tracemend.diffusion.training import Training
from tracemend.trace.vocabulary import OTHER, Vocabulary
from tracemend.trace.windows import Stream

#: Training goes on at this share of the recipe's rate, after so many steps to warm up, with this decay of the weights'
#: moving average and batches of so many windows at most: little time is better spent on more steps.
RATE, WARMUP, DECAY, BATCH = 0.25, 10, 0.95, 8
#: Streams of fewer events tell nothing, nor do all together if they have fewer.
SHORTEST, LEAST = 32, 256


def tune(
    network: Denoiser,
    recipe: Recipe,
    vocabulary: Vocabulary,
    data: Sequence[Stream],
    *,
    seconds: float,
    steps: int = 1 << 30,
    seed: int = 0,
) -> tuple[Denoiser, int]:
    """The network after up to ``steps`` more steps of training on these streams, and how many there were.

    No step but the first is begun when ``seconds`` have passed: then the result depends on the machine. Ids that the
    vocabulary doesn't have are OTHER. With too few events to learn from, the network is given back as it was.
    """
    begun = time.monotonic()
    long = [s for s in data if len(s) >= max(SHORTEST, recipe.gaps.least)]
    if sum(map(len, long)) < LEAST or seconds <= 0:
        return network, 0
    known = len(vocabulary)
    streams = [Stream(np.where(s.ids < known, s.ids, OTHER), s.tids, s.steps) for s in long]
    gently = replace(
        recipe, rate=RATE * recipe.rate, warmup=WARMUP, decay=DECAY, batch=min(BATCH, recipe.batch), anneal=False
    )
    with torch.random.fork_rng(devices=[]):  # training seeds it
        run = Training(gently, vocabulary, total=steps, seed=seed, device="cpu")
        run.start_from(network)
        for _ in run.steps(streams):
            if time.monotonic() - begun > seconds:
                break
        return run.averaged(), run.number
