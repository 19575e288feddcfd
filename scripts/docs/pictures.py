"""A picture for each page of results, from the same files as its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from docs import corrected, kernel
from docs.common import ROOT, load, rows_of
from docs.drawing import Bars, Columns, Curves, Panel, Ranges
from docs.lost import SOME_MENDERS, TITLES, recorded
from docs.recordings import as_usual
from tracemend.judging import corrected as figures
from tracemend.judging import kernel as machines
from tracemend.judging import lost
from tracemend.judging.figures import LEFT
from tracemend.judging.results import Row
from tracemend.losses.scanning import scan

#: Of fewer gaps a point tells nothing.
FEWEST_GAPS = 10
#: What is drawn of whole machines, and what it is called there.
SHOWN = {kernel.OURS: "mend", "n-gram": "n-gram", "copy": "copy"}
Points = list[tuple[float, float]]


def evenly(names: Iterable[str]) -> list[tuple[float, str]]:
    """Ticks at 0, 1, 2 and so on."""
    return [(float(x), name) for x, name in enumerate(names)]


def per_cent(value: float) -> float:
    return round(100 * value, 2)


def last(name: str) -> str:
    """The last length of a bin, which is short enough to stand under it."""
    return name.rpartition("-")[2].replace("over 5000", "more")


def familiar() -> list[Panel]:
    d = load("foreign")
    rows, test = d["validation"], d["test"]
    told = [per_cent(x) for x in test["told_right"]]
    return [
        Bars("Told rightly, test", "recordings (%)", ["recorded before", "new"], {"": told}),
        Curves(
            "Told apart, validation",
            "events of a run",
            evenly(str(r["length"]) for r in rows),
            {"": [(float(x), per_cent(r["auroc"])) for x, r in enumerate(rows)]},
            "area under the ROC curve (%)",
        ),
    ]


def families() -> list[Panel]:
    """By kind of event, of what ``mend`` does and of the weakest."""
    rows, _ = rows_of(kernel.NAME, lost.KEY, "gaps")
    names = [machines.CALLS, *machines.FAMILIES, machines.OTHER]

    def share(held: Sequence[Row], name: str) -> float | None:
        cell = machines.of_family(held, name)
        return None if cell is None else per_cent(cell["accuracy"])

    panels: list[Panel] = []
    for part in kernel.PARTS:
        own = machines.by_mender([r for r in rows if r["part"] == part])
        bars = {label: [share(own[m], n) for n in names] for m, label in SHOWN.items() if m in own}
        panels.append(Bars(TITLES[part], "events right (%)", names, bars))
    return panels


def on_machines(up: str, of: Callable[[Mapping[str, Sequence[Row]], tuple[int, int]], dict[str, float]]) -> list[Panel]:
    """Whole machines by length of gap, with other runs recorded before and without."""
    rows, _ = rows_of(kernel.NAME, lost.KEY, "gaps")
    panels: list[Panel] = []
    for part in kernel.PARTS:
        held = machines.by_mender([r for r in rows if r["part"] == part])
        # of a single lost event there is one gap
        bins = [b for b in (machines.filled_lengths(next(iter(held.values()))) if held else []) if b[1] > 1]
        found = [of(held, b) for b in bins]
        curves = {n: [(float(x), per_cent(f[n])) for x, f in enumerate(found)] for n in (found[0] if found else ())}
        ticks = evenly(last(machines.name_of(b)) for b in bins)
        panels.append(Curves(TITLES[part], "events lost in the gap, up to", ticks, curves, up))
    return panels


def machine_events() -> list[Panel]:
    def of(held: Mapping[str, Sequence[Row]], bin_: tuple[int, int]) -> dict[str, float]:
        name = machines.name_of(bin_)
        found = {
            c["mender"]: c["accuracy"] for rows in held.values() for c in lost.by_length(rows) if c["length"] == name
        }
        return {label: found[m] for m, label in SHOWN.items()}

    return on_machines("events right (%)", of)


def machine_running() -> list[Panel]:
    def of(held: Mapping[str, Sequence[Row]], bin_: tuple[int, int]) -> dict[str, float]:
        ours = held[kernel.OURS]
        return {
            "mend": machines.shown(ours, "right_ns", bin_)[0],
            "left open": machines.shown(ours, "left_ns", bin_)[0],
        }

    return on_machines("time with the right thread (%)", of)


def tuning() -> list[Panel]:
    """How readily to jump, and what a place in another recording counts."""
    held = {r["mender"]: per_cent(r["all"]["accuracy"]) for r in load("mosaic")["rows"]}
    jumps = {"a third": "mosaic, jumps / 3", "as chosen": "mosaic", "three times": "mosaic, jumps x 3"}
    votes = [r for r in load("trust")["rows"] if r["trust"] is not None]
    counts = sorted({r["trust"] for r in votes})
    return [
        Bars(
            "The mosaic, by how readily it jumps",
            "events right (%)",
            list(jumps),
            {"": [held[n] for n in jumps.values()]},
            shown=".1f",
        ),
        Curves(
            "The lookup, by what a place in another recording counts",
            "so much of a place in the trace itself",
            evenly(f"{c:g}" for c in counts),
            {
                f"other runs are {kind}": [
                    (float(counts.index(r["trust"])), per_cent(r["all"]["accuracy"]))
                    for r in votes
                    if r["examples"] == kind
                ]
                for kind in ("seen", "unseen")
            },
        ),
    ]


def backbones() -> list[Panel]:
    rows = load("backbones")["times"]["rows"]
    lengths = sorted({r["length"] for r in rows})
    return [
        Curves(
            title,
            "events in the window",
            evenly(f"{n:,}" for n in lengths),
            {
                name: [(float(lengths.index(r["length"])), r[kind]) for r in rows if r["backbone"] == name]
                for name in dict.fromkeys(r["backbone"] for r in rows)
            },
            "ms a thousand events",
            most=800,
        )
        for title, kind in (("forward pass", "forward_ms"), ("training step", "training_ms"))
    ]


def other_fills() -> list[Panel]:
    d = load("hypotheses")
    lengths = {n: r for n, r in d["by_length"].items() if n != "all"}

    def by_length(key: str) -> Points:
        return [(float(x), per_cent(r[key])) for x, r in enumerate(lengths.values())]

    agreed = [r for r in d["by_agreement"] if r["gaps"] >= FEWEST_GAPS]
    return [
        Curves(
            "By length of gap",
            "events lost in the gap, up to",
            evenly(map(last, lengths)),
            {"the fill": by_length("accuracy"), "true number in the range": by_length("within")},
            "per cent",
        ),
        Curves(
            "By agreement of the other fills",
            "agreement (%), from",
            evenly(f"{100 * r['least']:g}" for r in agreed),
            {"the fill": [(float(x), per_cent(r["accuracy"])) for x, r in enumerate(agreed)]},
        ),
    ]


def parts() -> list[Panel]:
    rows = {r["mender"]: r for r in load("parts")["rows"]}
    shown = {
        "copies: lookup": "copies only: lookup",
        "copies: mosaic": "copies only: mosaic",
        "copies and examples": "copies only: mosaic + examples",
        "a small network": "network only: all channels, 4 reverse steps",
        "all together": "both: mosaic + examples + network",
    }
    bars: dict[str, list[float | None]] = {
        name: [per_cent(rows[m][key][0]) for m in shown.values()]
        for name, key in (("with constraints", "accuracy"), ("without", "accuracy_free"))
    }
    return [Bars("Simulated losses, means over three seeds", "events right (%)", list(shown), bars)]


def seeds() -> list[Panel]:
    rows = load("seeds")["rows"]
    bars: dict[str, list[float | None]] = {"another seed": [per_cent(r["seeds"]) for r in rows]}
    for factor in rows[0]["jumps"]:
        bars[f"jumps {factor} times as likely"] = [per_cent(r["jumps"][factor]) for r in rows]
    bars["another seed, --for figures"] = [per_cent(r["seeds_for_figures"]) for r in rows]
    return [Bars("Inferred events that are not the same", "per cent", [r["recording"] for r in rows], bars)]


def cost() -> list[Panel]:
    """Milliseconds of one core for an event that is restored."""
    rows, _ = recorded()
    sums = {m: [sum(r[k] for r in rows if r["mender"] == m) for k in ("seconds", "events")] for m in SOME_MENDERS}
    held = {m: round(1000 * seconds / events, 3) for m, (seconds, events) in sums.items() if events}
    title = "Mending: learning from the trace and filling its gaps"
    return [Bars(title, "ms of one core an event", list(held), {"": list(held.values())}, most=3, shown=".2f")]


def of_figures() -> list[Panel]:
    """How wrong figures are left open and corrected, and how often their ranges hold."""
    rows, _ = rows_of(corrected.NAME, figures.KEY, figures.SCORES)
    sorts = figures.sorts(rows)
    names = [f"{sort}, {part}" for sort, part in sorts]
    panels: list[Panel] = []
    for kind, title in (("call calls", "counts of each call"), ("call time_ns", "time in each call")):
        bars: dict[str, list[float | None]] = {}
        for label, way in (("left open", LEFT), ("corrected", corrected.OURS)):
            errors = [figures.mean_error(figures.ways(own)[way], kind) for own in sorts.values()]
            bars[label] = [None if e is None else per_cent(e[0]) for e in errors]
        panels.append(Bars(title, "error (%)", names, bars, most=50))
    return panels


def holding() -> list[Panel]:
    """How many of ranges that are to hold nine times in ten do, with 95 % intervals over recordings."""
    rows, _ = rows_of(corrected.NAME, figures.KEY, figures.SCORES)
    sorts = figures.sorts(rows)
    kinds = {
        "call calls": "counts of each call",
        "thread calls": "calls of each thread",
        "call time_ns": "time in each call",
    }
    ranges: dict[str, list[tuple[int, float, float]]] = {}
    for row, own in enumerate(sorts.values()):
        for kind, label in kinds.items():
            if held := figures.held([r for r in own if r["draws"]], kind):
                low, high = held.interval
                ranges.setdefault(label, []).append((row, per_cent(low), per_cent(high)))
    names = [f"{sort}, {part}" for sort, part in sorts]
    return [Ranges("Ranges that hold the truth", "per cent (aim: 90)", names, ranges, least=50, line=90)]


def size() -> list[Panel]:
    """Time and memory by the size of the trace."""
    runs = [r for r in load("scale")["runs"] if r["trace"] == "ftrace" and as_usual(r)]
    sizes = sorted({r["gb"] for r in runs})

    def of(value: Callable[[Any], float]) -> dict[str, Points]:
        return {
            name: sorted((float(sizes.index(r["gb"])), round(value(r), 1)) for r in runs if r["command"] == name)
            for name in ("mend", "scan", "strip")
        }

    ticks = evenly(f"{s:g}" for s in sizes)
    return [
        Curves(
            "Processor time", "GB of text", ticks, of(lambda r: r["cpu_s"] / r["gb"]), "seconds a gigabyte", most=700
        ),
        Curves("Memory", "GB of text", ticks, of(lambda r: r["peak_mb"]), "largest process (MB)", most=800),
    ]


def ctf() -> list[Panel]:
    results = load("ctf")["results"]
    readers = {
        "tracemend": "events_per_s",
        "babeltrace2's text": "babeltrace2_text_events_per_s",
        "babeltrace2 from Python": "babeltrace2_python_events_per_s",
    }
    bars: dict[str, list[float | None]] = {n: [r[k] / 1000 for r in results.values()] for n, k in readers.items()}
    rows = [name.replace(" of metadata", "") for name in results]
    return [
        Bars("All fields of all events", "thousand events a second of one core", rows, bars, most=2500, shown=",.0f")
    ]


def over_time() -> list[Panel]:
    """Where three real recordings lost events: in bursts."""
    panels: list[Panel] = []
    for name in ("deploy", "redis", "shell"):
        found_ = scan(ROOT / "recordings" / name / "lossy.txt")
        values = found_.over_time()
        panels.append(
            Columns(name, "time of the recording", "events lost", values, [(0, "begin"), (1, "end")], max(values))
        )
    return panels


FIGURES: dict[str, tuple[str, Callable[[], Sequence[Panel]], int]] = {
    "familiar": ("How well programs that were recorded before are told from new ones", familiar, 1),
    "kernel-families": ("Events of whole machines that are right, by kind of event", families, 2),
    "kernel-events": ("Events of whole machines that are right, by length of gap", machine_events, 2),
    "kernel-running": ("Time for which the right thread is shown, mended and left open", machine_running, 2),
    "mosaic-tuning": ("Events right by how readily the mosaic jumps, and by what other recordings count", tuning, 1),
    "networks": ("What windows cost each backbone, by their length", backbones, 2),
    "other-fills": ("The fill and other fills of the same gap", other_fills, 2),
    "parts": ("Events right by copies, network and both, with constraints and without", parts, 1),
    "seeds": ("Share of inferred events that another seed or another rate of jumps changes", seeds, 1),
    "speed": ("Processor time an event restored, by mender", cost, 1),
    "figures-errors": ("Error of figures, left open and corrected", of_figures, 2),
    "figures-ranges": ("Share of ranges that hold the truth", holding, 1),
    "scale": ("Processor time a gigabyte, and memory, by the size of the trace", size, 2),
    "ctf": ("Events of CTF read a second, beside babeltrace2", ctf, 1),
    "lost-over-time": ("Events lost over the time of three recordings", over_time, 3),
}
