"""The study's models on the study's data: train each recipe, restore blackouts of 10 in windows of 200, score.

    python benchmarks/study.py --data ../shared/data --recipes sssd-s4-small lstm-small [--set how.codec=onehot]

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
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tracemend.baselines import BASELINES
from tracemend.datasets import load
from tracemend.datasets.study import Study, in_loop
from tracemend.evaluate import blackout, by_rank
from tracemend.experiment import commit
from tracemend.mender import Mender, Restorer
from tracemend.metrics import interval, rouge_l
from tracemend.recipes import Recipe, recipe
from tracemend.training import Training, keep_memory
from tracemend.vocabulary import FIRST, MASK

HERE = Path(__file__).parent
GAP = 10
Ints = NDArray[np.int64]


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
    return row | {"by_rank": by_rank(right, truth_NG - FIRST + 1)}


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


def read(source: Path, benchmark: str) -> dict[str, Any]:
    """Streams, test windows and what is hidden of them; "hard": gaps with an event outside the loop."""
    data = load(f"pts/{benchmark}", source)
    assert isinstance(data, Study)
    windows = data.windows(200, 500)
    known = blackout(200, GAP, "centre")
    return {
        "vocabulary": data.vocabulary,
        "train": data.train,
        "validation": data.validation,
        "windows": windows.ids_NL,
        "known": np.tile(known, (len(windows), 1)),
        "hard": data.subsets(windows, known)["outside the loop"],
        "loop": round(float(in_loop(data.test[0].ids).mean()), 4),
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
        "commit": commit(HERE),
        "seed": given.seed,
        "threads": given.threads,
        "cpus": os.cpu_count(),
    }
    for name in given.benchmarks:
        data = read(given.data, name)
        base = {"benchmark": name, "loop": data["loop"], **about}
        for mender in (make(data["train"]) for make in BASELINES.values()):
            if not given.settings:
                merge(given.output, {"recipe": mender.name, "settings": [], **base, **judge(mender, data)})
        for chosen in (recipe(r).changed(given.settings) for r in given.recipes):
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
