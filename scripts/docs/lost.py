"""Truly lost events: contests on the corpus's recordings with their truth (docs/authentic.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from docs.common import folded, load, rows_of, source
from tracemend.judging import lost
from tracemend.judging.evaluate import PARTS as PARTS_OF_MEND
from tracemend.judging.metrics import error_of_bins
from tracemend.judging.report import markdown_table, triple
from tracemend.judging.results import Row

NAME = "authentic"
#: What ``tracemend mend`` does.
ALL = PARTS_OF_MEND[-1]
SYSCALLS = {"overwrite": "ftrace, overwrite", "drop": "ftrace, drop", "perf": "perf"}
UST = {"ust_discard": "LTTng-UST, discard", "ust_overwrite": "LTTng-UST, overwrite"}
#: What the tables are of: the part of the split and ways of losing, and what it means.
PARTS: dict[str, tuple[str, dict[str, str], str]] = {
    "by run": ("by run", SYSCALLS, "other runs of the workload were trained on"),
    "by workload": ("by workload", SYSCALLS, "nothing like it was trained on"),
    "LTTng-UST": ("by workload", UST, "programs' own tracepoints, of which nothing was trained on"),
}

#: What stands above a panel of such a part.
TITLES = {"by run": "program known (by run)", "by workload": "program new (by workload)", "LTTng-UST": "LTTng-UST"}


def recorded() -> tuple[list[Row], str]:
    """The rows of the contests, and where they come from."""
    return rows_of(NAME, lost.KEY, "gaps")


def of_part(rows: Sequence[Row], name: str) -> list[Row]:
    """Those of one of PARTS."""
    part, ways, _ = PARTS[name]
    return [r for r in rows if r["part"] == part and r["how"] in ways]


def accuracy(cell: Row) -> str:
    """With its interval over recordings."""
    low, high = cell["interval"]
    return f"{100 * cell['accuracy']:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def _percent(name: str) -> Callable[[Row], str]:
    return lambda cell: f"{100 * cell[name]:.1f}" if name in cell else ""


def _number(name: str) -> Callable[[Row], str]:
    return lambda cell: f"{cell[name]:.2f}" if name in cell else ""


MORE = {
    "Right thread, per cent": _percent("threads"),
    "Calls counted wrongly over events lost (a gap left open has 1.00)": _number("count_error"),
    "Error of the inferred times over the gap's duration, per cent": _percent("time_error"),
    "Expected calibration error, per cent": _percent("calibration_error"),
    "Bits an event of the fill to who knows the validation recordings": _number("bits"),
}


def contests(part: str) -> str:
    """Accuracy, perfect rate and ROUGE-L by length of one part; further measures and ways of losing below."""
    rows, end = recorded()
    here = of_part(rows, part)
    if not here:
        return "Not run.\n"
    _, ways, meaning = PARTS[part]
    recordings = len({r["pair"] for r in here})
    text = (
        f"{part[0].upper()}{part[1:]}: {meaning} ({recordings} recordings). "
        "Accuracy / perfect rate / ROUGE-L, per cent, means over gaps.\n\n"
    )
    text += lost.table(here, triple)
    text += folded("Accuracy with 95 % intervals over recordings", lost.table(here, accuracy))
    for title, show in MORE.items():
        text += folded(title, lost.table(here, show))
    for how, name in ways.items():
        some = [r for r in here if r["how"] == how]
        if some:
            text += folded(f"{name} only", lost.table(some, triple))
    return text + end


def main() -> str:
    """What ``tracemend mend`` does on workloads that nobody was trained on, beside those who know next to nothing."""
    rows, end = recorded()
    cells = {(c["mender"], c["length"]): c for c in lost.by_length(of_part(rows, "by workload"))}
    names = [n for n in lost.lengths(list(cells.values())) if (ALL, n) in cells]

    def show(mender: str, length: str, measure: str = "accuracy") -> str:
        cell = cells.get((mender, length))
        return f"{100 * cell[measure]:.0f}" if cell else ""

    body = [
        [name, f"{cells[ALL, name]['gaps']}"]
        + [show(ALL, name, measure) for measure in ("accuracy", "perfect", "rouge_l")]
        + [show("most frequent", name), show("copy", name)]
        for name in names
    ]
    head = ["events lost in the gap", "gaps", "events right", "gaps right", "in the right order", "commonest", "copy"]
    return markdown_table(head, body) + end if body else "Not run.\n"


def confidence() -> str:
    """How far the confidence of what ``tracemend mend`` does is from the share that is right, by length."""
    rows, end = recorded()
    cells = {
        p: {c["length"]: c for c in lost.by_length([r for r in of_part(rows, p) if r["mender"] == ALL])} for p in PARTS
    }
    names = lost.lengths([c for held in cells.values() for c in held.values()])
    error, chance = _percent("calibration_error"), _percent("error_by_chance")
    shown = {p: {n: f"{error(c)} ({chance(c)})" for n, c in held.items()} for p, held in cells.items()}
    body = [[name, *(held.get(name, "") for held in shown.values())] for name in names]
    return markdown_table(["events lost in the gap", *cells], body) + end if body else "Not run.\n"


#: Recordings with fewer inferred events than this say little of a confidence.
ENOUGH = 200


def single() -> str:
    """How far the confidence of single recordings is from the share that is right."""
    rows, end = recorded()
    body = []
    for part in PARTS:
        off = []
        for row in of_part(rows, part):
            bins = np.sum(list(row["confidence"].values()), axis=0)
            if row["mender"] == ALL and row["events"] >= ENOUGH:
                off.append(100 * error_of_bins(bins))
        if off:
            quantiles = (f"{np.quantile(off, q):.1f}" for q in (0.5, 0.9))
            body.append([part, str(len(off)), *quantiles, f"{100 * np.mean(np.array(off) <= 10):.0f}"])
    head = ["", "recordings", "calibration error, median", "nine of ten are no more than", "at most 10 (%)"]
    return markdown_table(head, body) + end if body else "Not run.\n"


def standing(parts: Sequence[str] = tuple(PARTS)) -> str:
    """What ``tracemend mend`` does beside the best baseline, by length: where is it worth having?"""
    rows, end = recorded()
    if not rows:
        return "Not run.\n"
    body = []
    for part in parts:
        cells = {(c["mender"], c["length"]): c for c in lost.by_length(of_part(rows, part))}
        for name in lost.lengths(list(cells.values())):
            ours = cells.get((ALL, name))
            others = [c for (m, n), c in cells.items() if n == name and not m.startswith("mosaic")]
            if ours is None or not others:
                continue
            best = max(others, key=lambda c: c["accuracy"])
            body.append([f"{part}, {name}", accuracy(ours), f"{best['mender']}: {accuracy(best)}", str(ours["gaps"])])
    return markdown_table(["events lost", ALL, "best without a mosaic", "gaps"], body) + end


#: What the page itself shows of the menders' speed.
SOME_MENDERS = ("mosaic", "mosaic + examples", "lookup", "n-gram", "network", "mosaic + examples + network")


def speed(menders: Sequence[str] = ()) -> str:
    """CPU milliseconds an event restored, by mender; of all, or of some."""
    rows, end = recorded()
    body = []
    for mender in menders or dict.fromkeys(r["mender"] for r in rows):
        held = [r for r in rows if r["mender"] == mender]
        events, seconds = sum(r["events"] for r in held), sum(r["seconds"] for r in held)
        body.append([mender, f"{events:,}", f"{seconds:.0f}", f"{1000 * seconds / max(1, events):.2f}"])
    head = ["mender", "events restored", "CPU seconds, with learning", "ms an event"]
    return markdown_table(head, body) + end if rows else "Not run.\n"


IDENTITIES = ("events", "survived", "gaps", "stated", "exact", "marks", "counter", "missing", "unmatched")
COLUMNS = ["gaps with a count", "of them exact", "sum of the counts", "tracer's own counter", "really missing"]


def _identities(rows: Sequence[Row], first: Callable[[Row], list[str]]) -> list[list[str]]:
    return [first(r) + [f"{r[k]:,}" for k in IDENTITIES] for r in rows]


def recording() -> str:
    """Recordings made anew and what each says was lost; an independent recorder beside."""
    d = load("recording")
    head = [*IDENTITIES[:3], *COLUMNS, "survivors without a twin"]

    def total(r: Row) -> list[str]:
        return [(SYSCALLS | UST)[r["how"]], f"{r['without_faults']} of {r['recordings']}"]

    def one(r: Row) -> list[str]:
        return [f"{r['workload']}, {r['how']}, {r['buffer_kb']} KiB, {r['delay_ms']:g} ms"]

    ours = _identities(d["totals"], total)
    theirs = [[f"independent recorder, {first}", *rest] for first, *rest in _identities(d["judge_totals"], total)]
    text = markdown_table(["", "recordings where all agrees", *head], [*ours, *theirs])
    return (
        text
        + folded("Each recording", markdown_table(["", *head], _identities(d["recordings"], one)))
        + source(d, "recording")
    )


#: What the page itself shows of the ways to jump and to count.
SOME_JUMPS = (
    "lookup",
    "mosaic",
    "mosaic, jumps x 3",
    "mosaic, jumps / 3",
    "mosaic, unseen, 0.03",
    "mosaic, seen, 0.03",
)


def mosaic(menders: Sequence[str] = ()) -> str:
    """Accuracy on the validation recordings by how the mosaic jumps and what examples count; of all, or of some."""
    d = load("mosaic")
    lengths = [k for k in d["rows"][0] if k not in ("mender", "ms_per_event")]
    head = ["", *(f"{n} ({d['rows'][0][n]['gaps']} gaps)" for n in lengths), "ms an event"]
    body = [
        [r["mender"], *(f"{100 * r[n]['accuracy']:.1f}" for n in lengths), f"{r['ms_per_event']:.2f}"]
        for r in d["rows"]
        if not menders or r["mender"] in menders
    ]
    return markdown_table(head, body) + source(d, "mosaic")


def parts_short() -> str:
    """What copies, a network and both are worth, with the constraints and without."""
    d = load("parts")
    shown = {
        "the lookup": "copies only: lookup",
        "the mosaic": "copies only: mosaic",
        "the mosaic, with examples": "copies only: mosaic + examples",
        "a small network": "network only: all channels, 4 reverse steps",
        "all of it together": "both: mosaic + examples + network",
    }
    rows = {r["mender"]: r for r in d["rows"]}
    body = [
        [name, *(_spread(*rows[mender][k]) for k in ("accuracy", "accuracy_free", "perfect"))]
        for name, mender in shown.items()
    ]
    return markdown_table(["", "events right", "without constraints", "gaps right"], body) + source(d, "parts")


def parts() -> str:
    """What copies, network, channels, constraints, adaptation and steps are worth: means and ranges over seeds."""
    d = load("parts")
    lengths = list(d["rows"][0]["bins"])
    measures = {
        "all": "accuracy",
        "perfect": "perfect",
        "without constraints": "accuracy_free",
        "perfect without": "perfect_free",
        "threads": "threads",
        "times off by": "time_error",
    }
    head = ["", *lengths, *measures, "ms an event"]

    body = [
        [r["mender"], *(f"{100 * r['bins'][n][0]:.1f}" for n in lengths)]
        + [_spread(*r[k]) for k in measures.values()]
        + [f"{r['ms_per_event'][0]:.2f}"]
        for r in d["rows"]
    ]
    gaps = ", ".join(str(n) for n in d["rows"][0]["gaps"])
    return (
        f"Seeds {', '.join(map(str, d['seeds']))}: {gaps} gaps.\n\n" + markdown_table(head, body) + source(d, "parts")
    )


#: What the page itself shows of the ways to choose.
SOME_CHOICES = (
    *("the mosaic's fill", "the network's fill", "either: by the learnt weight"),
    *("of all drawn: what most agree on", "of all drawn: the best one"),
)


def choosing(picked: Sequence[str] = ()) -> str:
    """What could be won by choosing among fills, and who can choose: means and ranges over seeds."""
    d = load("choosing")
    body = [
        [r["picked"], *(_spread(float(np.mean(r[k])), min(r[k]), max(r[k])) for k in ("accuracy", "perfect"))]
        for r in d["rows"]
        if not picked or r["picked"] in picked
    ]
    unsure, gaps = (", ".join(map(str, d[k])) for k in ("unsure", "gaps"))
    return (
        f"Seeds {', '.join(map(str, d['seeds']))}: {unsure} gaps of {gaps}.\n\n"
        + markdown_table(["picked", "accuracy", "perfect"], body)
        + source(d, "choosing")
    )


def _spread(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def mending() -> str:
    """Time and memory of mending a long trace."""
    d = load("mending")
    head = ["", "events", "gaps", "events restored", "CPU seconds", "ms an event restored", "peak memory, MiB"]
    body = [
        [
            r["mender"],
            *(f"{r[k]:,}" for k in ("events", "gaps", "restored")),
            f"{r['cpu_s']:.0f}",
            f"{r['ms_per_event']:.2f}",
            f"{r['peak_mib']:,}",
        ]
        for r in d["rows"]
    ]
    return markdown_table(head, body) + source(d, "mending")


def trust() -> str:
    """Accuracy by what a vote of the examples counts."""
    d = load("trust")
    lengths = [k for k in d["rows"][0] if k not in ("examples", "trust")]
    head = ["examples", "a vote counts", *(f"{n} ({d['rows'][0][n]['gaps']} gaps)" for n in lengths)]
    body = [
        [r["examples"], "" if r["trust"] is None else f"{r['trust']:g}"]
        + [f"{100 * r[n]['accuracy']:.1f}" for n in lengths]
        for r in d["rows"]
    ]
    return markdown_table(head, body) + source(d, "trust")


def hypotheses() -> str:
    """What other fills of the same gap are worth, and what their agreement with the fill says."""
    d = load("hypotheses")
    head = [
        "events lost",
        "gaps",
        "fill",
        f"best of {d['number']}",
        "fill perfect",
        "one perfect",
        "calls exact",
        "within",
    ]
    kinds = ("accuracy", "best", "perfect", "any_perfect", "exact", "within")
    body = [[name, str(r["gaps"]), *(f"{100 * r[k]:.1f}" for k in kinds)] for name, r in d["by_length"].items()]
    titles = ["agreement of fill and hypotheses, from", "gaps", "accuracy of the fill"]
    rows = [[f"{100 * r['least']:g}", str(r["gaps"]), f"{100 * r['accuracy']:.1f}"] for r in d["by_agreement"]]
    return markdown_table(head, body) + "\n" + markdown_table(titles, rows) + source(d, "hypotheses")


def suits() -> str:
    """Fills for positions and for figures, beside copying and the lookup."""
    d = load("suits")
    bins = list(dict.fromkeys(r["length"] for r in d["rows"]))
    cells = {(r["mender"], r["length"]): r for r in d["rows"]}
    menders = list(dict.fromkeys(r["mender"] for r in d["rows"]))
    body = [
        [
            f"{title}: {mender}",
            *(f"{100 * cells[mender, b][measure]:.1f}" if (mender, b) in cells else "" for b in bins),
        ]
        for title, measure in (("count error", "count_error"), ("ROUGE-L", "rouge_l"), ("accuracy", "accuracy"))
        for mender in (menders[-2:] if measure == "accuracy" else menders)
    ]
    head = ["events lost", *(f"{b} ({cells[menders[0], b]['gaps']} gaps)" for b in bins)]
    return markdown_table(head, body) + source(d, "suits")


def foreign() -> str:
    """How well programs that were recorded before are told from those that weren't."""
    d = load("foreign")
    chosen, test = d["chosen"], d["test"]
    rows = [[str(r["length"]), f"{r['auroc']:.3f}", f"{100 * r['least']:g}"] for r in d["validation"]]
    low, high = test["interval"]
    right = [f"{100 * x:.0f}" for x in test["told_right"]]
    held = [
        *(f"{n} ({of})" for n, of in zip(test["recordings"], test["workloads"], strict=True)),
        f"{test['auroc']:.3f} ({low:.2f}-{high:.2f})",
        *(f"{100 * x:.0f}" for x in test["median"]),
        *right,
    ]
    head = ["events of a run", "AUROC, validation", "least share, per cent"]
    titles = [
        *("recordings (workloads) by run", "by workload", f"AUROC, test, runs of {chosen['length']}"),
        *("median share by run", "by workload", "called familiar, by run", "called strange, by workload"),
    ]
    return markdown_table(head, rows) + "\n" + markdown_table(titles, [held]) + source(d, "foreign")


def index() -> str:
    """How large the index of places is, and how fast it answers."""
    d = load("index")
    head = [
        "events",
        "s to build",
        "bytes an event",
        "places of a context, at most 4,096 (µs)",
        "best sites of a gap (ms)",
    ]
    kinds = ("build_s", "bytes_per_event", "us_per_context", "ms_per_ranking")
    rows = [[f"{r['events']:,} ({r['data']})", *(f"{r[k]:g}" for k in kinds)] for r in d["rows"]]
    return markdown_table(head, rows) + source(d, "index")
