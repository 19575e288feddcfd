"""A trained network trained on, for a while, on the intact part of the very trace that it is to mend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tracemend.mender import Restorer
from tracemend.training import Training
from tracemend.vocabulary import OTHER
from tracemend.windows import Stream

#: Training goes on at this share of the recipe's rate, after so many steps to warm up, with this decay of the weights'
#: moving average and batches of so many windows at most: little time is better spent on more steps.
RATE, WARMUP, DECAY, BATCH = 0.25, 10, 0.95, 8
#: Streams of fewer events tell nothing, nor do all together if they have fewer.
SHORTEST, LEAST = 32, 256


def tuned(
    model: Restorer, data: Sequence[Stream], *, seconds: float, steps: int = 1 << 30, seed: int = 0
) -> tuple[Restorer, int]:
    """The model after up to ``steps`` more steps of training on these streams, and how many there were.

    No step but the first is begun when ``seconds`` have passed: then the result depends on the machine. Ids that the
    model's vocabulary doesn't have are OTHER. Confidence is calibrated as before. Where there are too few events to
    learn from the model is given back as it was.
    """
    begun = time.monotonic()
    long = [s for s in data if len(s) >= max(SHORTEST, model.recipe.gaps.least)]
    if sum(map(len, long)) < LEAST or seconds <= 0:
        return model, 0
    known = len(model.vocabulary)
    streams = [Stream(np.where(s.ids < known, s.ids, OTHER), s.tids, s.steps) for s in long]
    recipe = replace(
        model.recipe,
        rate=RATE * model.recipe.rate,
        warmup=WARMUP,
        decay=DECAY,
        batch=min(BATCH, model.recipe.batch),
        anneal=False,
    )
    with torch.random.fork_rng(devices=[]):  # training seeds it
        run = Training(recipe, model.vocabulary, total=steps, seed=seed, device="cpu")
        run.start_from(model.network)
        for _ in run.steps(streams):
            if time.monotonic() - begun > seconds:
                break
        result = Restorer(model.recipe, model.vocabulary, run.averaged(), model.digest)
    result.calibration, result.blend_calibration = model.calibration, model.blend_calibration
    result.weight = model.weight
    return result, run.number
