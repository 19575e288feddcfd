"""What networks of other kinds would cost and learn (docs/results/networks.md)."""

from __future__ import annotations

from docs.common import load, source
from tracemend.judging.report import markdown_table


def backbones_short() -> str:
    """What long windows cost each backbone."""
    times = load("backbones")["times"]
    names = list(dict.fromkeys(r["backbone"] for r in times["rows"]))
    lengths = list(dict.fromkeys(r["length"] for r in times["rows"]))
    taken = {(r["backbone"], r["length"]): r for r in times["rows"]}
    head = ["ms a thousand events", *(f"{kind}, {n:,}" for kind in ("forward", "training") for n in lengths)]
    body = [
        [name, *(f"{taken[name, n][k]:.0f}" for k in ("forward_ms", "training_ms") for n in lengths)] for name in names
    ]
    return markdown_table(head, body) + source(times, "backbones")


def backbones() -> str:
    """The same, what each learns, and what other kinds of numbers would save."""
    d = load("backbones")
    numbers, learning = d["numbers"], d["learning"]
    result = backbones_short()
    head = ["forward pass, ms", *(f"{r['length']:,} events" for r in numbers["rows"])]
    body = [[kind, *(f"{r[kind]:.0f}" for r in numbers["rows"])] for kind in ("float32", "bfloat16", "int8")]
    result += "\n" + markdown_table(head, body) + source(numbers, "backbones")
    bins = list(learning["rows"][0]["accuracy"])
    head = ["", *(f"{n} ({learning['rows'][0]['accuracy'][n][1]} windows)" for n in bins)]
    head += ["training loss", "seconds a step", "weights"]
    body = [
        [
            r["backbone"],
            *(f"{100 * r['accuracy'][n][0]:.1f}" for n in bins),
            f"{r['loss']:.2f}",
            f"{r['seconds_per_step']:.2f}",
            f"{r['parameters']:,}",
        ]
        for r in learning["rows"]
    ]
    title = f"\nAfter {learning['iterations']} steps, with Muon where nothing else is said:\n\n"
    result += title + markdown_table(head, body) + source(learning, "backbones")
    return result + "\nIn the whole of a training:\n\n" + _training()


def _training() -> str:
    """The logs of long trainings side by side."""
    d = load("training")
    runs = d["runs"]
    head = ["steps", *(f"{run['backbone']}, {what}" for run in runs for what in ("validation loss", "restored"))]
    body = [
        [
            f"{rows[0]['step']:,}",
            *(x for r in rows for x in (f"{r['validation_loss']:.3f}", f"{100 * r['accuracy']:.1f}")),
        ]
        for rows in zip(*(run["rows"] for run in runs), strict=True)
    ]
    filled = [["filled by `mend`", *(x for run in runs for x in ("", f"{100 * run['filled_right']:.1f}"))]]
    return markdown_table(head, body + filled) + source(d, "training")
