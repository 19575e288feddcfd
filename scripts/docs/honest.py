"""What test and training share, and traces that no mender was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docs.common import by_part, folded, load, rows_of, source
from tracemend.judging.report import by_gap, cells, named, subsets
from tracemend.judging.report import markdown_table as table
from tracemend.judging.results import Row

#: The study's networks, corrected.
STUDIED = ("diffwave-small", "sssd-s4-small", "sssd-sa-small", "csdi-s4-small")


def audit(names: Sequence[str] = ()) -> str:
    """Of all data sets, or of some."""
    d = load("audit")

    def percent(x: float) -> str:
        return f"{100 * x:.1f} %"

    body = []
    for r in (r for r in d["sets"] if not names or r["name"] in names):
        runs = [percent(r["test_runs_in_training"][str(n)]) for n in (5, 10, 20, 40)]
        shares = [percent(r["distinct_train_windows"]), percent(r["test_windows_in_training"]["train"])]
        loop = f"{percent(r['loop']['test'])} of period {r['loop']['period']}"
        events = f"{sum(r['events'].values()):,}"
        body.append([f"`{r['name']}`", events, f"{r['distinct_ids']}", *shares, *runs, loop])
    head = ["", "events", "ids", "distinct", "in training", "runs of 5", "10", "20", "40", "test events in a loop"]
    return table(head, body) + source(d, "audit")


def honest() -> str:
    rows, end = rows_of("honest")
    lines = "Accuracy / perfect rate / ROUGE-L, per cent; in brackets half the range over seeds.\n\n"
    return lines + "\n".join(by_gap(rows, subset) for subset in ("all", "unseen")) + end


def honest_short() -> str:
    """ADFA-LD's windows of 200; adapting and the study's networks are in the full table alone."""
    rows, end = rows_of("honest")
    here = [r for r in rows if (r["data"], r["length"]) == ("adfa", 200)]
    return by_gap([r for r in here if r["mender"] not in ("mosaic adapted", *STUDIED)], "unseen") + end


def honest_functional(menders: Sequence[str] = ()) -> str:
    """Does the window's call statistic get better by mending? By all menders, or by some."""
    rows, end = rows_of("honest")
    held = [c for c in cells(rows, "unseen") if c["gap"] in {10, 40} and c["length"] == 200]
    held = [c for c in held if not menders or named(c) in menders]
    body = [
        [f"{c['data']}, gap {c['gap']}: {named(c)}"]
        + [f"{100 * c[k]:.1f}" for k in ("count_error", "count_better")]
        + [f"{100 * c[k]:.2f}" for k in ("share_error", "share_error_open")]
        + [f"{100 * c['share_better']:.1f}"]
        for c in sorted(held, key=lambda c: (c["data"], c["gap"], -c["count_error"]))
    ]
    head = ["unseen windows of 200", "count error", "counts better", "share error", "left open", "shares better"]
    return table(head, body) + end


def types_table(rows: Sequence[Row]) -> str:
    """Type accuracy by the kernel module of the truth, for rows of one data set, length and gap."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(named(row), []).append(row)
    parts = {name: by_part(held, "by_type") for name, held in groups.items()}
    events = {kind: p["events"] for held in parts.values() for kind, p in held.items()}
    kinds = sorted(events, key=lambda k: (-events[k], k != "all", k))
    body = []
    for name in sorted(parts, key=lambda n: parts[n]["all"]["type_accuracy"]):
        line = [parts[name].get(kind) for kind in kinds]
        body.append([name, *(f"{100 * p['type_accuracy']:.1f} ({100 * p['accuracy']:.1f})" if p else "" for p in line)])
    shares = [kind if kind == "all" else f"{kind} ({100 * events[kind] / events['all']:.2g} %)" for kind in kinds]
    first = rows[0]
    return table([f"{first['data']}, windows of {first['length']}, gap {first['gap']}", *shares], body)


def honest_types() -> str:
    """RQ4 where calls have names: a gap of 10 in windows of 200 stands open, the rest is folded away."""
    rows, end = rows_of("honest")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if "by_type" in row:
            groups.setdefault((row["data"], row["length"], row["gap"]), []).append(row)
    tables = {at: types_table(held) for at, held in groups.items()}
    main = [text for (_, length, gap), text in tables.items() if (length, gap) == (200, 10)]
    rest = [text for (_, length, gap), text in tables.items() if (length, gap) != (200, 10)]
    return "\n".join(main) + (folded("Other gaps and windows", "\n".join(rest)) if rest else "") + end


def ceiling() -> str:
    """In how many gaps is the truth anywhere in training, with so much of what is beside it?"""
    d = load("ceiling")
    sides = [k for k in d["rows"][0] if k.isdecimal()]
    head = ["unseen windows of 200", *(f"with {k} on each side" if k != "0" else "anywhere" for k in sides)]
    body = [
        [f"{r['data']}, gap {r['gap']} ({r['windows']} windows)", *(f"{100 * r[k]:.1f}" for k in sides)]
        for r in d["rows"]
    ]
    return table(head, body) + source(d, "ceiling")


def peers() -> str:
    """Generic imputers beside the baselines and this project's models: the same windows, the same gaps."""
    rows, end = rows_of("peers")
    if not rows:
        return "Not run.\n"
    asked = {(r["data"], r["length"], r["gap"], r["place"]) for r in rows}
    ours = [
        r
        for name in ("paper", "honest")
        for r in rows_of(name)[0]
        if (r["data"], r["length"], r["gap"], r["place"]) in asked
    ]
    parts = []
    for subset in subsets(rows):
        # on the study's windows hardly any is unseen; elsewhere those that are seen prove little
        kept = [r for r in [*ours, *rows] if r["data"].startswith("pts/") == (subset != "unseen")]
        parts.append(by_gap(kept, subset))
    return "Accuracy / perfect rate / ROUGE-L, per cent:\n\n" + "\n".join(p for p in parts if p) + end
