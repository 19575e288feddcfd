"""What recordings of more programs to copy from are worth (``benchmarks/library.py``)."""

from __future__ import annotations

from docs.common import load, source
from tracemend.judging.report import markdown_table

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
    rows = []
    for name in bins:
        cells = [name, str(usual[name]["gaps"])]
        for way in ways.values():
            low, high = (100 * end for end in way[name]["interval"])
            apart = "" if way is usual else f" ({100 * way[name]['more']:+.1f}: {low:+.1f} to {high:+.1f})"
            cells.append(f"{100 * way[name]['accuracy']:.1f} %{apart}")
        rows.append(cells + [f"{way[name]['calibration_error']:.3f}" for way in (usual, ways[WAYS[MORE]])])
    for told, cell in (("events to copy from", "{copied:,}"), ("ms of processor an event", "{ms_an_event}")):
        rows.append([told, "", *(cell.format(**way) for way in ways.values()), "", ""])
    return markdown_table(heads, rows) + source(document, "library")
