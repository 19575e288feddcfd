"""Whole machines: what of scheduling, interrupts and fields was mended right (docs/kernel.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from docs.common import folded, rows_of
from docs.lost import accuracy
from tracemend.judging import kernel, lost
from tracemend.judging.report import markdown_table, triple
from tracemend.judging.results import Row
from tracemend.judging.transitions import KINDS

NAME = "kernel"
#: What ``tracemend mend`` does.
OURS = "mosaic + examples"
PARTS = {"by run": "other runs of the workload were recorded before", "by workload": "nothing like it was"}
LEFT = "left open: who ran last"
ALL = (1, 1 << 62)


def _table(of_part: Callable[[Sequence[Row]], str]) -> str:
    """A table for each part of the split."""
    rows, end = rows_of(NAME, lost.KEY, "gaps")
    parts = {part: [r for r in rows if r["part"] == part] for part in PARTS}
    text = ""
    for part, held in parts.items():
        if held:
            recordings = len({r["pair"] for r in held})
            text += f"\n### {part[0].upper()}{part[1:]}: {PARTS[part]} ({recordings} recordings)\n\n" + of_part(held)
    return text + end if text else "Not run.\n"


def _share(found: tuple[float, tuple[float, float]]) -> str:
    """Per cent, with the interval over recordings."""
    value, (low, high) = found
    return f"{100 * value:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def events() -> str:
    """Accuracy, perfect rate and ROUGE-L by length."""
    title = "Accuracy with 95 % intervals over recordings"
    return _table(lambda rows: lost.table(rows, triple) + folded(title, lost.table(rows, accuracy)))


def families() -> str:
    """The same by family of events."""
    names = [kernel.CALLS, *kernel.FAMILIES, kernel.OTHER]

    def of_part(rows: Sequence[Row]) -> str:
        cells = {m: {n: kernel.of_family(held, n) for n in names} for m, held in kernel.by_mender(rows).items()}
        there = [n for n in names if any(found[n] for found in cells.values())]
        most = {n: max((c[n] or {"events": 0})["events"] for c in cells.values()) for n in there}
        head = ["", *(f"{n} ({most[n]:,} events)" for n in there)]

        def lines(show: Callable[[Row], str]) -> Iterator[list[str]]:
            for mender, found in cells.items():
                yield [mender, *(show(cell) if (cell := found[n]) else "" for n in there)]

        with_interval = markdown_table(head, lines(accuracy))
        return markdown_table(head, lines(triple)) + folded(
            "Accuracy with 95 % intervals over recordings", with_interval
        )

    return _table(of_part)


def families_by_length() -> str:
    """The same by family of events and length of gap: a table a family."""

    def of_part(rows: Sequence[Row]) -> str:
        held = kernel.by_mender(rows)
        bins = kernel.filled_lengths(next(iter(held.values())))
        text = ""
        for name in (kernel.CALLS, *kernel.FAMILIES, kernel.OTHER):
            cells = {m: [kernel.of_family(own, name, b) for b in bins] for m, own in held.items()}
            there = [i for i in range(len(bins)) if any(found[i] for found in cells.values())]
            gaps = [max((found[i] or {"gaps": 0})["gaps"] for found in cells.values()) for i in there]
            head = ["events lost", *(f"{kernel.name_of(bins[i])} ({n} gaps)" for i, n in zip(there, gaps, strict=True))]
            lines = [[m, *(triple(cell) if (cell := found[i]) else "" for i in there)] for m, found in cells.items()]
            text += f"\n#### {name[0].upper()}{name[1:]}\n\n" + markdown_table(head, lines)
        return text

    return _table(of_part)


def running() -> str:
    """For what share of the gaps' time the right thread is shown on the cpu."""

    def of_part(rows: Sequence[Row]) -> str:
        held = kernel.by_mender(rows)
        first = next(iter(held.values()))
        bins = [*kernel.filled_lengths(first), ALL]
        lines = [[LEFT, *(_share(kernel.shown(first, "left_ns", b)) for b in bins)]]
        lines += [[m, *(_share(kernel.shown(own, "right_ns", b)) for b in bins)] for m, own in held.items()]
        return markdown_table(["events lost", *map(kernel.name_of, bins)], lines)

    return _table(of_part)


def cpu_time() -> str:
    """How wrong threads' cpu times over the whole recording are."""

    def of_part(rows: Sequence[Row]) -> str:
        held = kernel.by_mender(rows)
        first = next(iter(held.values()))
        lines = [[LEFT, _share(kernel.cpu_error(first, "left"))]]
        lines += [[m, _share(kernel.cpu_error(own, "mended"))] for m, own in held.items()]
        return markdown_table(["", "error of the cpu times, per cent"], lines)

    return _table(of_part)


