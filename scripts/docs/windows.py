"""Pictures of data of others with hidden events: the study's windows, ADFA-LD, Android."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from docs.common import by_part, load, rows_of
from docs.drawing import Bars, Curves, Panel, Ranges
from docs.paper import BENCHMARKS, CORRECTED, LOOKUP, MASKED, PERIOD, PRINTED, PUBLISHED, Paper
from docs.pictures import Points, evenly, per_cent
from docs.study import BENCHMARKS as STUDIED
from docs.study import MODELS, measured
from tracemend.judging.report import cells, named


def copying() -> list[Panel]:
    rows = load("ceiling")["rows"]
    sides = [k for k in rows[0] if k.isdecimal()]
    return [
        Curves(
            data,
            "events that must agree on each side",
            evenly("none" if k == "0" else k for k in sides),
            {
                f"gap of {r['gap']}": [(float(x), per_cent(r[k])) for x, k in enumerate(sides)]
                for r in rows
                if r["data"] == data
            },
            "gaps of which the truth stands in the training (%)",
        )
        for data in dict.fromkeys(r["data"] for r in rows)
    ]


def shared() -> list[Panel]:
    sets = load("audit")["sets"]
    held = [per_cent(s["test_windows_in_training"]["train"]) for s in sets]
    title = "Test windows that stand word for word in the training"
    return [Bars(title, "per cent", [s["name"] for s in sets], {"": held})]


def generic() -> list[Panel]:
    """Imputers of time series beside copies, on the windows that they were asked for."""
    at = {"data": "adfa", "length": 200, "place": "centre"}
    rows = [r for n in ("honest", "peers") for r in rows_of(n)[0] if all(r[k] == v for k, v in at.items())]
    held = {(named(c), c["gap"]): c["accuracy"] for c in cells(rows, "unseen")}
    names = ("lookup", "mosaic", "n-gram", "PyPOTS SAITS", "most frequent", "copy")
    gaps = sorted({gap for name, gap in held if name.startswith("PyPOTS")})
    bars = {f"gap of {g}": [per_cent(held[n, g]) if (n, g) in held else None for n in names] for g in gaps}
    return [Bars("ADFA-LD, windows that nobody has seen", "events right (%)", names, bars)]


def modules() -> list[Panel]:
    at = {"data": "adfa", "length": 200, "gap": 10, "place": "centre"}
    rows = [r for r in rows_of("honest")[0] if all(r[k] == v for k, v in at.items()) and "by_type" in r]
    parts = {m: by_part([r for r in rows if r["mender"] == m], "by_type") for m in ("mosaic", "lookup", "n-gram")}
    events = {kind: part["events"] for held in parts.values() for kind, part in held.items() if kind != "all"}
    kinds = sorted(events, key=lambda k: -events[k])
    whole = sum(events.values()) or 1
    bars = {
        m: [per_cent(held[k]["type_accuracy"]) if k in held else None for k in kinds]
        for m, held in parts.items()
        if held
    }
    names = [f"{k} ({100 * events[k] / whole:.2g} %)" for k in kinds]
    return [Bars("Lost calls named as calls of the right module", "type accuracy (%), gap of 10", names, bars)]


def unseen() -> list[Panel]:
    """Traces of others, by the length of the gap."""
    found = [c for c in cells(rows_of("honest")[0], "unseen") if c["length"] == 200 and c["place"] == "centre"]
    shown = {
        "mixture": "mixture",
        "mosaic": "mosaic",
        "lookup": "lookup",
        "n-gram": "n-gram",
        "copy": "copy",
        "masked-s4-small": "masked S4",
    }
    gaps = (1, 10, 40)
    panels: list[Panel] = []
    for data in ("adfa", "android"):
        held = {(named(c).partition(",")[0], c["gap"]): c["accuracy"] for c in found if c["data"] == data}
        curves = {
            name: [(float(x), per_cent(held[m, g])) for x, g in enumerate(gaps) if (m, g) in held]
            for m, name in shown.items()
        }
        title = {"adfa": "ADFA-LD", "android": "Android"}[data]
        panels.append(Curves(title, "events hidden", evenly(map(str, gaps)), {n: c for n, c in curves.items() if c}))
    return panels


def purpose() -> list[Panel]:
    held = {
        (c["data"], c["gap"], named(c)): per_cent(c["count_better"])
        for c in cells(rows_of("honest")[0], "unseen")
        if c["length"] == 200
    }
    asked = [(data, gap) for data in ("adfa", "android") for gap in (10, 40)]
    names = [f"{data}, gap of {gap}" for data, gap in asked]
    bars = {m: [held.get((*at, m)) for at in asked] for m in ("mosaic", "lookup", "copy", "most frequent")}
    return [Bars("Gaps whose counts of calls are better mended than left open", "per cent", names, bars, line=50)]


def found() -> list[Panel]:
    """SSSD-S4 and who learns less, over the study's benchmarks."""
    p = Paper()
    lines = {
        "SSSD-S4, as printed": PRINTED,
        "as published, here": PUBLISHED,
        "corrected, here": CORRECTED,
        "masked S4": MASKED,
        "lookup": LOOKUP,
        "copy period": PERIOD,
    }
    panels: list[Panel] = []
    for gap in (10, 40):
        held = [
            (row, round(min(values), 2), round(max(values), 2))
            for row, line in enumerate(lines.values())
            if (values := [x for b in BENCHMARKS if (x := p.value(line, b, gap)) is not None])
        ]
        panels.append(Ranges(f"blackout of {gap}", "accuracy (%)", list(lines), {"": held}))
    return panels


