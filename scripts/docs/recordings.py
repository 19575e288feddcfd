"""Reading: this project's own recordings."""

from __future__ import annotations

from typing import Any

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


def ctf_short() -> str:
    """Events a second beside babeltrace2."""
    d = load("ctf")
    names = ("events_per_s", "babeltrace2_text_events_per_s", "babeltrace2_python_events_per_s")
    rows = [[name, *(f"{r[k]:,}" for k in names)] for name, r in d["results"].items()]
    head = ["events a second, one core", "tracemend", "babeltrace2's text", "babeltrace2 from Python"]
    return table(head, rows) + source(d, "ctf")


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


def as_usual(run: dict[str, Any], cores: int = 2) -> bool:
    """Whether a command was run as it is on a machine with so many cores if nobody says anything."""
    return bool(run["jobs"] == (cores if run["command"] in ("mend", "figures") else 1))


def scale(trace: str = "") -> str:
    """Time and memory of whole commands by the size of the trace; of all traces, or of a kind as it is usual."""
    d = load("scale")
    head = ["command", "trace", "GB", "workers", "CPU seconds", "seconds", "largest process, MB"]
    order = {name: k for k, name in enumerate(("scan", "advise", "mend", "figures", "strip"))}
    usual = ("scan", "mend", "figures", "strip")
    asked = [r for r in d["runs"] if not trace or (r["trace"] == trace and r["command"] in usual and as_usual(r))]
    runs = sorted(asked, key=lambda r: (order.get(r["command"], 9), r["trace"], r["gb"], r["jobs"]))
    rows = [
        [
            *(r["command"], r["trace"], f"{r['gb']:g}", str(r["jobs"])),
            *(f"{r['cpu_s']:g}", f"{r['wall_s']:g}", f"{r['peak_mb']:,}"),
        ]
        for r in runs
    ]
    # where it was worked tells nothing
    commands = ", ".join(f"`{c.partition(' --work')[0]}`" for c in d["commands"])
    commits = ", ".join(f"`{c[:10]}`" for c in dict.fromkeys(r["commit"] for r in runs))
    notes = [f"{r['command']}, {r['trace']}, {r['gb']:g} GB: {r['note']}." for r in runs if "note" in r]
    said = "".join(f"\n{note}\n" for note in notes)
    return table(head, rows) + said + f"\nFrom `benchmarks/results/scale.json`: {commands}; commit {commits}.\n"


def draws() -> str:
    """What figures cost beside the mend that they are made of."""
    d = load("draws")
    versions = list(d["commits"])
    rows = []
    for what in dict.fromkeys(r["command"] for r in d["rows"]):
        own = {r["version"]: r for r in d["rows"] if r["command"] == what}
        rows.append([f"`{what}`", *(f"{own[v][k]:,}" for k in ("cpu_s", "peak_mb") for v in versions)])
    head = ["command", *(f"{k}, {v}" for k in ("CPU seconds", "largest process, MB") for v in versions)]
    before = f"{versions[0]}: commit `{d['commits'][versions[0]][:10]}`"
    return table(head, rows) + source(d, "draws").rstrip(".\n") + f"; {before}.\n"


def filling() -> str:
    """What a gap costs once its proposals are there."""
    d = load("filling")
    head = ["trace", "gaps", "inferred events", "ms a gap", "before", "ms an event", "before", "times faster"]
    names = ("ms_a_gap", "before_ms_a_gap", "ms_an_inferred_event", "before_ms_an_inferred_event")
    rows = [
        [name, f"{r['gaps']:,}", f"{r['inferred']:,}", *(f"{r[k]:.2g}" for k in names), f"{r['times_faster']:g}"]
        for name, r in d["results"].items()
    ]
    return table(head, rows) + source(d, "filling")


def profiling() -> str:
    """What takes the time of a mend."""
    d = load("profiling")
    rows = [[name, f"{100 * share:.0f} %"] for name, share in d["shares"].items()]
    text = f"{d['inferred']:,} events lost in {d['gaps']:,} gaps: {d['cpu_s']:g} seconds of processor time, "
    text += f"{d['ms_an_inferred_event']:.2g} ms an inferred event.\n\n"
    return text + table(["part", "share"], rows) + source(d, "profiling")
