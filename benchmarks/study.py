"""The study's models on the study's data: train each recipe, restore blackouts of 10 in windows of 200, score.

    python benchmarks/study.py --data ../shared/data/pts --recipes sssd-s4-small lstm-small [--set how.codec=onehot]

The data are NPZ files of the study's windows (see docs/study.md). Of every tenth of `train_stream` a model trains on
the first nine tenths and is validated on the rest: the second half of the stream is one loop, which by itself would
tell nothing. Results are merged into benchmarks/results/study.json, one row a recipe, benchmark and seed; baselines are
scored along. Almost every test window occurs in training and two thirds of the events are one loop of period 14: these
figures serve to compare with the study and prove nothing about traces at large.

Axis legend: N windows, L length, G gap length, S stream.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tracemend.baselines import Copy, Lookup, MostFrequent, Period
from tracemend.mender import Mender, Restorer
from tracemend.metrics import interval, rouge_l
from tracemend.recipes import Recipe, recipe
from tracemend.training import Training, keep_memory
from tracemend.vocabulary import FIRST, MASK, numbered
from tracemend.windows import Stream

HERE = Path(__file__).parent
GAP, PERIOD, STRIDE = 10, 14, 5
Ints = NDArray[np.int64]


def in_loop(stream_S: Ints) -> NDArray[np.bool_]:
    """Which events belong to a stretch that repeats itself after 14 events for at least two periods."""
    same = stream_S[:-PERIOD] == stream_S[PERIOD:]
    inside = np.zeros(len(stream_S), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= PERIOD:
            inside[begin : end + PERIOD] = True
    return inside


def scores(restored_NG: Ints, truth_NG: Ints, hard_N: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy, perfect rate and ROUGE-L (eq. 9) over all gaps, over hard ones, and accuracy by frequency rank."""
    right = restored_NG == truth_NG
    rouge = np.array([rouge_l(r, t) for r, t in zip(restored_NG, truth_NG, strict=True)])
    row: dict[str, Any] = {}
    for name, chosen in (("all", np.ones_like(hard_N)), ("hard", hard_N)):
        per_gap = right[chosen].mean(axis=1)
        row[name] = {
            "gaps": int(chosen.sum()),
            "accuracy": round(float(per_gap.mean()), 4),
            "interval": [round(x, 4) for x in interval(per_gap, np.random.default_rng(0))],
            "perfect": round(float(right[chosen].all(axis=1).mean()), 4),
            "rouge_l": round(float(rouge[chosen].mean()), 4),
        }
    rank = truth_NG - FIRST + 1
    row["by_rank"] = {
        f"{low}-{high}": {"events": int(held.sum()), "accuracy": round(float(right[held].mean()), 4)}
        for low, high in ((1, 4), (5, 8), (9, 16), (17, 255))
        if (held := (rank >= low) & (rank <= high)).any()
    }
    return row


def changed(chosen: Recipe, settings: list[str]) -> Recipe:
    """A recipe with some of its fields set: "steps=50", "how.codec=onehot", "gaps.shared=true"."""
    for setting in settings:
        key, _, text = setting.partition("=")
        try:
            value: Any = json.loads(text)
        except ValueError:
            value = text
        outer, _, inner = key.partition(".")
        if inner and outer == "gaps":
            value = replace(chosen.gaps, **{inner: value})
        elif inner:
            value = getattr(chosen, outer) | {inner: value}
        chosen = replace(chosen, **{outer: value})
    return chosen


