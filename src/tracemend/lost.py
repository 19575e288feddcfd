"""Contests over truly lost events: menders on recordings whose other half is the truth, by the gap's length.

A contest is a ``[[lost]]`` table of an experiment's file (experiments/authentic.toml). One row of results is one mender
on one recording, with the scores of each gap, so that every table can be made from the same rows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tracemend.api import load
from tracemend.baselines import BASELINES, Lookup, NGram
from tracemend.datasets import corpus
from tracemend.datasets.recordings import Paired, paired
from tracemend.errors import DataError, ModelError, one_of
from tracemend.evaluate import MEANS, GapScore, Likelihood, held_out, judge
from tracemend.events import Trace
from tracemend.experiment import Progress, in_processes, provenance
from tracemend.mended import Mended
from tracemend.mender import Mender
from tracemend.mending import mend_trace
from tracemend.metrics import LENGTH_BINS, bin_name, interval
from tracemend.recording import Pair
from tracemend.results import Row, append, exclusive, read_results
from tracemend.training import streams
from tracemend.vocabulary import universal

#: What tells one row from another. ``most``: gaps that are filled of each recording and bin of length.
KEY = ("pair", "mender", "most", "seed")
#: What each gap is scored by.
SCORES = ("accuracy", *MEANS, "bits", "bits_truth")
#: Bins of confidence in a row's calibration.
CONFIDENCES = 10

#: A contestant's fill: (lossy trace, training recordings, model, gaps to fill, seed) -> what it infers.
Contestant = Callable[[Trace, Sequence[Trace], str, set[int], int], Mended]


def _baseline(name: str) -> Contestant:
    """A baseline that has only the lossy trace itself to learn from."""

    def fill(lossy: Trace, training: Sequence[Trace], model: str, only: set[int], seed: int) -> Mended:
        vocabulary = universal().extended(lossy)
        mender = BASELINES[name](streams(lossy, vocabulary, shortest=1))
        return mend_trace(lossy, mender, seed=seed, only=only)

    return fill


@lru_cache(maxsize=1)
def _taught(folder: Path) -> Mender:
    """An n-gram bridge that has learnt from the corpus's training part."""
    training = corpus(folder / "corpus", "train", folder / "experiments" / "workloads.toml")
    return NGram([s for t in training for s in streams(t, universal(), shortest=1)])
