"""The study's models on three of its benchmarks, ablation, samplers."""

from __future__ import annotations

from typing import Any

from docs.common import load, provenance, rows_of, source
from tracemend.judging.report import markdown_table as table
from tracemend.judging.report import triple
from tracemend.judging.results import Row

#: The benchmarks on which all of the study's models were trained.
BENCHMARKS = ("compress-gzip", "phpbench", "unpack-linux")
MODELS = ("diffwave", "sssd-s4", "sssd-sa", "csdi-s4", "masked-s4", "masked-transformer", "lstm")


def named_row(row: Any) -> str:
    """A row's recipe, with what was changed in it (the number of iterations has a column of its own)."""
    changes = [s for s in row["settings"] if not s.startswith("iterations=")]
    return ", ".join([row["recipe"], *changes])


def measured() -> tuple[dict[str, list[Row]], str]:
    """Rows of windows of 200 with ten events hidden in the centre, by benchmark; baselines first, the weakest first."""
    asked = {"length": 200, "gap": 10, "place": "centre", "seed": 0}
    rows, _ = rows_of("paper")
    kept = [r for r in rows if not r["set"] and all(r[k] == v for k, v in asked.items())]
    by_benchmark = {
        name: sorted(
            (r for r in kept if r["data"] == f"pts/{name}"),
            key=lambda r: ("parameters" in r, r["subsets"]["all"]["accuracy"]),
        )
        for name in BENCHMARKS
    }
    held = [r for of_one in by_benchmark.values() for r in of_one]
    return by_benchmark, (
        f"\nFrom `benchmarks/results/paper.jsonl`, where every row has its command; {provenance(held)}, one core.\n"
    )


def study() -> str:
    benchmarks, end = measured()
    loops = {s["name"]: s["loop"] for s in load("audit")["sets"]}
    parts = []
    head = [
        "model",
        "all gaps",
        "gaps outside the loop",
        "windows",
        "iterations",
        "training s",
        "imputing s",
        "parameters",
    ]
    for benchmark, rows in benchmarks.items():
        loop = loops[f"pts/{benchmark}"]
        title = f"{benchmark}: {100 * loop['test']:.0f} % of the test stream is one loop of period {loop['period']}"
        parts.append(f"\n#### {title}\n\n")
        body = [
            [
                r["mender"],
                triple(r["subsets"]["all"]),
                triple(r["subsets"]["outside the loop"]),
                f"{r['windows']}",
                *(f"{r[k]:,}" if "parameters" in r else "" for k in ("iterations", "train_s")),
                f"{r['impute_s']:.0f}",
                f"{r['parameters']:,}" if "parameters" in r else "",
            ]
            for r in rows
        ]
        parts.append(table(head, body))
    return "Accuracy / perfect rate / ROUGE-L (eq. 9), per cent:\n" + "".join(parts) + end


def _both(row: Row) -> str:
    everywhere, outside = (100 * row["subsets"][k]["accuracy"] for k in ("all", "outside the loop"))
    return f"{everywhere:.1f} ({outside:.1f})"


def study_short() -> str:
    """Accuracy on all gaps and on those outside the loop, as published and corrected."""
    benchmarks, end = measured()
    of = {(r["mender"], benchmark): _both(r) for benchmark, rows in benchmarks.items() for r in rows}
    body = [
        [name, *(of.get((f"{name}-small{way}", b), "") for b in benchmarks for way in ("-published", ""))]
        for name in MODELS
    ]
    body += [[name, *(x for b in benchmarks for x in ("", of[name, b]))] for name in ("copy period", "lookup")]
    head = ["", *(f"{b}, {how}" for b in benchmarks for how in ("as published", "corrected"))]
    return table(head, body) + end


def study_by_rank() -> str:
    benchmarks, end = measured()
    parts = []
    for benchmark, rows in benchmarks.items():
        whole = max(rows, key=lambda r: r["windows"])["by_rank"]
        head = ["model", *(f"{k} ({whole[k]['events']} events)" for k in whole)]
        body = [
            [r["mender"], *(f"{100 * r['by_rank'][k]['accuracy']:.1f}" if k in r["by_rank"] else "" for k in whole)]
            for r in sorted(rows, key=lambda r: r["subsets"]["all"]["accuracy"])
        ]
        parts.append(f"\n#### {benchmark}\n\n" + table(head, body))
    return "Accuracy by the call's rank among the training events, per cent:\n" + "".join(parts) + end


def ablation() -> str:
    rows = load("ablation")["rows"]
    parts = []
    for recipe, title in (
        ("diffwave-small-published", "As published, with one fault mended"),
        ("diffwave-small", "Corrected, with one correction taken back"),
    ):
        held = sorted((r for r in rows if r["recipe"] == recipe), key=lambda r: len(r["settings"]))
        head = ["", "iterations", "all gaps", "gaps outside the loop", "ranks 5-8", "ranks 9-16", "ranks 17-"]
        body = []
        for r in held:
            change = named_row(r).removeprefix(recipe).removeprefix(", ") or "as it is"
            ranks = [f"{100 * r['by_rank'][k]['accuracy']:.1f}" for k in ("5-8", "9-16", "17-255")]
            body.append([change, f"{r['iterations']:,}", triple(r["all"]), triple(r["hard"]), *ranks])
        parts.append(f"\n#### {title}\n\n" + table(head, body))
    return (
        "Accuracy / perfect rate / ROUGE-L, per cent:\n"
        + "".join(parts)
        + f"\nFrom `benchmarks/results/ablation.json`, where every row has its command; {provenance(rows)}, one core.\n"
    )


def sampling() -> str:
    d = load("sampling")
    s = d["step"]
    lines = (
        "One reverse step of SSSD-S4 at the paper's size (47.9 M parameters, batch 1, length 200, one core): "
        f"**{s['held_s']:.2f} s** of CPU time within a chain; {s['anew_s']:.2f} s when kernels, normalised weights and "
        f"the conditioning's share are computed anew in each step ({s['anew_s'] / s['held_s']:.1f} times); "
        f"{s['plain_s']:.2f} s when moreover the kernels' Cauchy sums are computed as the paper writes them "
        f"({s['plain_s'] / s['held_s']:.1f} times).\n\n"
    )
    head = [
        "model",
        "sampler",
        "steps",
        f"seconds for {d['windows']} windows",
        "accuracy",
        "perfect",
        "accuracy outside the loop",
    ]
    body = [
        [r["recipe"], r["sampler"], str(r["steps"]), f"{r['seconds']:.1f}"]
        + [f"{100 * r[k]:.1f}" for k in ("accuracy", "perfect", "hard")]
        for r in d["samplers"]
    ]
    return lines + table(head, body) + source(d, "sampling")