def trained(chosen: Recipe, data: dict[str, Any], seed: int) -> tuple[Restorer, float, list[dict[str, Any]]]:
    """The model, the CPU seconds that its training took, and its curve."""
    run = Training(chosen, data["vocabulary"], seed=seed)
    log, spent, begin = [], 0.0, time.process_time()
    for step in run.steps(data["train"], data["validation"], every=max(1, chosen.iterations // 5)):
        if step.validation is not None:
            spent = time.process_time() - begin
            row = {"step": step.number, "loss": round(step.validation_loss or 0, 5), "accuracy": step.validation}
            log.append(row)
            print(chosen.name, row, f"{spent:.0f} s", file=sys.stderr, flush=True)
    return Restorer(chosen, data["vocabulary"], run.averaged()), spent, log


def read(path: Path) -> dict[str, Any]:
    arrays = np.load(path)
    stream = arrays["train_stream"].astype(np.int64)
    windows = arrays["test_200_as_150"].astype(np.int64)
    whole = np.concatenate([windows[0], windows[1:, -STRIDE:].ravel()])
    outside = ~in_loop(whole)
    begin = (windows.shape[1] - GAP) // 2
    hard = np.array([outside[STRIDE * n + begin :][:GAP].any() for n in range(len(windows))])
    counts = np.bincount(stream, minlength=int(max(stream.max(), windows.max())) + 1)[1:]
    pieces = [np.split(tenth, [len(tenth) * 9 // 10]) for tenth in np.array_split(stream - 1 + FIRST, 10)]
    train, validation = ([Stream(p[k], np.zeros_like(p[k])) for p in pieces] for k in (0, 1))
    known = np.ones(windows.shape, bool)
    known[:, begin : begin + GAP] = False
    return {
        "vocabulary": numbered(len(counts), counts.tolist()),
        "train": train,
        "validation": validation,
        "windows": windows - 1 + FIRST,
        "known": known,
        "hard": hard,
        "loop": round(float(1 - outside.mean()), 4),
    }


def judge(mender: Mender, data: dict[str, Any], every: int = 1) -> dict[str, Any]:
    known, windows, hard = (data[k][::every] for k in ("known", "windows", "hard"))
    hidden = np.where(known, windows, MASK)
    begin = time.process_time()
    restored = mender.restore(hidden, known).ids
    seconds = time.process_time() - begin
    truth = windows[~known].reshape(len(known), GAP)
    return {"impute_s": round(seconds, 2), **scores(restored[~known].reshape(truth.shape), truth, hard)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--benchmarks", nargs="+", default=["compress-gzip", "phpbench"])
    parser.add_argument("--recipes", nargs="*", default=[])
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="fields to change, for ablations")
    parser.add_argument("--every", type=int, default=2, help="of the windows, for samplers of 100 steps or more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "study.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_memory()
    about = {
        "command": command(),
        "commit": commit(),
        "seed": given.seed,
        "threads": given.threads,
        "cpus": os.cpu_count(),
    }
    for name in given.benchmarks:
        data = read(given.data / f"{name}.npz")
        base = {"benchmark": name, "loop": data["loop"], **about}
        for mender in (MostFrequent(), Copy(), Period(), Lookup(data["train"])):
            if not given.settings:
                merge(given.output, {"recipe": mender.name, "settings": [], **base, **judge(mender, data)})
        for chosen in (changed(recipe(r), given.settings) for r in given.recipes):
            model, seconds, log = trained(chosen, data, given.seed)
            merge(
                given.output,
                {
                    "recipe": chosen.name,
                    "settings": given.settings,
                    **base,
                    "parameters": sum(p.numel() for p in model.network.parameters()),
                    "iterations": chosen.iterations,
                    "train_s": round(seconds, 1),
                    "validation": log,
                    **judge(model, data, given.every if chosen.steps >= 100 else 1),
                },
            )


def command() -> str:
    """What was typed to get these results."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(shlex.quote, sys.argv[1:])])


def commit() -> str:
    """What the working tree is at, "-dirty" behind it if it has changes."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(describe, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()


def merge(path: Path, row: dict[str, Any]) -> None:
    """Put a row into the results, in place of an older one of the same recipe, settings, benchmark and seed."""

    def key(r: dict[str, Any]) -> str:
        return json.dumps([r["recipe"], r["settings"], r["benchmark"], r["seed"]])

    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [r for r in rows if key(r) != key(row)] + [row]
    document = {"rows": sorted(rows, key=key)}
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".tmp").replace(path)
    print(row["recipe"], row["settings"], row["benchmark"], row["all"], row["hard"], row["by_rank"], flush=True)


if __name__ == "__main__":
    main()
