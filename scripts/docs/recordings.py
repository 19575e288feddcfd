"""Reading: this project's own recordings."""

from __future__ import annotations

from docs.common import load, source
from tracemend.judging.report import markdown_table as table


def reading() -> str:
    d = load("reading")
    rows = [
        [name, f"{r['events_per_s']:,}", f"{r['plain_lines_per_s']:,}", f"{r['times_slower_than_plain']:.1f}"]
        for name, r in d["results"].items()
    ]
    head = ["reading, one core", "events/s", "plain lines/s in Python", "ratio"]
    return table(head, rows) + source(d, "reading")


def ctf() -> str:
    d = load("ctf")
    kinds = ("events_per_s", "babeltrace2_python_events_per_s", "babeltrace2_text_events_per_s")
    ratios = ("times_babeltrace2_python", "times_babeltrace2_text")
    rows = [[name, *(f"{r[k]:,}" for k in kinds), *(f"{r[k]:g}" for k in ratios)] for name, r in d["results"].items()]
    head = ["CTF, one core", "events/s", "bt2 from Python", "babeltrace2's text", "times bt2", "times the text"]
    headers = [[name, f"{r['packets_per_s']:,}", f"{r['gb_per_s']:g}"] for name, r in d["headers"].items()]
    w = d["windows"]
    share = f"{w['packets_decoded']} of {w['packets']} packets ({w['share_of_packets']:.1%})"
    row = [f"{w['events']:,}", str(w["gaps"]), share, f"{w['seconds_whole']:g}", f"{w['seconds_windows']:g}"]
    titles = ["windows alone: events", "gaps", "decoded", "s, whole", "s, windows", "times faster"]
    windows = table(titles, [[*row, f"{w['times_faster']:g}"]])
    text = table(head, rows) + "\n" + table(["headers only", "packets/s", "GB/s"], headers) + source(d, "ctf")
    return text + "\n" + windows + source(w["made"], "ctf")
