"""What recordings of more programs to copy from are worth (``benchmarks/library.py``)."""

from __future__ import annotations

from docs.common import load, source

WAYS = {
    "none": "nothing but the trace itself",
    "usual": "what is always copied from",
    "the likest, 1,000,000": "`--more-examples`",
    "all": "all of both",
}


def table() -> str:
    """Markdown: a row a length of gaps, a column a way of choosing."""
    document = load("library")
    ways = {told: document["ways"][name] for name, told in WAYS.items()}
    usual = document["ways"]["usual"]
    bins = [name for name, value in usual.items() if isinstance(value, dict)]
    lines = [f"| lost events | gaps | {' | '.join(ways)} |", "|---|---:|" + "---:|" * len(ways)]
    for name in bins:
        cells = [name, str(usual[name]["gaps"])]
        for way in ways.values():
            low, high = (100 * end for end in way[name]["interval"])
            apart = "" if way is usual else f" ({100 * way[name]['more']:+.1f}: {low:+.1f} to {high:+.1f})"
            cells.append(f"{100 * way[name]['accuracy']:.1f} %{apart}")
        lines.append(f"| {' | '.join(cells)} |")
    copied = " | ".join(f"{way['copied']:,}" for way in ways.values())
    spent = " | ".join(str(way["ms_an_event"]) for way in ways.values())
    lines += [f"| events to copy from | | {copied} |", f"| ms of processor an event | | {spent} |"]
    return "\n".join(lines) + "\n" + source(document, "library")
