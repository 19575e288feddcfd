"""The study, question by question: what it prints beside what was measured here on the same windows.

Everything is in per cent. What isn't printed or measured (yet) is None, and blank in the tables.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from docs.common import ROOT, by_part, folded, rows_of
from tracemend.judging.report import by_gap, cells
from tracemend.judging.report import markdown_table as table

BENCHMARKS = (
    "compress-gzip",
    "ffmpeg",
    "iozone",
    "phpbench",
    "pybench",
    "ramspeed",
    "scimark2",
    "stream",
    "unpack-linux",
)
#: The study's figure 4 is of this one, and for it alone it prints numbers of the window's end.
FIRST = "compress-gzip"
MODELS = {"diffwave": "DiffWave", "sssd-s4": "SSSD-S4", "sssd-sa": "SSSD-SA", "csdi-s4": "CSDI-S4"}
BLACKOUTS = (1, 5, 10, 20, 30, 40)
LENGTHS = (50, 100, 150, 200)
PLACES = ("centre", "end")
RANKS = {"1-4": "1-4", "5-8": "5-8", "9-16": "9-16", "17-255": "17 and above"}

Number = float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table or curve of a figure: a model in ``published.csv``, or a mender in the results."""

    label: str
    mender: str = ""
    model: str = ""


def ways(model: str) -> list[Line]:
    """A model of the study as printed, as its code does it, and corrected."""
    name = MODELS[model]
    return [
        Line(f"{name}, as printed", model=model),
        Line(f"{name}, as published, here", f"{model}-small-published"),
        Line(f"{name}, corrected, here", f"{model}-small"),
    ]


MASKED = Line("masked S4", "masked-s4-small")
TRANSFORMER = Line("masked transformer", "masked-transformer-small")
LSTM = Line("LSTM", "lstm-small")
PRINTED, PUBLISHED, CORRECTED = ways("sssd-s4")
MENDERS = [Line(n, n) for n in ("lookup", "mosaic", "n-gram", "automaton", "copy period", "copy", "most frequent")]
LOOKUP, _, NGRAM, _, PERIOD, _, _ = MENDERS
#: What answers "where does it stand" wherever SSSD-S4 is the study's only model.
MAIN = [PRINTED, PUBLISHED, CORRECTED, MASKED, LOOKUP, NGRAM, PERIOD]


class Paper:
    """All that is printed and all that was measured, and where the latter is from."""

    def __init__(self) -> None:
        self.rows, self.end = rows_of("paper")
        parts = {name for row in self.rows for name in row["subsets"]}
        # rows that asked for fewer windows come first, so that of two the one that asked for more counts
        held = [c for part in parts for c in cells(self.rows, part) if not c["set"]]
        self._cells = {
            (c["mender"], c["data"], c["gap"], c["place"], c["length"], c["subset"]): c
            for c in sorted(held, key=lambda c: c["windows"])
        }
        with open(ROOT / "experiments" / "published.csv") as file:
            self._printed = {
                (r["model"], r["benchmark"], r["measure"], int(r["blackout"])): r["per_cent"]
                for r in csv.DictReader(file)
            }

    def printed(self, model: str, benchmark: str, gap: int, measure: str = "accuracy") -> Number:
        """What the study prints; ``benchmark`` may be "average"."""
        text = self.quoted(model, gap, measure, benchmark)
        return float(text) if text else None

    def quoted(self, model: str, gap: int, measure: str = "accuracy", benchmark: str = "average") -> str:
        """The same, digit by digit."""
        return self._printed.get((model, benchmark, measure, gap), "")

    def own(
        self,
        mender: str,
        benchmark: str,
        gap: int,
        measure: str = "accuracy",
        *,
        place: str = "centre",
        length: int = 200,
        subset: str = "all",
        family: str = "pts",
    ) -> Number:
        cell = self._cells.get((mender, f"{family}/{benchmark}", gap, place, length, subset))
        return None if cell is None else 100 * cell[measure]

    def value(self, line: Line, benchmark: str, gap: int, measure: str = "accuracy", *, subset: str = "all") -> Number:
        """In the centre of windows of 200; the study prints no parts of the windows."""
        if not line.model:
            return self.own(line.mender, benchmark, gap, measure, subset=subset)
        return self.printed(line.model, benchmark, gap, measure) if subset == "all" else None

    def first(self, line: Line, gap: int, *, length: int = 200, place: str = "centre") -> Number:
        """Accuracy on the benchmark of figures 4 and 5."""
        if not line.model:
            return self.own(line.mender, FIRST, gap, length=length, place=place)
        length_, place_ = "" if length == 200 else f"-length{length}", "" if place == "centre" else f"-{place}"
        return self.printed(line.model + length_ + place_, FIRST, gap)

    def span(self, line: Line, gap: int, measure: str = "accuracy", *, subset: str = "all") -> str:
        return span([self.value(line, b, gap, measure, subset=subset) for b in BENCHMARKS])

    def ranks(self, line: Line, benchmark: str = FIRST) -> dict[str, dict[str, float]]:
        """Accuracy by frequency rank at a blackout of 10, and how many events each holds."""
        at = (line.mender, f"pts/{benchmark}", (), 200, 10, "centre")
        names = ("mender", "data", "set", "length", "gap", "place")
        return by_part([r for r in self.rows if tuple(r[n] for n in names) == at], "by_rank")