def transitions() -> str:
    """How many transitions of the views are impossible."""

    def of_part(rows: Sequence[Row]) -> str:
        held = kernel.by_mender(rows)
        first = next(iter(held.values()))
        sides = [("the complete recording", first, "true"), ("left open", first, "left")]
        sides += [(m, own, "mended") for m, own in held.items()]
        lines = [
            [name, *("/".join(f"{n:,}" for n in kinds.values()) for kinds in kernel.transitions(own, side).values())]
            for name, own, side in sides
        ]
        return markdown_table(["within / behind / elsewhere", *KINDS], lines)

    return _table(of_part)


def fields() -> str:
    """How often fields are said, and how often rightly, by what ``mend`` does."""

    def of_part(rows: Sequence[Row]) -> str:
        found = kernel.of_fields([r for r in rows if r["mender"] == OURS])
        shares = ("said", "right", "true", "confidence", "calibration_error")
        lines = [
            [name, f"{cell['there']:,}", *(f"{100 * cell[k]:.1f}" if cell["all"] else "" for k in shares)]
            for name, cell in found.items()
        ]
        head = ["field", "there", "said", "right", "right of all said", "mean confidence", "expected calibration error"]
        return markdown_table(head, lines)

    return _table(of_part)


def _parts() -> tuple[dict[str, dict[str, list[Row]]], str]:
    """By part of the split the rows of each mender, and where they come from."""
    rows, end = rows_of(NAME, lost.KEY, "gaps")
    return {part: kernel.by_mender([r for r in rows if r["part"] == part]) for part in PARTS}, end


def _whole(share: float) -> str:
    return f"{100 * share:.0f}"


def events_short() -> str:
    """Events right by length: what ``mend`` does, and who has recordings of whole machines besides."""
    parts, end = _parts()
    cells = {part: {(m, c["length"]): c for m in held for c in lost.by_length(held[m])} for part, held in parts.items()}
    names = lost.lengths([c for found in cells.values() for c in found.values()])
    head = ["events lost in the gap"]
    for part in parts:
        head += [f"{part}: gaps", "events right", "with whole machines"]
    body = []
    for name in names:
        line = [name]
        for found in cells.values():
            ours, more = (found.get((m, name)) for m in (OURS, f"{OURS} + machines"))
            line += [str(ours["gaps"]), accuracy(ours)] if ours else ["", ""]
            line.append(accuracy(more) if more else "")
        body.append(line)
    return markdown_table(head, body) + end if body else "Not run.\n"


def families_short() -> str:
    """Events right by kind, of what ``mend`` does."""
    parts, end = _parts()
    body = []
    for name in (kernel.CALLS, *kernel.FAMILIES, kernel.OTHER):
        cells = [kernel.of_family(held.get(OURS, []), name) for held in parts.values()]
        body.append([name, *(x for c in cells for x in ((f"{c['events']:,}", accuracy(c)) if c else ("", "")))])
    head = ["kind of event", *(text for part in parts for text in (f"{part}: events lost", "events right"))]
    return markdown_table(head, body) + end


def views_short() -> str:
    """What a viewer shows of the gaps: who runs, cpu time, impossible transitions."""
    parts, end = _parts()
    held = [own[OURS] for own in parts.values() if OURS in own]
    if not held:
        return "Not run.\n"
    pairs = {
        "the right thread on the cpu, of the gaps' time": [
            (kernel.shown(rows, "left_ns"), kernel.shown(rows, "right_ns")) for rows in held
        ],
        "error of the threads' cpu times": [
            (kernel.cpu_error(rows, "left"), kernel.cpu_error(rows, "mended")) for rows in held
        ],
    }
    body = [[what, *(_share(x) for sides in of for x in sides)] for what, of in pairs.items()]
    sums = (
        str(sum(sum(n.values()) for n in kernel.transitions(rows, side).values()))
        for rows in held
        for side in ("left", "mended")
    )
    body.append(["impossible transitions, in all recordings", *sums])
    head = ["per cent", *(text for part in parts for text in (f"{part}: left open", "mended"))]
    return markdown_table(head, body) + end


#: The fields that a reader asks for first.
SOME_FIELDS = (
    *(kernel.RESULT, "sched_switch next_comm", "sched_switch next_pid", "sched_switch prev_state"),
    *("sched_wakeup comm", "sched_wakeup pid", "sched_wakeup target_cpu", "softirq_entry vec"),
)


def fields_short() -> str:
    """How often some fields of events that are right are said, and how often rightly."""
    parts, end = _parts()
    found = [kernel.of_fields(own[OURS]) for own in parts.values() if OURS in own]
    body = [
        [
            name,
            *(
                x
                for cells in found
                for x in (f"{cells[name]['there']:,}", *(_whole(cells[name][k]) for k in ("said", "right")))
            ),
        ]
        for name in SOME_FIELDS
        if all(name in cells for cells in found)
    ]
    head = ["field", *(text for part in parts for text in (f"{part}: there", "said", "right"))]
    return markdown_table(head, body) + end if found else "Not run.\n"
