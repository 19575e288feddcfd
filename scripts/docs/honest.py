"""What test and training share, and traces that no mender was trained on."""

from __future__ import annotations

from docs.common import load, rows_of, source
from tracemend.report import by_gap, cells, named
from tracemend.report import markdown_table as table


def audit() -> str:
    d = load("audit")

    def percent(x: float) -> str:
        return f"{100 * x:.1f} %"

    body = []
    for r in d["sets"]:
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
    rows, end = rows_of("honest")
    return by_gap([r for r in rows if (r["data"], r["length"]) == ("adfa", 200)], "unseen") + end


def honest_functional() -> str:
    """Does the window's call statistic get better by mending?"""
    rows, end = rows_of("honest")
    held = [c for c in cells(rows, "unseen") if c["gap"] in {10, 40} and c["length"] == 200]
    body = [
        [f"{c['data']}, gap {c['gap']}: {named(c)}"]
        + [f"{100 * c[k]:.1f}" for k in ("count_error", "count_better")]
        + [f"{100 * c[k]:.2f}" for k in ("share_error", "share_error_open")]
        + [f"{100 * c['share_better']:.1f}"]
        for c in sorted(held, key=lambda c: (c["data"], c["gap"], -c["count_error"]))
    ]
    head = ["unseen windows of 200", "count error", "counts better", "share error", "left open", "shares better"]
    return table(head, body) + end
