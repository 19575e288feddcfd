"""What recordings of more programs to copy from are worth (``benchmarks/library.py``)."""

from __future__ import annotations

from docs.common import load, source

MORE = "the likest, 1,000,000"
WAYS = {
    "none": "nothing but the trace itself",
    "usual": "what is always copied from",
    MORE: "`--more-examples`",
}


def table() -> str:
    """Markdown: a row a length of gaps, a column a way of choosing."""
    document = load("library")
    ways = {told: document["ways"][name] for name, told in WAYS.items()}
    usual = document["ways"]["usual"]
    bins = [name for name, value in usual.items() if isinstance(value, dict)]
    heads = ["lost events", "gaps", *ways, "error of how sure, always copied from", f"error of how sure, {WAYS[MORE]}"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name in bins:
        cells = [name, str(usual[name]["gaps"])]
        for way in ways.values():
            low, high = (100 * end for end in way[name]["interval"])
            apart = "" if way is usual else f" ({100 * way[name]['more']:+.1f}: {low:+.1f} to {high:+.1f})"
            cells.append(f"{100 * way[name]['accuracy']:.1f} %{apart}")
        cells += [f"{way[name]['calibration_error']:.3f}" for way in (usual, ways[WAYS[MORE]])]
        lines.append(f"| {' | '.join(cells)} |")
    copied = " | ".join(f"{way['copied']:,}" for way in ways.values())
    spent = " | ".join(str(way["ms_an_event"]) for way in ways.values())
    lines += [f"| events to copy from | | {copied} | | |", f"| ms of processor an event | | {spent} | | |"]
    return "\n".join(lines) + "\n" + source(document, "library")