def hard() -> list[Panel]:
    """By gap on windows that share no run of 30 or 15 events with the training."""
    names = ("n-gram", "lookup", "mosaic", "masked S4", "SSSD-S4", "copy period")
    menders = dict(
        zip(names, ("n-gram", "lookup", "mosaic", "masked-s4-small", "sssd-s4-small", "copy period"), strict=True)
    )
    p, gaps = Paper(), (1, 10, 40)
    panels: list[Panel] = []
    for family, title in (("pts-hard30", "no run of 30 shared"), ("pts-hard15", "no run of 15 shared")):
        curves: dict[str, Points] = {}
        for name, mender in menders.items():
            own = [(x, [p.own(mender, b, g, family=family) for b in STUDIED]) for x, g in enumerate(gaps)]
            curves[name] = [
                (float(x), round(sum(v) / len(v), 2)) for x, held in own if (v := [h for h in held if h is not None])
            ]
        panels.append(Curves(title, "events hidden", evenly(map(str, gaps)), {n: c for n, c in curves.items() if c}))
    return panels


def corrections() -> list[Panel]:
    """The study's models as published and corrected, outside the loop of the data."""
    held = {
        (r["mender"], b): r["subsets"]["outside the loop"]["accuracy"]
        for b, rows in measured()[0].items()
        for r in rows
    }
    first = STUDIED[0]
    bars: dict[str, list[float | None]] = {}
    for label, way in (("as published, here", "-published"), ("corrected, here", "")):
        found_ = [held.get((f"{m}-small{way}", first)) for m in MODELS]
        bars[label] = [None if x is None else per_cent(x) for x in found_]
    return [Bars(f"{first}, blackout of 10, gaps outside the loop", "accuracy (%)", list(MODELS), bars)]


def sampling() -> list[Panel]:
    """Accuracy outside the loop by the number of reverse steps."""
    names = {"ddpm": "DDPM", "ddim": "DDIM", "dpm++": "DPM-Solver++"}
    rows = [r for r in load("sampling")["samplers"] if r["sampler"] in names]
    steps = sorted({r["steps"] for r in rows})
    curves = {
        name: sorted((float(steps.index(r["steps"])), per_cent(r["hard"])) for r in rows if r["sampler"] == sampler)
        for sampler, name in names.items()
    }
    title = "DiffWave, corrected, small size, gaps outside the loop"
    return [Curves(title, "reverse steps", evenly(map(str, steps)), curves, "accuracy (%)")]


FIGURES: dict[str, tuple[str, Callable[[], Sequence[Panel]], int]] = {
    "copying": ("Share of gaps whose truth stands in the training, by how much around it must agree", copying, 2),
    "data-shared": ("Share of test windows that stand word for word in the training, by data set", shared, 1),
    "imputers": ("Generic imputers beside copies", generic, 1),
    "modules": ("Type accuracy by kernel module", modules, 1),
    "others": ("Events right on traces of others, by length of gap", unseen, 2),
    "purpose": ("Share of gaps in which mending makes the counts of calls better", purpose, 1),
    "sampling": ("Accuracy outside the loop by the number of reverse steps", sampling, 1),
    "study-found": ("SSSD-S4 as printed, as published and corrected, beside two that hardly learn", found, 2),
    "study-hard": ("Accuracy on windows that share less with the training, by length of gap", hard, 2),
    "study-corrections": ("The study's models as published and corrected, outside the loop", corrections, 1),
}