def span(values: Sequence[Number]) -> str:
    """The lowest to the highest; in brackets of how many, where it isn't all.

    The benchmarks are near copies of each other, so their mean would pretend to more than there is.
    """
    held = [x for x in values if x is not None]
    if not held:
        return ""
    low, high = f"{min(held):.1f}", f"{max(held):.1f}"
    text = low if low == high else f"{low}-{high}"
    return text if len(held) == len(values) else f"{text} [{len(held)}]"


def one(value: Number) -> str:
    return "" if value is None else f"{value:.1f}"


def several(values: Sequence[Number]) -> str:
    """Numbers of one cell; nothing where there are none."""
    return "" if all(x is None for x in values) else " / ".join(one(x) or "-" for x in values)


def lines_table(head: Sequence[str], lines: Iterable[tuple[Line, Sequence[str]]]) -> str:
    """A row a line; lines of which nothing is known are left out."""
    return table(head, [[line.label, *cells] for line, cells in lines if any(cells)])


def models() -> str:
    """RQ1, tables III and IV."""
    p = Paper()
    everybody = [*(w for m in MODELS for w in ways(m)), LSTM, MASKED, TRANSFORMER, *MENDERS]
    columns = {
        "blackout 1: accuracy": (1, "accuracy", "all"),
        "10: accuracy": (10, "accuracy", "all"),
        "perfect rate": (10, "perfect", "all"),
        "ROUGE-L as published": (10, "rouge_l_published", "all"),
        "ROUGE-L (eq. 9)": (10, "rouge_l", "all"),
        "accuracy outside the loop": (10, "accuracy", "outside the loop"),
    }
    text = lines_table(
        ["", *columns],
        ((line, [p.span(line, gap, m, subset=s) for gap, m, s in columns.values()]) for line in everybody),
    )
    others = [LSTM, MASKED, TRANSFORMER, LOOKUP, NGRAM, PERIOD]
    parts = []
    for gap, measure, title in (
        (1, "accuracy", "Table III: accuracy, blackout 1"),
        (10, "accuracy", "Table IV: accuracy, blackout 10"),
        (10, "perfect", "Table IV: perfect rate, blackout 10"),
        (10, "rouge_l_published", "Table IV: ROUGE-L as published, blackout 10"),
    ):
        body = [
            [b, *(several([p.value(w, b, gap, measure) for w in ways(m)]) for m in MODELS)]
            + [one(p.value(line, b, gap, measure)) for line in others]
            for b in BENCHMARKS
        ]
        parts.append(f"{title}\n\n" + table(["", *MODELS.values(), *(line.label for line in others)], body))
    note = "The study's models: as printed / as published, here / corrected, here.\n\n"
    return text + folded("Tables III and IV, benchmark by benchmark", "\n" + note + "\n".join(parts)) + p.end


def blackouts() -> str:
    """RQ2, tables V and VI."""
    p = Paper()
    parts, long = [], []
    for measure, title, printed in (
        ("accuracy", "Accuracy", "Table V"),
        ("rouge_l_published", "ROUGE-L as published", "Table VI"),
        ("rouge_l", "ROUGE-L (eq. 9)", ""),
    ):
        head = [f"{title}, blackout", *map(str, BLACKOUTS)]
        parts.append(lines_table(head, ((line, [p.span(line, gap, measure) for gap in BLACKOUTS]) for line in MAIN)))
        for line in MAIN if printed else []:
            body = [[b, *(one(p.value(line, b, gap, measure)) for gap in BLACKOUTS)] for b in BENCHMARKS]
            if any(any(row[1:]) for row in body):
                long.append(table([f"{printed}: {line.label}", *map(str, BLACKOUTS)], body))
    details = folded("Tables V and VI, benchmark by benchmark", "\n" + "\n".join(long))
    return "\n".join(parts) + details + p.end


