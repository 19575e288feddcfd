"""The report: one HTML file that needs nothing else, and says what was lost before it says what was inferred.

A timeline, a list of the gaps, and of each gap its events. Their data lie in the page as packed columns (``columns``);
its own modules (``*.mjs``, plain JavaScript, put one behind the other) unpack and draw them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from tracemend.menders.likeness import named
from tracemend.mending.mended import Result
from tracemend.outputs.overlay import NOTE
from tracemend.outputs.report import gaps, making
from tracemend.outputs.report.columns import Numbers, Words, packed
from tracemend.outputs.report.copied import elsewhere
from tracemend.outputs.report.events import Names, Room, events, worst
from tracemend.outputs.report.judged import Judged, judged
from tracemend.reckoning.figures import Figures
from tracemend.reckoning.reading import explained, sentence, table
from tracemend.reckoning.reading import shown as shown_figures
from tracemend.recording.pairs import Pair
from tracemend.untrusted import printable

NAME = "report.html"
#: The page's modules in the order in which they use each other.
MODULES = ("data", "words", "lanes", "layout", "timeline", "list", "places", "detail", "main")

#: Characters of a page's data, at most: the file stays under 20 MB.
LARGEST = 18_000_000
FIRST_ROWS = 20  # gaps told to who reads the page without its script
MOST_FIGURES = 10  # rows of each figure

STATUSES = {"filled": "filled", "refused": "refused", "left": "left open"}


def write(mended: Result, folder: Path, made: Sequence[Figures] = (), outputs: Sequence[str] = ()) -> list[Path]:
    """Write ``report.html`` into the folder; raises OSError."""
    path = folder / NAME
    path.write_text(render(mended, made, outputs=outputs), encoding="utf-8", newline="\n")
    return [path]


def render(mended: Result, made: Sequence[Figures] = (), pair: Pair | None = None, outputs: Sequence[str] = ()) -> str:
    """The report as HTML, with figures if there are any (the first ones by call). Every string out of the trace is
    escaped, and no script but the report's own may run. pair: what was really lost, where that is known. outputs: those
    that lie beside it, for the command that makes all of it again."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # the script is no str, but Markup
    )
    files = resources.files("tracemend.outputs.report")
    script = _script([files.joinpath(f"{name}.mjs").read_text("utf-8") for name in MODULES])
    clock = _Clock(mended)
    found = None if pair is None else judged(mended, pair)
    return environment.from_string(files.joinpath("page.html.j2").read_text("utf-8")).render(
        note=NOTE,
        made=mended.provenance,
        named=Path(mended.provenance.get("input") or "").name or "the trace",
        options=making.told(mended),
        again=making.again(mended, pair, outputs, bool(made)),
        trace=mended.trace,
        survived=mended.outline.kept,
        inferred=mended.events,
        confidence=mended.confidence,
        pair=pair,
        judged=found and found.totals,
        drawn=mended.drawn() is not None,
        familiar=mended.familiar,
        alike=named(mended.provenance.get("alike", ())),
        sentence=sentence(made[0]) if made else "",
        figures=[table(f, name, MOST_FIGURES) for f in made for name in shown_figures(f)],
        figures_said=explained(made[0]) if made else (),
        counts={status: mended.counts[status] for status in STATUSES},
        statuses=STATUSES,
        losses=_losses(mended),
        verdict=None if mended.trace.gaps else mended.verdict,
        reasons=_reasons(mended),
        rows=[_row(gap, clock) for gap in gaps.rows(mended, FIRST_ROWS)],
        data=_data(mended, pair, found, clock) if mended.trace.gaps else "",
        style=files.joinpath("page.css").read_text("utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _script(modules: Sequence[str]) -> str:
    """Modules as one script: what they import from each other, it has."""
    text = "\n".join(modules)
    text = re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^export (?=async|class|const|function|let)", "", text, flags=re.MULTILINE)
    return f'"use strict";\n(() => {{\n{text}}})();\n'


def _data(mended: Result, pair: Pair | None, found: Judged | None, clock: _Clock) -> str:
    """What the page works on, packed, with as many events as fit."""
    room = Room()
    copies, recordings, searched = elsewhere(mended, worst(mended, room.inferred))
    pa.default_memory_pool().release_unused()  # there were all the recordings
    while True:
        names, reasons = Names(), Words(gaps.LONGEST_REASON)
        shown = events(mended, names, room, clock.begin)
        drawn = gaps.others(mended, names, room, shown.gaps)
        parts: dict[str, Mapping[str, Numbers]] = {
            "e": shown.columns,
            "g": gaps.gaps(mended, shown, reasons, clock.begin),
            "h": drawn,
            "c": copies,
        }
        if pair is not None and found is not None:
            parts["t"] = gaps.truth(pair, names, room)
            parts["g"] = {**parts["g"], **{name: held[: gaps.MOST_GAPS] for name, held in found.columns().items()}}
        cpus, counts = gaps.density(mended, shown, clock.begin, clock.end - clock.begin)
        columns: dict[str, Numbers] = {
            f"{part}_{name}": held for part, told in parts.items() for name, held in told.items()
        }
        columns["thread_tid"] = np.array([tid for tid, _ in names.threads], np.int64)
        columns["density"] = counts
        pa.default_memory_pool().release_unused()
        text = packed(
            columns,
            {
                "names": names.names.all,
                "threads": [names.comms.all[comm] if comm >= 0 else "" for _, comm in names.threads],
                "values": names.values.all,
                "reasons": reasons.all,
                "recordings": recordings,
                "searched": searched,
            },
            {
                "begin": str(clock.begin),
                "span": clock.end - clock.begin,
                "index": clock.index,
                "digits": clock.digits,
                "nested": mended.trace.nested,
                "survived": mended.outline.kept,
                "until": None if shown.until_ns is None else shown.until_ns - clock.begin,
                "gaps": len(mended.fills),
                "counted": cpus,
                "drawn": bool(drawn),
                "judged": pair is not None,
            },
        )
        if len(text) <= LARGEST or room.recorded < gaps.COLUMNS:
            return text
        room = room.half()


class _Clock:
    """Times of one trace as text: seconds from its first event, or positions where it has no clock."""

    def __init__(self, mended: Result) -> None:
        outline, gaps = mended.outline, mended.trace.gaps
        begins, ends = ([outline.begin_ns], [outline.end_ns]) if outline.kept else ([], [])
        self.begin = min(chain(begins, (g.begin_ns for g in gaps)), default=0)
        self.end = max(chain(ends, (g.end_ns for g in gaps)), default=0)
        self.index = mended.trace.clock == "index"
        self.digits = 6 if outline.whole_us else 9

    def at(self, ns: int) -> str:
        return str(ns) if self.index else f"{ns / 1e9:.{self.digits}f}"

    def span(self, ns: float) -> str:
        """A duration with three digits and the unit that suits it."""
        if self.index:
            return f"{ns:g}"
        for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
            if ns >= size:
                return f"{ns / size:.3g} {unit}" if ns < 1000 * size else f"{ns / size:,.0f} {unit}"
        return f"{ns:g} ns"


def _losses(mended: Result) -> dict[str, Any]:
    """What was lost, in numbers."""
    trace = mended.trace
    uncounted = sum(gap.count is None for gap in trace.gaps)
    whole = trace.lost + mended.outline.kept
    return {
        "events": trace.lost,
        "share": f"{100 * trace.lost / whole:.1f}" if whole and trace.lost < whole else "100",
        "gaps": len(trace.gaps),
        "uncounted": uncounted,
        "suspected": sum(gap.known == "suspected" for gap in trace.gaps),
        "cpus": len({gap.cpu for gap in trace.gaps if gap.cpu >= 0}),
        "estimated": sum(fill.estimated for fill in mended.fills),
        "unmet": sum(fill.unmet for fill in mended.fills),
    }


def _reasons(mended: Result) -> list[tuple[str, str, int]]:
    """Why gaps were not filled: status, reason and number of gaps. How sure each fill was its own row says."""
    why = Counter(
        (f.status, re.sub(r"^(mean confidence) [\d.]+ (is below)", r"\1 \2", f.reason) or "no reason given")
        for f in mended.fills
        if f.status != "filled"
    )
    return [(STATUSES[status], reason, number) for (status, reason), number in sorted(why.items())]


def _row(gap: dict[str, Any], clock: _Clock) -> dict[str, Any]:
    """One gap as a table shows it."""
    return gap | {"begin": clock.at(gap["begin_ns"]), "duration": clock.span(gap["end_ns"] - gap["begin_ns"])}
