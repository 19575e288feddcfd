"""The study's grid: what it prints beside what was measured here."""

from __future__ import annotations

import csv
from typing import Any

from docs.common import ROOT, rows_of
from tracemend.report import by_gap, cells, named
from tracemend.report import markdown_table as table


def paper() -> tuple[list[Any], dict[tuple[str, str, str, int], float], str]:
    """Own cells of the grid, what the study prints for (model, benchmark, measure, blackout), and the source."""
    rows, end = rows_of("paper")
    with open(ROOT / "experiments" / "published.csv") as file:
        printed = {
            (r["model"], r["benchmark"], r["measure"], int(r["blackout"])): float(r["per_cent"])
            for r in csv.DictReader(file)
        }
    return cells(rows), printed, end


def paper_tables() -> str:
    """SSSD-S4 as printed beside what was measured here, a table a blackout, a row a benchmark."""
    own, printed, end = paper()
    parts = []
    for blackout in (1, 5, 10, 20, 30, 40):
        here = [c for c in own if (c["gap"], c["length"], c["place"]) == (blackout, 200, "centre")]
        here = [c for c in here if c["data"].startswith("pts/")]
        found = {(named(c), c["data"].removeprefix("pts/")): c for c in here}
        benchmarks = sorted({c["data"].removeprefix("pts/") for c in here})
        best = {n: max(c["accuracy"] for c in here if named(c) == n) for n in map(named, here)}
        names = sorted(best, key=lambda n: (best[n], n))
        body = []
        for b in benchmarks:
            print_ = printed.get(("sssd-s4", b, "accuracy", blackout))
            rouge = printed.get(("sssd-s4", b, "rouge_l_published", blackout))
            line = [b, f"{print_:.1f} / {rouge:.1f}" if rouge is not None else f"{print_:.1f}"]
            for n in names:
                cell = found.get((n, b))
                line.append(f"{100 * cell['accuracy']:.1f} / {100 * cell['rouge_l_published']:.1f}" if cell else "")
            body.append(line)
        parts.append(table([f"blackout {blackout}", "SSSD-S4, as printed", *names], body))
    return "Accuracy / ROUGE-L as published, per cent:\n\n" + "\n".join(parts) + end


def paper_hard() -> str:
    """The study's data without what training and test share."""
    rows, end = rows_of("paper")
    return by_gap([r for r in rows if r["data"].startswith("pts-hard")], "outside the loop") + end


def paper_lstm() -> str:
    """RQ3: the LSTM fed its own output at the window's end."""
    own, printed, end = paper()
    held = [c for c in own if c["mender"] == "lstm-small" and c["place"] == "end" and c["gap"] <= 5]
    gaps = sorted({c["gap"] for c in held})
    body = []
    for data in sorted({c["data"] for c in held}):
        found = {c["gap"]: c for c in held if c["data"] == data}
        body.append([f"{data}, here", *(f"{100 * found[g]['accuracy']:.1f}" for g in gaps)])
    line = [printed.get(("lstm", "average", "accuracy", g)) for g in gaps]
    body.insert(0, ["mean of nine, as printed", *("" if x is None else f"{x:.1f}" for x in line)])
    return table(["events at the end", *map(str, gaps)], body) + end