def lengths() -> str:
    """Figure 4: windows of 50 to 200 events."""
    p = Paper()
    parts = [
        lines_table(
            [f"{FIRST}, blackout {gap}, windows of", *map(str, LENGTHS)],
            ((line, [one(p.first(line, gap, length=n)) for n in LENGTHS]) for line in [*MAIN, *MENDERS[-2:]]),
        )
        for gap in (10, 40)
    ]
    return "\n".join(parts) + p.end


def places() -> str:
    """Figure 5: the gap in the centre and at the end."""
    p = Paper()
    cells = (
        (line, [several([p.first(line, gap, place=place) for place in PLACES]) for gap in BLACKOUTS]) for line in MAIN
    )
    return lines_table([f"{FIRST}, blackout", *map(str, BLACKOUTS)], cells) + p.end


#: RQ3: who restores the last one to five events.
LAST = (1, 2, 3, 4, 5)


#: The models of which the study prints something there.
PRINTED_AT = {"end": ("lstm", "sssd-s4-end"), "centre": ("sssd-s4",)}


def lstm(places: Sequence[str] = tuple(PRINTED_AT)) -> str:
    """RQ3, figure 6: the LSTM fed its own output at the window's end, against SSSD-S4; at the end and in the centre."""
    p = Paper()
    parts = []
    for place in places:
        body = []
        for model in PRINTED_AT[place]:
            label = f"{'LSTM' if model == 'lstm' else 'SSSD-S4'}, mean of nine, as printed"
            body.append([label, *(one(p.printed(model, "average", gap)) for gap in LAST)])
        for line in (LSTM, CORRECTED):
            for b in BENCHMARKS:
                values = [p.own(line.mender, b, gap, place=place) for gap in LAST]
                if any(x is not None for x in values[1:]):
                    body.append([f"{line.label.removesuffix(', here')}, {b}, here", *map(one, values)])
        parts.append(table([f"events lost, {place} of the window", *map(str, LAST)], body))
    return "\n".join(parts) + p.end


def ranks() -> str:
    """RQ4, figure 7: accuracy by frequency rank, since the public windows name no calls."""
    p = Paper()
    parts = {}
    for b in BENCHMARKS:
        lines = [*(w for m in MODELS for w in ways(m)[1:]), LSTM, MASKED, TRANSFORMER, *MENDERS[:5]]
        held = {line: found for line in lines if (found := p.ranks(line, b))}
        if not held:
            continue
        # some rows have only every fourth window
        events = {k: max((f[k]["events"] for f in held.values() if k in f), default=0) for k in RANKS}
        whole = sum(events.values())
        head = [f"{b}, rank", *(f"{name} ({100 * events[k] / whole:.1f} %)" for k, name in RANKS.items())]
        body = [
            [line.label, *(one(100 * f[k]["accuracy"]) if k in f else "" for k in RANKS)] for line, f in held.items()
        ]
        parts[b] = table(head, body)
    first = parts.pop(FIRST, "")
    return first + (folded("The other benchmarks", "\n" + "\n".join(parts.values())) if parts else "") + p.end


def hard() -> str:
    """The study's data without what training and test share."""
    p = Paper()
    purged = [b for b in BENCHMARKS if any(r["data"] == f"pts-hard30/{b}" for r in p.rows)]
    columns = [(f"pts-hard{run}", gap) for run in (30, 15) for gap in (1, 10, 40)]

    head = ["", *(f"runs of {family.removeprefix('pts-hard')}: gap {gap}" for family, gap in columns)]
    text = lines_table(
        head,
        (
            (
                line,
                [
                    span([p.own(line.mender, b, gap, subset="outside the loop", family=family) for b in purged])
                    for family, gap in columns
                ],
            )
            for line in [CORRECTED, MASKED, *MENDERS]
        ),
    )
    rows = [r for r in p.rows if r["data"].startswith("pts-hard")]
    long = "\nAccuracy / perfect rate / ROUGE-L (eq. 9), per cent.\n\n" + by_gap(rows, "outside the loop")
    return text + folded("Every set, with perfect rates and ROUGE-L", long) + p.end
