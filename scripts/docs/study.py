"""The study's models on two of its benchmarks, ablation, samplers."""

from __future__ import annotations

from typing import Any

from docs.common import load, provenance, source
from tracemend.report import markdown_table as table


def named_row(row: Any) -> str:
    """A row's recipe, with what was changed in it (the number of iterations has a column of its own)."""
    changes = [s for s in row["settings"] if not s.startswith("iterations=")]
    return ", ".join([row["recipe"], *changes])


def of_study(name: str) -> tuple[list[Any], str]:
    rows = load(name)["rows"]
    threads = ", ".join(sorted({f"{r['threads']} of {r['cpus']} cores" for r in rows}))
    return rows, (
        f"\nFrom `benchmarks/results/{name}.json`, where every row has its command; {provenance(rows)}, {threads}.\n"
    )


def triple(score: Any) -> str:
    return " / ".join(f"{100 * score[k]:.1f}" for k in ("accuracy", "perfect", "rouge_l"))


def study() -> str:
    rows, end = of_study("study")
    parts = []
    for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
        held = sorted(
            (r for r in rows if r["benchmark"] == benchmark), key=lambda r: ("train_s" in r, r["all"]["accuracy"])
        )
        first = held[0]
        title = f"#### {benchmark}: {100 * first['loop']:.0f} % of the test stream is one loop of period 14"
        parts.append(f"\n{title}\n\n")
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
        body = []
        for r in held:
            training = [f"{r[k]:,}" if k in r else "" for k in ("iterations", "train_s")]
            size = f"{r['parameters']:,}" if "parameters" in r else ""
            body.append(
                [
                    named_row(r),
                    triple(r["all"]),
                    triple(r["hard"]),
                    f"{r['all']['gaps']}",
                    *training,
                    f"{r['impute_s']:.0f}",
                    size,
                ]
            )
        parts.append(table(head, body))
    return "Accuracy / perfect rate / ROUGE-L (eq. 9), per cent:\n" + "".join(parts) + end


def study_short() -> str:
    """Accuracy on all gaps and on those outside the loop, as published and corrected."""
    rows, end = of_study("study")
    benchmarks = list(dict.fromkeys(r["benchmark"] for r in rows))
    of = {
        (r["recipe"], r["benchmark"]): f"{100 * r['all']['accuracy']:.1f} ({100 * r['hard']['accuracy']:.1f})"
        for r in rows
    }
    body = []
    for name in ("diffwave", "sssd-s4", "sssd-sa", "csdi-s4", "masked-s4", "masked-transformer", "lstm"):
        small = f"{name}-small"
        body.append([name, *(of.get((small + p, b), "") for b in benchmarks for p in ("-published", ""))])
    body += [[name, *(x for b in benchmarks for x in ("", of[name, b]))] for name in ("copy period", "lookup")]
    head = ["", *(f"{b}, {how}" for b in benchmarks for how in ("as published", "corrected"))]
    return table(head, body) + end


def study_by_rank() -> str:
    rows, end = of_study("study")
    parts = []
    for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
        held = sorted((r for r in rows if r["benchmark"] == benchmark), key=lambda r: r["all"]["accuracy"])
        ranks = list(held[0]["by_rank"])
        whole = held[0]["by_rank"]
        head = ["model", *(f"{k} ({whole[k]['events']} events)" for k in ranks)]
        body = [[named_row(r), *(f"{100 * r['by_rank'][k]['accuracy']:.1f}" for k in ranks)] for r in held]
        parts.append(f"\n#### {benchmark}\n\n" + table(head, body))
    return "Accuracy by the call's rank among the training events, per cent:\n" + "".join(parts) + end


def ablation() -> str:
    rows, end = of_study("ablation")
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
    return "Accuracy / perfect rate / ROUGE-L, per cent:\n" + "".join(parts) + end


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
