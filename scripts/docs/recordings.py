"""Reading: this project's own recordings."""

from __future__ import annotations

from docs.common import load, source
from tracemend.report import markdown_table as table


def reading() -> str:
    d = load("reading")
    rows = [
        [name, f"{r['events_per_s']:,}", f"{r['plain_lines_per_s']:,}", f"{r['times_slower_than_plain']:.1f}"]
        for name, r in d["results"].items()
    ]
    head = ["reading, one core", "events/s", "plain lines/s in Python", "ratio"]
    return table(head, rows) + source(d, "reading")
