"""Truly lost events, and reading: this project's own recordings."""

from __future__ import annotations

from typing import Any

from docs.common import load, source
from tracemend.report import markdown_table as table


def by_length(rows: list[Any], measure: str) -> str:
    lengths = list(dict.fromkeys(r["length"] for r in rows))
    menders = list(dict.fromkeys(r["mender"] for r in rows))
    cell = {(r["mender"], r["length"]): r for r in rows}
    gaps = {n: next(r["gaps"] for r in rows if r["length"] == n) for n in lengths}
    head = ["mender", *(f"{n} ({gaps[n]} gaps)" for n in lengths)]
    body = []
    for m in menders:
        values = []
        for n in lengths:
            r = cell[m, n]
            if measure == "triple":
                values.append(f"{r['accuracy']:.2f} / {r['perfect']:.2f} / {r['rouge_l']:.2f}")
            elif measure == "accuracy":
                low, high = r["interval"]
                values.append(f"{r['accuracy']:.3f} ({low:.3f}-{high:.3f})")
            else:
                values.append(f"{r[measure]:.3f}")
        body.append([m, *values])
    return table(head, body)


def authentic() -> str:
    d = load("authentic")
    lines = "Accuracy / perfect rate / ROUGE-L, means over gaps, by the number of events lost:\n\n"
    return lines + by_length(d["all"], "triple") + source(d, "authentic")


def authentic_details() -> str:
    d = load("authentic")
    parts = [
        "### All recordings\n\nAccuracy with 95 % bootstrap intervals over gaps:\n\n",
        by_length(d["all"], "accuracy"),
    ]
    for measure, title in (("threads", "Right thread"), ("calibration_error", "Expected calibration error")):
        parts += [f"\n{title}:\n\n", by_length(d["all"], measure)]
    parts += ["\nSpeed, one core, loading apart:\n\n"]
    parts.append(
        table(
            ["mender", "events restored", "seconds", "events/s"],
            [
                [m, f"{s['events']:,}", f"{s['seconds']:.1f}", f"{s['events_per_second']:,}"]
                for m, s in d["speed"].items()
            ],
        )
    )
    for r in d["recordings"]:
        title = f"{r['recording']} ({r['survived']:,} of {r['complete']:,} events survived, {r['gaps']} gaps)"
        parts += [f"\n### {title}\n\nAccuracy / perfect rate / ROUGE-L:\n\n", by_length(r["rows"], "triple")]
    return "".join(parts) + source(d, "authentic")


def reading() -> str:
    d = load("reading")
    rows = [
        [name, f"{r['events_per_s']:,}", f"{r['plain_lines_per_s']:,}", f"{r['times_slower_than_plain']:.1f}"]
        for name, r in d["results"].items()
    ]
    head = ["reading, one core", "events/s", "plain lines/s in Python", "ratio"]
    return table(head, rows) + source(d, "reading")
